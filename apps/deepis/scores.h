// SPDX-License-Identifier: Apache-2.0
// A prediction against its truth, case by case, and over all cases.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "apps/segmentation.h"
#include "core/json.h"
#include "data/labelled.h"

namespace cuboid::deepis {

struct ScoreOptions {
  Head head = Head::signed_distance;
  std::vector<std::string> classes = {"background", "1", "2"};  // by label; for instances: background, object
  bool surfaces = true;                                         // HD95 and ASSD too
  double dilate_um = -1, cleft_um = -1;                         // of the synapse, as in measurement.h
};

struct ClassScore {
  cuboid::Overlap overlap;
  SurfaceDistance surface;  // NaN without
};

/// How well the place where two cells meet was found.
struct SynapseScore {
  cuboid::Overlap overlap;  // of the voxels within reach of both
  double true_area_um2 = 0, area_um2 = 0;
  /// (predicted - true) / true; NaN when there is no synapse.
  double area_error() const;
};

struct CaseScore {
  std::string name, reference_file, prediction_file;
  Spacing spacing_um{};
  std::vector<ClassScore> classes;       // labels 1 ... n-1; for instances: all of them together
  std::optional<SynapseScore> synapse;   // signed distances only
  std::vector<InstanceScore> instances;  // at 0.50, 0.55, ... 0.95; instances only
  /// Mean Dice of its classes, for instances the average precision at 0.5: what the best and worst cases are told by. NaN when
  /// none is defined.
  double merit() const;
};

/// DataError for labels that the classes do not have. Both are u8 or i32 (D,H,W) of one shape; a spacing of zeros counts as
/// voxels.
CaseScore score(const Tensor& truth, const Tensor& prediction, const Spacing& spacing_um, const ScoreOptions& options);

/// What summary.json holds: nnU-Net v2's keys (metric_per_case, mean, foreground_mean, in it Dice IoU FP FN TP TN n_pred n_ref)
/// and ours (Precision Recall RVD HD95 ASSD Hausdorff; "undefined": how many cases each mean leaves out; "synapse", "instances").
/// What is not defined is null. nnU-Net writes NaN, which is no JSON, and its foreground_mean is NaN as soon as one class's is;
/// here the mean is over the classes that have one.
Json summarise(const std::vector<CaseScore>& cases, const ScoreOptions& options);
/// The same as a table for people.
std::string summary_text(const Json& summary);
/// One line per case and class, all numbers.
std::string scores_csv(const std::vector<CaseScore>& cases, const ScoreOptions& options);

}  // namespace cuboid::deepis
