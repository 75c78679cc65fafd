// SPDX-License-Identifier: Apache-2.0
#include "apps/deepis/overlap.h"

#include <limits>

#include "kernels/pointwise/pointwise.h"
#include "kernels/views/views.h"

namespace cuboid::deepis {
namespace {

/// By the sign; 0 where the distance is small.
std::size_t label_of(double distance, double threshold) { return distance > threshold ? 1 : distance < -threshold ? 2 : 0; }

// Of instances, in thresholds: with half a voxel, these are half a voxel, two, and four.
constexpr double depths[] = {1, 4, 8};

}  // namespace

Overlap::Overlap(Head head, std::int64_t outputs)
    : head_(head),
      counts_(static_cast<std::size_t>(head == Head::signed_distance ? 2
                                       : head == Head::instances     ? std::ssize(depths)
                                                                     : outputs - 1)) {}

void Overlap::add(const Tensor& output, const Tensor& truth, double threshold) {
  const Tensor out = contiguous(cast(to(output.detach(), Device::cpu), DType::f32)), real = contiguous(to(truth, Device::cpu));
  const std::int64_t n = out.dim(0), channels = out.dim(1), voxels = out.shape().count() / (n * channels);
  check(real.shape().count() == n * voxels, "overlap: output ", output.shape(), ", truth ", truth.shape());
  const bool classes = head_ == Head::classes;
  const float* scores = out.data<float>();
  if (head_ == Head::instances) {
    const float* distance = real.data<float>();
    for (std::size_t k = 0; k < counts_.size(); ++k)
      for (std::int64_t v = 0; v < n * voxels; ++v) {
        const bool said = scores[v] > depths[k] * threshold, is = distance[v] > depths[k] * threshold;
        counts_[k].predicted += said, counts_[k].truth += is, counts_[k].both += said && is;
      }
    return;
  }
  for (std::int64_t i = 0; i < n; ++i, scores += channels * voxels)
    for (std::int64_t v = 0; v < voxels; ++v) {
      std::size_t said = 0, is = 0;
      if (classes) {
        for (std::int64_t c = 1; c < channels; ++c)
          if (scores[c * voxels + v] > scores[static_cast<std::int64_t>(said) * voxels + v]) said = static_cast<std::size_t>(c);
        is = static_cast<std::size_t>(real.data<std::int64_t>()[i * voxels + v]);
      } else {
        said = label_of(scores[v], threshold);
        is = label_of(real.data<float>()[i * voxels + v], threshold);
      }
      if (said) ++counts_[said - 1].predicted;
      if (is) ++counts_[is - 1].truth;
      if (said && said == is) ++counts_[is - 1].both;
    }
}

double Overlap::dice() const {
  double sum = 0;
  int classes = 0;
  for (const Count& c : counts_) {
    if (c.predicted + c.truth == 0) continue;
    sum += 2 * c.both / (c.predicted + c.truth);
    ++classes;
  }
  return classes ? sum / classes : std::numeric_limits<double>::quiet_NaN();
}

Tensor Overlap::counts() const {
  std::vector<double> all;
  for (const auto part : {&Count::both, &Count::predicted, &Count::truth})
    for (const Count& c : counts_) all.push_back(c.*part);
  return from_values(all, {3, static_cast<std::int64_t>(counts_.size())});
}

void Overlap::set_counts(const Tensor& counts) {
  const std::vector<double> all = counts.to_vector();
  check(all.size() == 3 * counts_.size(), "overlap: counts ", counts.shape(), " for ", counts_.size(), " classes");
  for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] = {all[i], all[i + counts_.size()], all[i + 2 * counts_.size()]};
}

}  // namespace cuboid::deepis
