// SPDX-License-Identifier: Apache-2.0
// Convolutions of very few input channels (stems) in bf16: the taps of a kernel row in all channels lie side by side in a
// channels-last line, so a row of the kernel is a product of pairs. Lines are copied once, with zeros for the padding.
#include "kernels/bf16_simd.h"
#include "kernels/conv/rows.h"
#if CUBOID_AVX512_BF16
#include <algorithm>
#include <vector>

#include "core/parallel.h"
#include "kernels/conv/bf16_panels.h"
#include "kernels/conv/geometry.h"

namespace cuboid::bf::stem {
namespace {

constexpr std::int64_t most_inputs = 4, band = 16;  // output lines of one task

bool fits(const View& x, const View& w, const View& y, const ConvSpec& spec) {
  if (x.dtype != DType::bf16 || x.dim(1) > most_inputs || y.dim(1) % panel_width != 0) return false;
  if (!x.is(Layout::channels_last) || !y.is(Layout::channels_last) || !w.is(Layout::contiguous)) return false;
  const Geometry g = geometry(x.dtype, x.shape, w.shape, y.shape, spec);
  return Geometry::volume(g.kernel) > 1 && g.dilation == Triple{1, 1, 1} && g.groups == 1;
}

/// Output lines [begin, end) of plane d of sample n.
struct Task {
  std::int64_t n, d, begin, end;
};
std::vector<Task> tasks_of(const Geometry& g) {
  std::vector<Task> tasks;
  for (std::int64_t n = 0; n < g.samples; ++n)
    for (std::int64_t d = 0; d < g.out[0]; ++d)
      for (std::int64_t h = 0; h < g.out[1]; h += band) tasks.push_back({n, d, h, std::min(h + band, g.out[1])});
  return tasks;
}

/// The input lines a task reads, padded. As pairs, element e of a line stands beside element e + one output voxel further.
class Lines {
 public:
  Lines(const Geometry& g, bool as_pairs)
      : g_(g),
        pairs_(as_pairs ? 2 : 1),
        step_(g.stride[2] * g.in_channels),
        length_((g.out[2] + 1) * step_ + (g.kernel[2] + 1) * g.in_channels),
        height_((band - 1) * g.stride[1] + g.kernel[1]),
        line_(length_ + step_),
        data_(g.kernel[0] * height_ * length_ * pairs_) {}

  void load(const bf16* x, const Task& t) {
    first_ = t.begin * g_.stride[1] - g_.pad_lo[1];
    plane_ = t.d * g_.stride[0] - g_.pad_lo[0];
    const std::int64_t pad = g_.pad_lo[2] * g_.in_channels, width = g_.in[2] * g_.in_channels;
    const std::int64_t count = std::min(width, length_ + step_ - pad);
    const std::int64_t lines = (t.end - t.begin - 1) * g_.stride[1] + g_.kernel[1];
    std::fill_n(line_.data(), length_ + step_, bf16());
    for (std::int64_t i = 0; i < g_.kernel[0]; ++i)
      for (std::int64_t j = 0; j < lines; ++j) {
        if (!meets(i, j)) continue;
        const bf16* from = x + ((t.n * g_.in[0] + plane_ + i) * g_.in[1] + first_ + j) * width;
        std::copy_n(from, count, line_.data() + pad);
        bf16* to = data_.data() + (i * height_ + j) * length_ * pairs_;
        if (pairs_ == 1) std::copy_n(line_.data(), length_, to);
        else
          for (std::int64_t e = 0; e < length_; ++e) {
            to[2 * e] = line_[e];
            to[2 * e + 1] = line_[e + step_];
          }
      }
  }
  /// Whether line `line` of the task's in plane i of the kernel's lies in the volume.
  bool meets(std::int64_t i, std::int64_t line) const {
    return plane_ + i >= 0 && plane_ + i < g_.in[0] && first_ + line >= 0 && first_ + line < g_.in[1];
  }
  const bf16* line(std::int64_t i, std::int64_t line) const { return data_.data() + (i * height_ + line) * length_ * pairs_; }
  /// Elements from one output voxel's inputs to the next one's.
  std::int64_t step() const { return step_; }

 private:
  const Geometry& g_;
  std::int64_t pairs_, step_, length_, height_, first_ = 0, plane_ = 0;
  Scratch<bf16> line_, data_;
};

/// Elements of a kernel row, and pairs of them.
std::int64_t row_of(const Geometry& g) { return g.kernel[2] * g.in_channels; }
std::int64_t pairs_of(const Geometry& g) { return (row_of(g) + 1) / 2; }

/// w[out][in][taps] -> [kernel row][out / 32][pair][32] pairs, an odd row's last element beside a zero.
void pack(const Geometry& g, const bf16* w, bf16* to) {
  const std::int64_t row = row_of(g), pairs = pairs_of(g), out = g.out_channels, volume = Geometry::volume(g.kernel);
  parallel_ranges(volume / g.kernel[2], 1, [&](std::int64_t r, std::int64_t) {
    for (std::int64_t k = 0; k < out; ++k)
      for (std::int64_t e = 0; e < 2 * pairs; ++e) {
        const std::int64_t kw = e / g.in_channels, c = e % g.in_channels;
        bf16& at = to[((r * out + k / panel_width * panel_width) * pairs + e / 2 * panel_width + k % panel_width) * 2 + e % 2];
        at = e < row ? w[(k * g.in_channels + c) * volume + r * g.kernel[2] + kw] : bf16();
      }
  });
}

struct Row {
  const bf16 *inputs, *weights;
};

/// R output voxels `step` elements apart and 32 output channels: the sum over kernel rows.
template <int R>
void tile(const std::vector<Row>& rows, std::int64_t at, std::int64_t pairs, std::int64_t step, const float* bias, bf16* y,
          std::int64_t y_step) {
  Vec sum[R][2];
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) sum[i][j] = bias ? load(bias + j * lanes) : Vec{};
  for (const Row& row : rows) {
    const bf16 *from = row.inputs + at, *panel = row.weights;
    for (std::int64_t p = 0; p < pairs; ++p, from += 2, panel += 4 * lanes) {
      const __m512i left = load_pairs(panel), right = load_pairs(panel + 2 * lanes);
#pragma GCC unroll 8
      for (int i = 0; i < R; ++i) {
        const __m512i pair = splat_pair(from + i * step);
        sum[i][0] = add_products(sum[i][0], pair, left);
        sum[i][1] = add_products(sum[i][1], pair, right);
      }
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i) store(y + i * y_step, sum[i][0], sum[i][1]);
}
using Tile = void (*)(const std::vector<Row>&, std::int64_t, std::int64_t, std::int64_t, const float*, bf16*, std::int64_t);
constexpr Tile tiles[] = {nullptr, tile<1>, tile<2>, tile<3>, tile<4>, tile<5>, tile<6>, tile<7>, tile<8>};

}  // namespace

bool forward_fits(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec& spec, Storage*) {
  return (!bias.data || bias.is(Layout::contiguous)) && fits(x, w, y, spec);
}
bool weight_fits(const View& g, const View& x, const Out& dw, const ConvSpec& spec) { return fits(x, dw, g, spec); }

void conv_forward(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec& spec, Storage*) {
  const Geometry g = geometry(x.dtype, x.shape, w.shape, y.shape, spec);
  const std::int64_t out = g.out_channels, pairs = pairs_of(g), kernel_rows = g.kernel[0] * g.kernel[1];
  const Scratch<bf16> weights(kernel_rows * pairs * out * 2);
  pack(g, w.as<bf16>(), weights.data());
  const Scratch<float> shift(out);
  for (std::int64_t k = 0; k < out; ++k) shift[k] = bias.data ? static_cast<float>(bias.as<bf16>()[k]) : 0;
  const std::vector<Task> tasks = tasks_of(g);
  parallel_for(static_cast<std::int64_t>(tasks.size()), [&](std::int64_t i) {
    const Task& t = tasks[static_cast<std::size_t>(i)];
    Lines inputs(g, false);
    inputs.load(x.as<bf16>(), t);
    std::vector<Row> rows;
    for (std::int64_t h = t.begin; h < t.end; ++h)
      for (std::int64_t k = 0; k < out; k += panel_width) {
        rows.clear();
        for (std::int64_t r = 0; r < kernel_rows; ++r) {
          const std::int64_t plane = r / g.kernel[1], line = (h - t.begin) * g.stride[1] + r % g.kernel[1];
          if (inputs.meets(plane, line)) rows.push_back({inputs.line(plane, line), weights.data() + (r * out + k) * pairs * 2});
        }
        bf16* to = y.as<bf16>() + (((t.n * g.out[0] + t.d) * g.out[1] + h) * g.out[2]) * out + k;
        for (std::int64_t v = 0; v < g.out[2]; v += 8)
          tiles[std::min<std::int64_t>(8, g.out[2] - v)](rows, v * inputs.step(), pairs, inputs.step(), shift.data() + k,
                                                         to + v * out, out);
      }
  });
}

/// dw as [kernel row][element][out], then in its own order.
void conv_weight(const View& dy, const View& x, const Out& dw, const ConvSpec& spec) {
  const Geometry g = geometry(x.dtype, x.shape, dw.shape, dy.shape, spec);
  const std::int64_t out = g.out_channels, row = row_of(g), kernel_rows = g.kernel[0] * g.kernel[1], width = g.out[2];
  const std::int64_t voxel_pairs = (width + 1) / 2, size = kernel_rows * row * out;
  const std::vector<Task> tasks = tasks_of(g);
  const auto count = static_cast<std::int64_t>(tasks.size()), pieces = std::min<std::int64_t>(count, 16);
  const Scratch<float> parts(pieces * size);
  parallel_for(pieces, [&](std::int64_t piece) {
    float* part = parts.data() + piece * size;
    std::fill_n(part, size, 0.f);
    Lines inputs(g, true);
    const Scratch<bf16> gradient(band * voxel_pairs * 2 * out);
    std::vector<Product> products;
    for (std::int64_t i = count * piece / pieces; i < count * (piece + 1) / pieces; ++i) {
      const Task& t = tasks[static_cast<std::size_t>(i)];
      inputs.load(x.as<bf16>(), t);
      for (std::int64_t h = t.begin; h < t.end; ++h) {
        const bf16* from = dy.as<bf16>() + (((t.n * g.out[0] + t.d) * g.out[1] + h) * width) * out;
        bf16* to = gradient.data() + (h - t.begin) * voxel_pairs * 2 * out;
        for (std::int64_t v = 0; v < width; v += 2)
          for (std::int64_t k = 0; k < out; k += lanes)
            store_pairs(to + v * out + 2 * k, halves(from + v * out + k),
                        v + 1 < width ? halves(from + (v + 1) * out + k) : Halves{});
      }
      for (std::int64_t r = 0; r < kernel_rows; ++r) {
        products.clear();
        for (std::int64_t h = 0; h < t.end - t.begin; ++h) {
          const std::int64_t plane = r / g.kernel[1], line = h * g.stride[1] + r % g.kernel[1];
          if (inputs.meets(plane, line))
            products.push_back({{inputs.line(plane, line), 2, 4 * inputs.step()},
                                {gradient.data() + h * voxel_pairs * 2 * out, 2 * panel_width, 2 * out}});
        }
        if (!products.empty()) gemm(row, out, voxel_pairs, products, part + r * row * out, out, true);
      }
    }
  });
  const std::int64_t volume = Geometry::volume(g.kernel);
  parallel_ranges(kernel_rows, 1, [&](std::int64_t r, std::int64_t) {
    for (std::int64_t e = 0; e < row; ++e)
      for (std::int64_t k = 0; k < out; ++k) {
        float sum = 0;
        for (std::int64_t q = 0; q < pieces; ++q) sum += parts[q * size + (r * row + e) * out + k];
        dw.as<bf16>()[(k * g.in_channels + e % g.in_channels) * volume + r * g.kernel[2] + e / g.in_channels] = bf16(sum);
      }
  });
}

}  // namespace cuboid::bf::stem
#else
namespace cuboid::bf::stem {
bool forward_fits(const View&, const View&, const View&, const Out&, const ConvSpec&, Storage*) { return false; }
bool weight_fits(const View&, const View&, const Out&, const ConvSpec&) { return false; }
void conv_forward(const View&, const View&, const View&, const Out&, const ConvSpec&, Storage*) {}
void conv_weight(const View&, const View&, const Out&, const ConvSpec&) {}
}  // namespace cuboid::bf::stem
#endif
