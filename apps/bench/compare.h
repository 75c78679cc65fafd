// SPDX-License-Identifier: Apache-2.0
// Two results of the same rows: what has become slower.
#pragma once
#include <string>
#include <vector>

#include "apps/bench/result.h"

namespace cuboid::bench {

/// One side of Cuboid's in one row of both files. The ratio is new over old: above 1 is slower.
struct Change {
  std::string row, side;
  double old_ms = 0, new_ms = 0;
  Interval ratio;
  double old_mib = 0, new_mib = 0;
  /// Slower by more than `threshold` (0.05 is 5 %), and the interval leaves no less than that possible.
  bool slower(double threshold) const { return ratio.low > 1 + threshold; }
  bool faster(double threshold) const { return ratio.high < 1 - threshold; }
};

struct Comparison {
  std::vector<Change> changes;
  std::vector<std::string> warnings;  // other machine, other library versions, rows in one file only
};

/// DataError when the two have no row in common.
Comparison compare(const Result& before, const Result& after);

/// "5%", "5 %" or "0.05" -> 0.05. UsageError for anything else, and outside of [0, 10].
double threshold_of(const std::string& text);

}  // namespace cuboid::bench
