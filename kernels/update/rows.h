// SPDX-License-Identifier: Apache-2.0
// All tensors at one place of the lists have the same shape and the same dense strides.
#pragma once
#include "kernels/dispatch.h"
#include "kernels/update/update.h"

namespace cuboid::cpu {

void sgd_reference(const Views& g, const Outs& p, const Outs& m, SgdStep step);
void sgd_pieces(const Views& g, const Outs& p, const Outs& m, SgdStep step);
void adam_reference(const Views& g, const Outs& p, const Outs& m, const Outs& v, AdamStep step);
void adam_pieces(const Views& g, const Outs& p, const Outs& m, const Outs& v, AdamStep step);
void average_reference(const Views& x, const Outs& average, double decay);
void average_pieces(const Views& x, const Outs& average, double decay);
void square_sum_reference(const Views& x, const Out& total);
void square_sum_pieces(const Views& x, const Out& total);
void scale_reference(const Views& x, const Outs& y, double factor);
void scale_pieces(const Views& x, const Outs& y, double factor);

}  // namespace cuboid::cpu
