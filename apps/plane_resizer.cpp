// SPDX-License-Identifier: Apache-2.0
#include "apps/plane_resizer.h"

#include <algorithm>
#include <deque>
#include <memory>

#include "core/parallel.h"
#include "data/resample.h"
#include "kernels/views/views.h"

namespace cuboid::app {
namespace {

/// The planes of the source (each C,1,h,w) that output planes still read, and where those read.
class Planes {
 public:
  Planes(const Shape& from, const Shape& size) : size_(size), taps_(resample_taps(from[1], size[0], Resampling::linear)) {}

  std::int64_t next() const { return first_ + static_cast<std::int64_t>(planes_.size()); }  // that comes next
  /// The last one that output plane z reads.
  std::int64_t last_of(std::int64_t z) const {
    const Taps& t = taps_[static_cast<std::size_t>(z)];
    return t.first + static_cast<std::int64_t>(t.weight.size()) - 1;
  }
  void push(const Tensor& plane) { planes_.push_back(plane); }

  /// Output plane z, C,1,H,W; forgets what no later one reads.
  Tensor make(std::int64_t z) {
    const Taps& t = taps_[static_cast<std::size_t>(z)];
    for (; first_ < t.first; ++first_) planes_.pop_front();
    const Tensor mixed = empty(planes_.front().shape());
    std::vector<const float*> from;
    for (std::size_t k = 0; k < t.weight.size(); ++k) from.push_back(planes_[k].data<float>());
    float* to = mixed.mutable_data<float>();
    parallel_ranges(mixed.size(), 1 << 14, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        double sum = 0;
        for (std::size_t k = 0; k < from.size(); ++k) sum += t.weight[k] * static_cast<double>(from[k][i]);
        to[i] = static_cast<float>(sum);
      }
    });
    return resample(mixed, {1, size_[1], size_[2]}, Resampling::linear);
  }

 private:
  Shape size_;
  std::vector<Taps> taps_;
  std::int64_t first_ = 0;
  std::deque<Tensor> planes_;  // from first_ on
};

Tensor copy_of(const Tensor& x) {
  const Tensor y = empty(x.shape());
  copy(x, y);
  return y;
}

}  // namespace

ReadPlanes read_resized(ReadPlanes read, const Shape& from, const Shape& size) {
  return [read = std::move(read), from, source = std::make_shared<Planes>(from, size)](std::int64_t first, const Tensor& planes) {
    for (std::int64_t i = 0; i < planes.dim(1); ++i) {
      while (source->next() <= source->last_of(first + i)) {
        const Tensor plane = empty({from[0], 1, from[2], from[3]});
        read(source->next(), plane);
        source->push(plane);
      }
      copy(source->make(first + i), slice(planes, 1, i, 1));
    }
  };
}

WritePlanes write_resized(WritePlanes write, const Shape& from, const Shape& size) {
  return [write = std::move(write), size, source = std::make_shared<Planes>(from, size), out = std::int64_t{0}](
             std::int64_t, const Tensor& planes) mutable {
    for (std::int64_t i = 0; i < planes.dim(1); ++i) {
      source->push(copy_of(slice(planes, 1, i, 1)));
      for (; out < size[0] && source->last_of(out) < source->next(); ++out) write(out, source->make(out));
    }
  };
}

std::int64_t resizing_bytes(const Shape& from, const Shape& size) {
  const std::int64_t held = 2 + 2 * std::max<std::int64_t>(1, (from[1] + size[0] - 1) / size[0]);
  return 4 * from[0] * (held * from[2] * from[3] + 2 * size[1] * size[2]);
}

}  // namespace cuboid::app
