// SPDX-License-Identifier: Apache-2.0
#include "apps/sliding_window.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/autograd.h"
#include "core/parallel.h"
#include "kernels/views/views.h"

namespace cuboid::app {
namespace {

/// Planes [first, first + count) of a slab C,planes,H,W.
Tensor planes_of(const Tensor& slab, std::int64_t first, std::int64_t count) {
  const std::int64_t plane = slab.dim(2) * slab.dim(3);
  return Tensor(slab.storage(), first * plane, {slab.dim(0), count, slab.dim(2), slab.dim(3)}, slab.strides(), slab.dtype());
}

/// Forgets the first `count` planes; those behind them move there.
void drop_planes(const Tensor& slab, std::int64_t count) {
  const std::int64_t planes = slab.dim(1), plane = slab.dim(2) * slab.dim(3);
  float* data = slab.mutable_data<float>();
  for (std::int64_t c = 0; c < slab.dim(0); ++c, data += planes * plane)
    std::memmove(data, data + count * plane, static_cast<std::size_t>((planes - count) * plane) * sizeof(float));
}

/// The axes of N,C,d,h,w that view 0 to 7 has flipped.
Shape flipped_axes(std::int64_t view) {
  Shape axes;
  for (int axis = 0; axis < 3; ++axis)
    if (view >> axis & 1) axes.push_back(axis + 2);
  return axes;
}

Tensor flipped(const Tensor& x, std::int64_t view) { return view == 0 ? x : flip(x, flipped_axes(view)); }

Tensor as_f32(const Tensor& x) {
  if (x.dtype() == DType::f32) return contiguous(x);
  const Tensor y = empty(x.shape());
  copy(x, y);
  return y;
}

/// Voxel i of a row of n that goes on as its mirror image on both sides, the border's voxel twice.
std::int64_t mirrored(std::int64_t i, std::int64_t n) {
  if (i >= 0 && i < n) return i;
  const std::int64_t at = ((i % (2 * n)) + 2 * n) % (2 * n);
  return at < n ? at : 2 * n - 1 - at;
}

/// Which window: one number per axis.
using Place = std::array<std::size_t, 3>;

/// One pass over a volume.
class Pass {
 public:
  Pass(const PatchNet& net, const Shape& volume, std::int64_t outputs, const SlidingWindowOptions& options)
      : net_(net),
        options_(options),
        grid_({volume[1], volume[2], volume[3]}, options),
        in_(empty({volume[0], grid_.held(), volume[2], volume[3]})),
        out_(zeros({outputs, grid_.held(), volume[2], volume[3]})) {}

  void run(const ReadPlanes& read, const WritePlanes& write) {
    const WindowAxis& z = grid_.axis(0);
    for (std::size_t i = 0; i < z.starts.size(); ++i) {
      if (z.end(i) - base_ > grid_.held()) finish(z.begin(i), write);
      if (z.end(i) > loaded_) {
        read(loaded_, planes_of(in_, loaded_ - base_, z.end(i) - loaded_));
        loaded_ = z.end(i);
      }
      layer(i);
    }
    finish(z.size, write);
  }

 private:
  /// Hands on what lies before plane `end`, and makes room.
  void finish(std::int64_t end, const WritePlanes& write) {
    const std::int64_t count = end - base_;
    write(base_, planes_of(out_, 0, count));
    base_ = end;
    if (end == grid_.axis(0).size) return;
    drop_planes(in_, count);
    drop_planes(out_, count);
    fill(planes_of(out_, grid_.held() - count, count), 0);
  }

  void layer(std::size_t z) {
    const std::size_t rows = grid_.axis(1).starts.size(), columns = grid_.axis(2).starts.size();
    const auto images = static_cast<std::int64_t>(rows * columns) * grid_.views();
    Tensor patch, sum;
    for (std::int64_t first = 0; first < images; first += options_.batch) {
      const std::int64_t count = std::min(options_.batch, images - first);
      Tensors inputs;
      for (std::int64_t image = first; image < first + count; ++image) {
        if (image % grid_.views() == 0) patch = cut(place(z, image, columns));
        inputs.push_back(flipped(patch, image % grid_.views()));
      }
      const Tensor y = as_f32(to(net_(count == 1 ? inputs.front() : cat(inputs, 0)), Device::cpu));
      const Shape& w = options_.window;
      check(y.shape() == Shape({count, out_.dim(0), w[0], w[1], w[2]}), "sliding window: the net answers with shape ", y.shape(),
            ", expected ", Shape({count, out_.dim(0), w[0], w[1], w[2]}));
      for (std::int64_t i = 0; i < count; ++i) {
        const std::int64_t view = (first + i) % grid_.views();
        const Tensor turned = flipped(slice(y, 0, i, 1), view);
        sum = view == 0 ? turned : add(std::move(sum), turned);
        if (view + 1 == grid_.views()) paste(sum, place(z, first + i, columns));
      }
      done_ += count;
      if (options_.progress) options_.progress(done_, grid_.windows() * grid_.views());
    }
  }

  Place place(std::size_t z, std::int64_t image, std::size_t columns) const {
    const auto window = static_cast<std::size_t>(image / grid_.views());
    return {z, window / columns, window % columns};
  }

  /// 1,C,d,h,w from the slab.
  Tensor cut(const Place& at) const {
    const Shape& w = options_.window;
    const Tensor patch = empty({1, in_.dim(0), w[0], w[1], w[2]});
    const float* from = in_.data<float>();
    float* to = patch.mutable_data<float>();
    const std::int64_t height = grid_.axis(1).size, width = grid_.axis(2).size, x = grid_.axis(2).starts[at[2]];
    const bool inside = x >= 0 && x + w[2] <= width;
    parallel_for(in_.dim(0) * w[0], [&](std::int64_t i) {
      const std::int64_t z = mirrored(grid_.axis(0).starts[at[0]] + i % w[0], grid_.axis(0).size) - base_;
      for (std::int64_t j = 0; j < w[1]; ++j) {
        const std::int64_t y = mirrored(grid_.axis(1).starts[at[1]] + j, height);
        const float* row = from + ((i / w[0] * in_.dim(1) + z) * height + y) * width;
        float* target = to + (i * w[1] + j) * w[2];
        if (inside) std::copy(row + x, row + x + w[2], target);
        else
          for (std::int64_t k = 0; k < w[2]; ++k) target[k] = row[mirrored(x + k, width)];
      }
    });
    return patch;
  }

  /// Adds the window's part in the average of its voxels: y is 1,K,d,h,w, the sum over its views.
  void paste(const Tensor& y, const Place& at) const {
    const Shape& w = options_.window;
    const WindowAxis &az = grid_.axis(0), &ay = grid_.axis(1), &ax = grid_.axis(2);
    const Tensor dense = contiguous(y);
    const float* from = dense.data<float>();
    float* to = out_.mutable_data<float>();
    const float each = 1.0F / static_cast<float>(grid_.views());
    const std::int64_t depth = az.end(at[0]) - az.begin(at[0]), x0 = ax.begin(at[2]), width = ax.end(at[2]) - x0;
    const float* along_x = ax.shares[at[2]].data() + x0 - ax.starts[at[2]];
    parallel_for(out_.dim(0) * depth, [&](std::int64_t i) {
      const std::int64_t k = i / depth, z = az.begin(at[0]) + i % depth, wz = z - az.starts[at[0]];
      for (std::int64_t yy = ay.begin(at[1]); yy < ay.end(at[1]); ++yy) {
        const std::int64_t wy = yy - ay.starts[at[1]];
        const float share =
            az.shares[at[0]][static_cast<std::size_t>(wz)] * ay.shares[at[1]][static_cast<std::size_t>(wy)] * each;
        const float* row = from + ((k * w[0] + wz) * w[1] + wy) * w[2] + x0 - ax.starts[at[2]];
        float* target = to + ((k * out_.dim(1) + z - base_) * ay.size + yy) * ax.size + x0;
        for (std::int64_t x = 0; x < width; ++x) target[x] += share * along_x[x] * row[x];
      }
    });
  }

  const PatchNet& net_;
  const SlidingWindowOptions& options_;
  WindowGrid grid_;
  Tensor in_, out_;  // slabs: planes [base_, base_ + held)
  std::int64_t base_ = 0, loaded_ = 0, done_ = 0;
};

}  // namespace

WindowAxis window_axis(std::int64_t size, std::int64_t window, double overlap, bool gaussian) {
  check(size > 0 && window > 0, "sliding window: a window of ", window, " voxels on ", size);
  check(overlap >= 0 && overlap < 1, "sliding window: an overlap of ", overlap, "; it is a share below 1");
  WindowAxis axis{size, window, {}, {}};
  if (size <= window) {
    axis.starts = {-((window - size) / 2)};
  } else {
    const auto step = std::max<std::int64_t>(1, static_cast<std::int64_t>(static_cast<double>(window) * (1 - overlap)));
    const std::int64_t steps = (size - window + step - 1) / step;
    for (std::int64_t i = 0; i <= steps; ++i) axis.starts.push_back(((size - window) * i + steps / 2) / steps);
  }
  // The product of three of these stays far above the smallest f32: exp(-8) at the rim along each axis.
  std::vector<double> weight(static_cast<std::size_t>(window), 1);
  const double sigma = static_cast<double>(window) / 8, centre = static_cast<double>(window - 1) / 2;
  if (gaussian)
    for (std::int64_t i = 0; i < window; ++i)
      weight[static_cast<std::size_t>(i)] = std::exp(-0.5 * std::pow((static_cast<double>(i) - centre) / sigma, 2));
  std::vector<double> sum(static_cast<std::size_t>(size), 0);
  const auto each_voxel = [&](auto&& f) {
    for (std::size_t k = 0; k < axis.starts.size(); ++k)
      for (std::int64_t v = axis.begin(k); v < axis.end(k); ++v)
        f(k, static_cast<std::size_t>(v - axis.starts[k]), static_cast<std::size_t>(v));
  };
  each_voxel([&](std::size_t, std::size_t i, std::size_t v) { sum[v] += weight[i]; });
  axis.shares.assign(axis.starts.size(), std::vector<float>(static_cast<std::size_t>(window), 0.0F));
  each_voxel([&](std::size_t k, std::size_t i, std::size_t v) { axis.shares[k][i] = static_cast<float>(weight[i] / sum[v]); });
  return axis;
}

WindowGrid::WindowGrid(const Shape& volume, const SlidingWindowOptions& options) {
  check(volume.rank() == 3 && options.window.rank() == 3, "sliding window: a window ", options.window, " on a volume ", volume,
        "; both are D,H,W");
  check(options.batch > 0, "sliding window: ", options.batch, " windows at a time");
  for (int i = 0; i < 3; ++i)
    axes_[static_cast<std::size_t>(i)] = window_axis(volume[i], options.window[i], options.overlap, options.gaussian);
  views_ = options.mirror ? 8 : 1;
  held_ = std::min(volume[0], std::max(options.slab, options.window[0]));
  batch_ = options.batch;
}

std::int64_t WindowGrid::windows() const {
  std::int64_t n = 1;
  for (const WindowAxis& axis : axes_) n *= static_cast<std::int64_t>(axis.starts.size());
  return n;
}

std::int64_t WindowGrid::bytes(std::int64_t channels, std::int64_t outputs) const {
  const std::int64_t slab = held_ * axes_[1].size * axes_[2].size, window = axes_[0].window * axes_[1].window * axes_[2].window;
  const std::int64_t images = window * (batch_ > 1 ? 2 * batch_ + 1 : views_ > 1 ? 2 : 1);
  return 4 * ((channels + outputs) * slab + channels * images + outputs * window * (views_ > 1 ? batch_ + 2 : batch_));
}

void slide(const PatchNet& net, const Shape& volume, const ReadPlanes& read, std::int64_t outputs, const WritePlanes& write,
           const SlidingWindowOptions& options) {
  check(volume.rank() == 4 && outputs > 0, "sliding window: a volume ", volume, ", expected C,D,H,W, and ", outputs, " outputs");
  const Recording off(false);
  Pass(net, volume, outputs, options).run(read, write);
}

Tensor slide(const PatchNet& net, const Tensor& x, std::int64_t outputs, const SlidingWindowOptions& options) {
  check(x.rank() == 4, "sliding window: a volume of shape ", x.shape(), ", expected C,D,H,W");
  const Tensor y = empty({outputs, x.dim(1), x.dim(2), x.dim(3)});
  slide(
      net, x.shape(), [&](std::int64_t first, const Tensor& planes) { copy(slice(x, 1, first, planes.dim(1)), planes); }, outputs,
      [&](std::int64_t first, const Tensor& planes) { copy(planes, slice(y, 1, first, planes.dim(1))); }, options);
  return y;
}

}  // namespace cuboid::app
