// SPDX-License-Identifier: Apache-2.0
// Sums, copies and gathers of host memory over a Wire.
#pragma once
#include "core/comm/wire.h"
#include "core/dtype.h"

namespace cuboid::comm {

struct Place {
  int rank, size;
};

/// Element i becomes (..(x0[i] + x1[i]) + x2[i] ..): added in the order of the ranks, in Accum<T>, rounded once.
void sum_over(Wire& wire, Place place, void* data, std::int64_t count, DType dtype);
void copy_from(Wire& wire, Place place, int root, void* data, std::int64_t bytes);
/// `all` has room for size * bytes.
void gather_all(Wire& wire, Place place, const void* mine, void* all, std::int64_t bytes);

}  // namespace cuboid::comm
