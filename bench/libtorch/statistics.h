// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "apps/bench/statistics.h"

namespace side {
using cuboid::bench::bootstrap_median, cuboid::bench::Interval, cuboid::bench::median, cuboid::bench::quantile;
}  // namespace side
