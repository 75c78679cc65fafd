// SPDX-License-Identifier: Apache-2.0
#include "layers/volume_loss.h"

#include <cmath>

#include "core/autograd.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/pool/pool.h"
#include "kernels/reduce/reduce.h"
#include "kernels/resize/resize.h"
#include "kernels/views/views.h"

namespace cuboid {

namespace {

DType wide(DType t) { return t == DType::f64 ? t : DType::f32; }

/// 1 where x > bound, 0 elsewhere.
Tensor above(const Tensor& x, double bound) { return relu(sign(x - bound)); }
Tensor below(const Tensor& x, double bound) { return relu(sign(bound - x)); }

Shape spatial(const Tensor& x) {
  Shape s;
  for (int d = 2; d < x.rank(); ++d) s.push_back(x.dim(d));
  return s;
}

/// A window of 2 reach + 1 along one axis, and 1 along the others: boxes are made of three of them.
PoolSpec line(int rank, int axis, std::int64_t reach) {
  PoolSpec p{Shape::filled(rank, 1), Shape::filled(rank, 1), Shape::filled(rank, 0), Shape::filled(rank, 0)};
  p.size[axis] = 2 * reach + 1;
  p.pad_lo[axis] = p.pad_hi[axis] = reach;
  return p;
}

void check_pair(const char* op, const Tensor& logits, const Tensor& labels) {
  bool agree = logits.rank() >= 3 && labels.rank() == logits.rank() - 1 && labels.dim(0) == logits.dim(0);
  for (int d = 2; agree && d < logits.rank(); ++d) agree = labels.dim(d - 1) == logits.dim(d);
  check(agree && labels.dtype() == DType::i64, op, ": logits ", logits.shape(), " expect i64 labels [N,spatial], got ",
        labels.dtype(), labels.shape());
}

/// N,C,spatial -> N * voxels, C: a view of channels-last memory.
Tensor by_voxel(const Tensor& x) {
  Shape axes{0};
  for (int d = 2; d < x.rank(); ++d) axes.push_back(d);
  axes.push_back(1);
  return reshape(permute(to_layout(x, Layout::channels_last), axes), {-1, x.dim(1)});
}

}  // namespace

// ---- signed distances ---------------------------------------------------------------------------

Tensor l1(const Tensor& prediction, const Tensor& target, const Tensor& weights, Reduction reduction) {
  check(prediction.shape() == target.shape(), "l1: prediction ", prediction.shape(), ", target ", target.shape());
  check(!weights.defined() || weights.shape() == target.shape(), "l1: target ", target.shape(), ", weights ",
        weights.defined() ? weights.shape() : Shape{});
  const DType type = wide(prediction.dtype());
  Tensor e = abs(cast(prediction, type) - cast(target.detach(), type));
  if (weights.defined()) e = e * cast(weights.detach(), type);
  return reduction == Reduction::mean ? mean(e) : reduction == Reduction::sum ? sum(e) : e;
}

Tensor edge_weights(const Tensor& target, const EdgeOptions& o) {
  check(target.rank() >= 3 && target.rank() <= 5 && target.dim(1) == 1, "edge_weights: target ", target.shape(),
        ", expected [N,1,spatial]");
  check(o.outside >= 0 && o.weight >= 0 && o.reach >= 1, "edge_weights: outside ", o.outside, ", weight ", o.weight, ", reach ",
        o.reach);
  const Recording off(false);
  const int rank = target.rank() - 2;
  const Tensor outside = below(abs(cast(target.detach(), wide(target.dtype()))), o.outside);
  Tensor grown = outside;
  for (int axis = 0; axis < rank; ++axis) grown = max_pool(grown, line(rank, axis, 1));
  Tensor near = grown - outside;
  for (int axis = 0; axis < rank; ++axis) near = avg_pool(near, line(rank, axis, o.reach));
  const double box = std::pow(2. * static_cast<double>(o.reach) + 1, rank);
  return near * (o.weight * box / std::pow(static_cast<double>(o.reach), 3)) + 1;
}

Tensor edge_weighted_l1(const Tensor& prediction, const Tensor& target, const EdgeOptions& o) {
  return l1(prediction, target, edge_weights(target, o));
}

Tensor distance_labels(const Tensor& target, const Shape& size, double outside) {
  check(target.rank() >= 3 && target.dim(1) == 1, "distance_labels: target ", target.shape(), ", expected [N,1,spatial]");
  const Recording off(false);
  const Tensor t = cast(target.detach(), wide(target.dtype()));
  const Tensor side = resize(above(t, outside) - below(t, -outside), size, {.mode = Resize::linear, .align_corners = true});
  return squeeze(cast(above(side, 0.25) + below(side, -0.25) * 2, DType::i64), 1);
}

// ---- labels ---------------------------------------------------------------------------------------

Tensor voxel_cross_entropy(const Tensor& logits, const Tensor& labels, const CrossEntropyOptions& o) {
  check_pair("voxel_cross_entropy", logits, labels);
  return cross_entropy(by_voxel(logits), reshape(contiguous(labels), {-1}), o);
}

Tensor dice_loss(const Tensor& logits, const Tensor& labels, const DiceOptions& o) {
  check_pair("dice_loss", logits, labels);
  const std::int64_t n = logits.dim(0), classes = logits.dim(1), first = o.background ? 0 : 1;
  check(classes > first, "dice_loss: ", classes, " classes, of which the background is not counted");
  const DType type = wide(logits.dtype());
  // N, voxels, C
  const Tensor p = softmax(reshape(by_voxel(cast(logits, type)), {n, -1, classes}), 2);
  const Tensor t = one_hot(reshape(contiguous(labels), {n, -1}), classes, type);
  const Shape axes = o.batch ? Shape{0, 1} : Shape{1};
  const Tensor both = sum(p * t, axes), all = sum(p, axes) + sum(t, axes);
  const Tensor dice = (both * 2 + o.smooth) / (all + o.smooth);
  return 1 - mean(slice(dice, -1, first, classes - first));
}

Tensor dice_cross_entropy(const Tensor& logits, const Tensor& labels, const DiceCrossEntropyOptions& o) {
  return dice_loss(logits, labels, o.dice) * o.dice_weight +
         voxel_cross_entropy(logits, labels, o.cross_entropy) * o.cross_entropy_weight;
}

Tensor resized_labels(const Tensor& labels, const Shape& size) {
  check(labels.dtype() == DType::i64, "resized_labels: labels are ", labels.dtype(), ", expected i64");
  const Recording off(false);
  return squeeze(cast(resize(unsqueeze(cast(labels, DType::f64), 1), size), DType::i64), 1);
}

// ---- deep supervision -----------------------------------------------------------------------------

Supervision deepis_supervision(std::int64_t epoch) {
  if (epoch < 50) return {0.2, 0.4, 0.4};
  if (epoch < 100) return {0.4, 0.3, 0.3};
  if (epoch < 150) return {0.6, 0.2, 0.2};
  return {0.8, 0.1, 0.1};
}

namespace {
template <class LabelsAt>
Tensor supervised(const Tensor& main, const Tensor& aux3, const Tensor& aux4, const Supervision& w, LabelsAt labels_at) {
  Tensor loss = main * w.main;
  if (aux3.defined()) loss = loss + voxel_cross_entropy(aux3, labels_at(spatial(aux3))) * w.aux3;
  if (aux4.defined()) loss = loss + voxel_cross_entropy(aux4, labels_at(spatial(aux4))) * w.aux4;
  return loss;
}
}  // namespace

Tensor supervised_by_distance(const Tensor& main, const Tensor& aux3, const Tensor& aux4, const Tensor& target,
                              const Supervision& w, double outside) {
  return supervised(main, aux3, aux4, w, [&](const Shape& size) { return distance_labels(target, size, outside); });
}

Tensor supervised_by_labels(const Tensor& main, const Tensor& aux3, const Tensor& aux4, const Tensor& labels,
                            const Supervision& w) {
  return supervised(main, aux3, aux4, w, [&](const Shape& size) { return resized_labels(labels, size); });
}

}  // namespace cuboid
