// SPDX-License-Identifier: Apache-2.0
// Every op once, small: for `cuboid doctor`, and for anyone who wants to know whether a machine computes what it should.
#pragma once
#include "kernels/dispatch.h"

namespace cuboid {

/// Runs each op and its gradient on small tensors of the device, in several types and layouts, and in each every row that fits,
/// beside the plain loops of the CPU. One entry per row of each table of each device; of another device only
/// `random` runs, which fills the tensors.
std::vector<dispatch::Examination::Row> self_test(Device device);
/// The tables alone: what rows this build has for which op.
std::vector<dispatch::Examination::Row> kernel_tables();
/// True when it never ran or never was further from the reference than its types allow.
inline bool passed(const dispatch::Examination::Row& row) { return row.failure.empty() && row.worst <= 1; }

}  // namespace cuboid
