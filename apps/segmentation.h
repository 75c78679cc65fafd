// SPDX-License-Identifier: Apache-2.0
// How well a segmentation fits the truth: overlap, surface distances, and instances matched one to one.
//
// Labels are i32 or u8 volumes (D,H,W) of one shape; spacings are z,y,x in µm. What is not defined is NaN, and who takes means
// leaves it out and says how many were (nnU-Net's rule): overlap of a class that neither volume has, surface distances when one
// of the two has no voxel.
#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "core/tensor.h"

namespace cuboid {

// ---- overlap ------------------------------------------------------------------------------------
struct Overlap {
  std::int64_t tp = 0, fp = 0, fn = 0, tn = 0;  // voxels

  double dice() const;               // 2 TP / (2 TP + FP + FN)
  double iou() const;                // TP / (TP + FP + FN)
  double precision() const;          // TP / (TP + FP); NaN when nothing was predicted
  double recall() const;             // TP / (TP + FN); NaN when there is nothing to find
  double volume_difference() const;  // (predicted - true) / true; NaN when there is nothing to find
};

/// One per label 0 ... classes-1. A label outside of them is an Error.
std::vector<Overlap> overlaps(const Tensor& truth, const Tensor& prediction, std::int64_t classes);

// ---- surfaces -----------------------------------------------------------------------------------
// MONAI's convention: the surface of a set are its voxels with a neighbour (of 6) outside, the volume's border being outside; the
// distance of a surface voxel is that to the nearest surface voxel of the other set, centre to centre, exact, in µm.
struct SurfaceDistance {
  double hd95 = 0;       // the larger of the two directions' 95th percentiles (linear between ranks, as numpy)
  double hausdorff = 0;  // the largest distance of all
  double assd = 0;       // mean over the surface voxels of both
};

/// Between the voxels with `label` of both; all NaN when one has none.
SurfaceDistance surface_distance(const Tensor& truth, const Tensor& prediction, std::int64_t label,
                                 const std::array<double, 3>& spacing_um);

// ---- instances ----------------------------------------------------------------------------------
struct InstanceMatch {
  std::int64_t truth = 0, prediction = 0;  // labels
  double iou = 0;
};

/// Counts as Cellpose and StarDist have them: TP are pairs with IoU of at least the threshold, each instance in one pair at most.
struct InstanceScore {
  double threshold = 0.5;
  std::int64_t tp = 0, fp = 0, fn = 0;  // instances
  double iou_sum = 0;                   // of the pairs
  std::vector<InstanceMatch> pairs;     // by truth label

  double average_precision() const;  // TP / (TP + FP + FN); NaN when there is no instance at all, as are the others
  double precision() const;          // TP / (TP + FP)
  double recall() const;             // TP / (TP + FN)
  double f1() const;                 // 2 TP / (2 TP + FP + FN)
  double mean_iou() const;           // of the pairs; NaN without one
  double panoptic_quality() const;   // sum of the pairs' IoU / (TP + FP / 2 + FN / 2)
  /// Adds the counts of another case; pairs stay.
  InstanceScore& operator+=(const InstanceScore& other);
};

/// How many voxels each pair of instances shares, from one pass.
class InstanceOverlap {
 public:
  /// Labels > 0 are instances, in any numbers.
  InstanceOverlap(const Tensor& truth, const Tensor& prediction);
  /// The pairs are the assignment with the most pairs, and among those the largest sum of IoU; it matters only at a threshold of
  /// 0.5 and below, above it no instance has two partners.
  InstanceScore match(double threshold) const;

  struct Instance {
    std::int64_t label = 0, voxels = 0;
  };
  const std::vector<Instance>& truth() const { return truth_; }
  const std::vector<Instance>& prediction() const { return prediction_; }

 private:
  struct Shared {
    std::size_t truth, prediction;  // places in the lists
    std::int64_t voxels;
  };
  std::vector<Instance> truth_, prediction_;  // by label
  std::vector<Shared> shared_;                // by truth, then prediction
};

}  // namespace cuboid
