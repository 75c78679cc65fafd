// SPDX-License-Identifier: Apache-2.0
// The room's implementations, for the tests and benches that go through all of them.
#pragma once
#include "kernels/conv/rows.h"
#include "kernels/dispatch.h"

namespace cuboid {

std::span<const Impl<ConvForward>> conv_rows();
std::span<const Impl<ConvInput>> conv_input_rows();
std::span<const Impl<ConvWeight>> conv_weight_rows();
std::span<const Impl<Matmul>> matmul_rows();

}  // namespace cuboid
