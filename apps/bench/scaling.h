// SPDX-License-Identifier: Apache-2.0
// How the cost of a step grows with the batch and with the volume, and how it falls with threads: Cuboid alone, in f32.
#pragma once
#include <filesystem>
#include <functional>
#include <vector>

#include "apps/bench/cases.h"

namespace cuboid::bench {

/// What is measured of a net, without times: batches 1 to 16 and cubes of 32^3 to 96^3, each with one thread and with `threads`.
std::vector<Growth> growth_of(const Case& c, const std::string& mode, int threads);

/// Fills in the times, in two passes, the second in reverse order; each point gets `seconds` in each, and two steps at least.
/// `tell(point, median ms)` after each; Cuboid's version goes into `versions`. app::Interrupted on Ctrl-C.
void measure_growth(const Programs& programs, const std::filesystem::path& scratch, double seconds, std::vector<Growth>& points,
                    Json& versions, const std::function<void(const Growth&, double)>& tell);

}  // namespace cuboid::bench
