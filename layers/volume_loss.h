// SPDX-License-Identifier: Apache-2.0
// Losses of whole volumes: against a signed distance map (positive inside the one kind of cell, negative inside the other, 0
// outside), and against a map of labels. Results are f32, or f64 for f64; gradients flow to the predictions alone. Volumes have
// one to three spatial dimensions.
#pragma once
#include "layers/loss.h"

namespace cuboid {

// ---- signed distances ---------------------------------------------------------------------------

/// Mean of |prediction - target|; `weights` (of the same shape, outside the graph) multiply it voxel by voxel.
Tensor l1(const Tensor& prediction, const Tensor& target, const Tensor& weights = {}, Reduction reduction = Reduction::mean);

struct EdgeOptions {
  double outside = 0.1;    // a voxel is outside of every cell when its distance is smaller, in the target's unit
  double weight = 1;       // of the edges, beside 1 everywhere
  std::int64_t reach = 2;  // voxels from an edge that count as near
};
/// 1 + weight / reach^3 times the number of edge voxels in the (2 reach + 1)^3 around; an edge voxel lies in a cell and touches
/// the outside. Target N,1,spatial -> the same shape. With the defaults about 4 along a flat wall, 7 between two.
Tensor edge_weights(const Tensor& target, const EdgeOptions& options = {});
/// l1 with edge_weights of the target: the loss of the published weights of DeepIS.
Tensor edge_weighted_l1(const Tensor& prediction, const Tensor& target, const EdgeOptions& options = {});

/// Target N,1,spatial -> i64 labels N,size: 1 where its sign, resized linearly with aligned corners, is above 1/4, 2 where it is
/// below -1/4, 0 elsewhere. The sign is 0 up to `outside`.
Tensor distance_labels(const Tensor& target, const Shape& size, double outside = 0.1);

// ---- labels ---------------------------------------------------------------------------------------

/// Logits N,C,spatial and i64 labels N,spatial; the mean over voxels of softmax cross-entropy.
Tensor voxel_cross_entropy(const Tensor& logits, const Tensor& labels, const CrossEntropyOptions& options = {});

struct DiceOptions {
  bool background = false;  // class 0 counts too
  bool batch = false;       // sums over all samples, not one by one
  double smooth = 1e-5;     // added above and below
};
/// 1 - the mean over classes (and samples) of (2 sum p t + smooth) / (sum p + sum t + smooth), p being the softmax of the logits
/// and t the labels one-hot. Milletari et al. 2016, in the form of nnU-Net.
Tensor dice_loss(const Tensor& logits, const Tensor& labels, const DiceOptions& options = {});

struct DiceCrossEntropyOptions {
  DiceOptions dice = {};
  CrossEntropyOptions cross_entropy = {};
  double dice_weight = 1, cross_entropy_weight = 1;
};
Tensor dice_cross_entropy(const Tensor& logits, const Tensor& labels, const DiceCrossEntropyOptions& options = {});

/// i64 labels N,spatial at another size: those of the nearest voxels.
Tensor resized_labels(const Tensor& labels, const Shape& size);

// ---- deep supervision -----------------------------------------------------------------------------

/// What the main output's loss and those of the two auxiliary heads are multiplied by.
struct Supervision {
  double main = 1, aux3 = 0, aux4 = 0;
};
/// The schedule of DeepIS: 0.2, 0.4, 0.4 in the first 50 epochs (counted from 0), then 0.4, 0.3, 0.3, from 100 on 0.6, 0.2, 0.2,
/// from 150 on 0.8, 0.1, 0.1.
Supervision deepis_supervision(std::int64_t epoch);
/// `main` is a loss. The auxiliary logits are compared with what their size makes of the target, by cross-entropy: one softmax,
/// where the original took two. Undefined logits are left out, the other weights as they are.
Tensor supervised_by_distance(const Tensor& main, const Tensor& aux3, const Tensor& aux4, const Tensor& target,
                              const Supervision& weights, double outside = 0.1);
/// The same for labels N,spatial.
Tensor supervised_by_labels(const Tensor& main, const Tensor& aux3, const Tensor& aux4, const Tensor& labels,
                            const Supervision& weights);

}  // namespace cuboid
