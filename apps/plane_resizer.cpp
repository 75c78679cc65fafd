// SPDX-License-Identifier: Apache-2.0
#include "apps/plane_resizer.h"

#include <memory>

#include "kernels/pointwise/pointwise.h"
#include "kernels/resize/source.h"
#include "kernels/views/views.h"

namespace cuboid::app {
namespace {

/// Two neighbouring planes of the source, each already resized to H x W (C,1,H,W), and where output planes read.
class Pair {
 public:
  Pair(const Shape& from, const Shape& size)
      : size_(size), channels_(from[0]), along_z_(from[1], size[0], {.mode = Resize::linear}) {}

  const SourceAxis<double>& along_z() const { return along_z_; }
  std::int64_t next() const { return next_; }  // plane of the source that comes next

  /// `plane` is C,1,h,w.
  void push(const Tensor& plane) {
    before_ = last_;
    const Tensor flat = reshape(contiguous(plane), {1, channels_, plane.dim(2), plane.dim(3)});
    last_ = reshape(contiguous(resize(flat, {size_[1], size_[2]}, {.mode = Resize::linear})), {channels_, 1, size_[1], size_[2]});
    ++next_;
  }
  /// Output plane z, whose neighbours must be the last two.
  Tensor plane(std::int64_t z) const {
    const auto s = along_z_.source(z);
    const Tensor &a = s.first == next_ - 1 ? last_ : before_, &b = s.second == next_ - 1 ? last_ : before_;
    if (s.share == 0 || s.first == s.second) return a;
    return a * (1 - s.share) + b * s.share;
  }

 private:
  Shape size_;
  std::int64_t channels_, next_ = 0;
  SourceAxis<double> along_z_;
  Tensor before_, last_;
};

}  // namespace

ReadPlanes read_resized(ReadPlanes read, const Shape& from, const Shape& size) {
  return [read = std::move(read), from, pair = std::make_shared<Pair>(from, size)](std::int64_t first, const Tensor& planes) {
    for (std::int64_t i = 0; i < planes.dim(1); ++i) {
      while (pair->next() <= pair->along_z().source(first + i).second) {
        const Tensor plane = empty({from[0], 1, from[2], from[3]});
        read(pair->next(), plane);
        pair->push(plane);
      }
      copy(pair->plane(first + i), slice(planes, 1, i, 1));
    }
  };
}

WritePlanes write_resized(WritePlanes write, const Shape& from, const Shape& size) {
  return [write = std::move(write), size, pair = std::make_shared<Pair>(from, size), out = std::int64_t{0}](
             std::int64_t, const Tensor& planes) mutable {
    for (std::int64_t i = 0; i < planes.dim(1); ++i) {
      pair->push(slice(planes, 1, i, 1));
      for (; out < size[0] && pair->along_z().source(out).second < pair->next(); ++out) write(out, pair->plane(out));
    }
  };
}

}  // namespace cuboid::app
