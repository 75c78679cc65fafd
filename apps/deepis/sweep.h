// SPDX-License-Identifier: Apache-2.0
// Values of post-processing tried out on cases whose truth is known: a coarse grid, so that few cases cannot be learnt by heart.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "apps/deepis/postprocess.h"
#include "apps/segmentation.h"
#include "data/labelled.h"

namespace cuboid::deepis {

/// What a net says of a case, f32 K,D,H,W, and what is true, labels D,H,W (u8 or i32).
struct SweepCase {
  Tensor scores, truth;
  Spacing spacing_um{};
};

struct Trial {
  PostprocessOptions options;  // -1 where the value is the default
  int steps = 0;               // of the grid from the default, for a smallest volume from what is expected
  double merit = 0;            // mean Dice of the classes; instances: average precision at IoU 0.5 over all cases; NaN: undefined
  double second = 0;           // instances: panoptic quality, which tells equal merits apart
  InstanceScore instances;     // their counts
};

struct Sweep {
  Head head{};
  Spacing spacing_um{};       // what the steps of the grid are measured in
  std::vector<Trial> trials;  // the default is the first
  std::size_t chosen = 0;

  const Trial& standard() const { return trials.front(); }
  const Trial& best() const { return trials[chosen]; }
  /// "AP" or "Dice".
  const char* merit_name() const { return head == Head::instances ? "AP" : "Dice"; }
};

/// A gain below this is chance, and so is for instances one object more or less: of all trials that come as near to the best, and
/// among them as near to the best of what comes second, the one with the fewest steps is chosen.
inline constexpr double clear_gain = 0.01;

struct SweepOptions {
  /// Volumes in µm³ of true objects, of these and other cases; none: those of the cases. For instances half of what nine in ten
  /// of them exceed is where the smallest volume starts from, as if it were the default.
  std::vector<double> volumes;
  std::function<void()> poll;  // called before each trial, from any thread; may throw
};

/// Signed distances: the threshold. Instances: threshold and smallest volume, then the two rules for peaks. Classes: smallest
/// volume and whether only the largest component stays. Thresholds are multiples of the smallest voxel size.
Sweep sweep(Head head, const std::vector<SweepCase>& cases, const Spacing& spacing_um, const SweepOptions& options = {});

/// Volumes in µm³ of the labels of a case; for classes of their components.
std::vector<double> object_volumes(Head head, const Tensor& labels, const Spacing& spacing_um);

/// What is chosen of `trials`, the default being the first: its place.
std::size_t choose(const std::vector<Trial>& trials);

/// "threshold 0.2 um, objects from 1.5 um3, ...": the values that matter to the head, defaults filled in.
std::string values_text(const Sweep& sweep, const Trial& trial);
/// {"head", "merit", "chosen", "trials": [{the options, "merit", ...}]}
Json to_json(const Sweep& sweep);
/// Of such a Json: the heads and rows of a table, chosen and default marked in the last column.
std::vector<std::vector<std::string>> sweep_table(const Json& sweep);

}  // namespace cuboid::deepis
