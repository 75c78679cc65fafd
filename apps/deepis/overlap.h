// SPDX-License-Identifier: Apache-2.0
// How far what a net says and the truth lie in the same voxels, while it is being trained. Evaluation proper, with everything
// that is done to a prediction before it is judged, is elsewhere.
#pragma once
#include <vector>

#include "core/tensor.h"
#include "data/labelled.h"

namespace cuboid::deepis {

/// Voxels per class, summed over everything that was added.
class Overlap {
 public:
  /// Without the background: label 1 and 2 of a signed distance, the classes from 1 on. For instances what is inside of them, and
  /// what is deeper inside, at two depths: where objects touch, only that tells whether they come apart.
  Overlap(Head head, std::int64_t outputs);

  /// A net's output N,C,D,H,W and its truth, as a PatchBatch has it: the distance N,1,D,H,W, or the labels N,D,H,W. A voxel
  /// belongs to a cell where its distance is larger than `threshold` in µm; deeper inside is 4 and 8 times that.
  void add(const Tensor& output, const Tensor& truth, double threshold);
  /// 2 both / (predicted + true), the mean over the classes that occur in either; NaN when none does.
  double dice() const;

  /// f64 [3,classes]: in both, predicted, true.
  Tensor counts() const;
  void set_counts(const Tensor& counts);

 private:
  struct Count {
    double both = 0, predicted = 0, truth = 0;
  };
  Head head_;
  std::vector<Count> counts_;
};

}  // namespace cuboid::deepis
