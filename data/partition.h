// SPDX-License-Identifier: Apache-2.0
// Dividing groups (patients) among parts so that every part gets its share of every class. Used by split.cpp.
#pragma once
#include <cstdint>
#include <vector>

#include "core/random.h"

namespace cuboid {

/// counts[g][c]: samples of class c in group g. shares[p]: what part p should get of everything; they sum to 1.
/// Returns the part of each group. First no part lacks a class where that can be helped, then the squared deviations of the
/// class counts from their shares are small: several greedy starts, each improved by moves and exchanges until none helps.
std::vector<int> partition_groups(const std::vector<std::vector<std::int64_t>>& counts, const std::vector<double>& shares,
                                  const RandomKey& key);

}  // namespace cuboid
