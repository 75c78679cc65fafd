// SPDX-License-Identifier: Apache-2.0
#if CUBOID_ONEDNN
#include "kernels/conv/units.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "core/parallel.h"
#include "kernels/conv/rows.h"

namespace cuboid::onednn {

bool is_pointwise(const Geometry& g) {
  const Triple one{1, 1, 1};
  return g.kernel == one && g.stride == one && g.pad_lo == Triple{} && g.in == g.out;
}

namespace {
thread_local bool finest = false;
constexpr std::int64_t most_pieces = 64;
}  // namespace

FinestCut::FinestCut() { finest = true; }
FinestCut::~FinestCut() { finest = false; }

namespace {

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// A part of the work, with the offsets of its x and y in elements. out[axis] == 0: nothing reaches this part of x.
struct Piece {
  Unit unit;
  std::int64_t x = 0, y = 0;
};
using Pieces = std::vector<Piece>;

/// The axis along which slabs of both x and y are contiguous in memory; 3 when there is none.
std::size_t slab_axis(const Geometry& g) {
  for (std::size_t a = 0; a < 3; ++a)
    if (g.in[a] > 1 || g.out[a] > 1) return g.in[a] > 1 && g.out[a] > 1 ? a : 3;
  return 3;
}

/// Elements between two steps along `axis`, of which everything before has size 1.
std::int64_t step_along(const Triple& size, std::size_t axis, std::int64_t channels) {
  for (std::size_t a = axis + 1; a < 3; ++a) channels *= size[a];
  return channels;
}

/// Output slabs [begin, end) and the inputs they read.
Piece output_slab(const Geometry& g, std::size_t a, std::int64_t begin, std::int64_t end) {
  Piece p{g};
  const std::int64_t first = begin * g.stride[a] - g.pad_lo[a];
  const std::int64_t last = (end - 1) * g.stride[a] - g.pad_lo[a] + g.extent(a);
  const std::int64_t from = std::max<std::int64_t>(0, first), to = std::min(g.in[a], last);
  p.unit.in[a] = to - from;
  p.unit.out[a] = end - begin;
  p.unit.pad_lo[a] = from - first;
  p.x = from * step_along(g.in, a, g.in_channels);
  p.y = begin * step_along(g.out, a, g.out_channels);
  return p;
}

/// Input slabs [begin, end) and the outputs whose windows touch them. Needs a kernel no shorter than the stride.
Piece input_slab(const Geometry& g, std::size_t a, std::int64_t begin, std::int64_t end) {
  Piece p{g};
  const std::int64_t reach = begin + g.pad_lo[a] - (g.extent(a) - 1);
  const std::int64_t from = std::max<std::int64_t>(0, reach <= 0 ? 0 : ceil_div(reach, g.stride[a]));
  const std::int64_t to = std::min(g.out[a], (end - 1 + g.pad_lo[a]) / g.stride[a] + 1);
  p.unit.in[a] = end - begin;
  p.unit.out[a] = std::max<std::int64_t>(0, to - from);
  p.unit.pad_lo[a] = begin + g.pad_lo[a] - from * g.stride[a];
  p.x = begin * step_along(g.in, a, g.in_channels);
  p.y = from * step_along(g.out, a, g.out_channels);
  return p;
}

/// About `wanted` pieces.
Pieces cut(Pass pass, const Geometry& g, std::int64_t wanted) {
  Pieces pieces;
  if (is_pointwise(g)) {  // all voxels of all samples are one line
    const std::int64_t pixels = g.samples * Geometry::volume(g.in), length = ceil_div(ceil_div(pixels, wanted), 32) * 32;
    for (std::int64_t begin = 0; begin < pixels; begin += length) {
      Piece p{g, begin * g.in_channels, begin * g.out_channels};
      p.unit.samples = 1;
      p.unit.in = p.unit.out = {1, 1, std::min(length, pixels - begin)};
      pieces.push_back(p);
    }
    return pieces;
  }
  const std::size_t axis = slab_axis(g);
  const std::int64_t x_step = Geometry::volume(g.in) * g.in_channels, y_step = Geometry::volume(g.out) * g.out_channels;
  if (g.samples >= wanted || axis == 3 || (pass == Pass::backward_data && g.extent(axis) < g.stride[axis])) {
    const std::int64_t samples = std::max<std::int64_t>(1, g.samples / wanted);
    for (std::int64_t n = 0; n < g.samples; n += samples) {
      Piece p{g, n * x_step, n * y_step};
      p.unit.samples = std::min(samples, g.samples - n);
      pieces.push_back(p);
    }
    return pieces;
  }
  Geometry one = g;
  one.samples = 1;
  const std::int64_t size = pass == Pass::backward_data ? g.in[axis] : g.out[axis];
  const std::int64_t length = ceil_div(size, std::min(size, ceil_div(wanted, g.samples)));
  for (std::int64_t n = 0; n < g.samples; ++n)
    for (std::int64_t begin = 0; begin < size; begin += length) {
      const std::int64_t end = std::min(begin + length, size);
      Piece p = pass == Pass::backward_data ? input_slab(one, axis, begin, end) : output_slab(one, axis, begin, end);
      p.x += n * x_step;
      p.y += n * y_step;
      pieces.push_back(p);
    }
  return pieces;
}

/// Enough pieces to keep threads busy, none so small that calling it costs more than a few percent.
std::int64_t wanted_pieces(const Geometry& g) {
  if (finest) return most_pieces;
  const auto by = [&](double flops) { return static_cast<std::int64_t>(g.flops() / flops); };
  return std::clamp<std::int64_t>(std::max(std::min(g.samples, by(2e6)), by(16e6)), 1, most_pieces);
}

/// The weights in the order of each distinct unit's kernel (inner slabs, the first, the last, a shorter one).
class PackedWeights {
 public:
  PackedWeights(Pass pass, const Pieces& pieces, const void* plain, Storage* home) {
    for (const Piece& p : pieces) {
      if (find(p.unit) || Geometry::volume(p.unit.out) == 0) continue;
      const Kernel& k = kernel(pass, p.unit);
      std::shared_ptr<const void> data;
      for (const auto& known : all_)
        if (!data && k.same_weights(kernel(pass, known.first))) data = known.second;
      all_.emplace_back(p.unit, data ? data : k.packed(plain, home));
    }
  }
  const void* find(const Unit& unit) const {
    for (const auto& known : all_)
      if (known.first == unit) return known.second.get();
    return nullptr;
  }

 private:
  std::vector<std::pair<Unit, std::shared_ptr<const void>>> all_;
};

const char* at(const void* p, std::int64_t elements, DType t) { return static_cast<const char*>(p) + elements * size_of(t); }
char* at(void* p, std::int64_t elements, DType t) { return static_cast<char*>(p) + elements * size_of(t); }

/// oneDNN's own kernels; each piece has its own gradient, and the gradients are added in the order of the pieces.
void direct_weights(const Geometry& g, const void* x, const void* dy, float* dw) {
  const std::int64_t voxels = g.samples * Geometry::volume(g.out), most = (32 << 20) / (4 * g.w_size());
  const std::int64_t wanted = finest ? most_pieces : std::clamp<std::int64_t>(std::min(voxels / 1024, most), 1, 32);
  const Pieces pieces = cut(Pass::backward_weights, g, wanted);
  const Kernel& first = kernel(Pass::backward_weights, pieces.front().unit);
  bool uniform = true;
  for (const Piece& p : pieces) uniform = uniform && first.same_weights(kernel(Pass::backward_weights, p.unit));
  const auto count = static_cast<std::int64_t>(pieces.size());
  const std::int64_t floats = uniform ? first.weight_bytes() / 4 : g.w_size();
  const Scratch<float> parts(count * floats);
  parallel_for(count, [&](std::int64_t i) {
    const Piece& p = pieces[static_cast<std::size_t>(i)];
    const Kernel& k = kernel(Pass::backward_weights, p.unit);
    const Scratch<char> own(uniform ? 0 : k.weight_bytes());
    void* packed = uniform ? static_cast<void*>(parts.data() + i * floats) : own.data();
    k.backward_weights(at(x, p.x, g.dtype), at(dy, p.y, g.dtype), packed);
    if (!uniform) k.unpack(packed, parts.data() + i * floats);
  });
  add_parts(parts.data(), count, floats, parts.data());
  if (uniform) first.unpack(parts.data(), dw);
  else std::copy_n(parts.data(), floats, dw);
}

constexpr std::int64_t stem_channels = 4;  // up to so many input channels oneDNN's own kernel is slower

void weights_f32(const Geometry& g, const void* x, const void* dy, float* dw) {
  const bool plain = g.groups == 1 && g.dtype == DType::f32;
  const auto *fx = static_cast<const float*>(x), *fy = static_cast<const float*>(dy);
  if (plain && is_pointwise(g)) pointwise_weights(g, fx, fy, dw);
  else if (g.groups == 1 && g.in_channels <= stem_channels && Geometry::volume(g.kernel) > 1) stem_weights(g, x, dy, dw);
  else if (plain && Geometry::volume(g.out) <= 64 && Geometry::volume(g.kernel) > 1) tap_weights(g, fx, fy, dw);
  else direct_weights(g, x, dy, dw);
}

void widen(const void* from, std::int64_t count, float* to) {
  const auto* p = static_cast<const bf16*>(from);
  parallel_ranges(count, 1 << 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) to[i] = static_cast<float>(p[i]);
  });
}

}  // namespace

void forward(const Geometry& g, const void* x, const void* w, const void* bias, void* y, Storage* home) {
  Geometry with = g;
  with.bias = bias != nullptr;
  const Pieces pieces = cut(Pass::forward, with, wanted_pieces(g));
  const PackedWeights packed(Pass::forward, pieces, w, home);
  parallel_for(static_cast<std::int64_t>(pieces.size()), [&](std::int64_t i) {
    const Piece& p = pieces[static_cast<std::size_t>(i)];
    kernel(Pass::forward, p.unit).forward(at(x, p.x, g.dtype), packed.find(p.unit), bias, at(y, p.y, g.dtype));
  });
}

void backward_data(const Geometry& g, const void* dy, const void* w, void* dx, Storage* home) {
  const Pieces pieces = cut(Pass::backward_data, g, wanted_pieces(g));
  const PackedWeights packed(Pass::backward_data, pieces, w, home);
  parallel_for(static_cast<std::int64_t>(pieces.size()), [&](std::int64_t i) {
    const Piece& p = pieces[static_cast<std::size_t>(i)];
    if (const void* weights = packed.find(p.unit))
      kernel(Pass::backward_data, p.unit).backward_data(at(dy, p.y, g.dtype), weights, at(dx, p.x, g.dtype));
    else std::memset(at(dx, p.x, g.dtype), 0, static_cast<std::size_t>(p.unit.x_size() * size_of(g.dtype)));
  });
}

/// Where oneDNN's bf16 weight gradients are not to be trusted. 2.6.3: some strides along the width, e.g. x [2,16,5],
/// w [16,16,2], stride 2, pad 1. 3.1.1: kernels longer than the volume, e.g. x [1,16,2,1,1], w [16,16,3,3,3], pad 1.
bool bf16_weights_are_wrong(const Geometry& g) {
  for (std::size_t i = 0; i < 3; ++i)
    if (g.in[i] < g.extent(i)) return true;
  return g.stride[2] > 1;
}

void backward_weights(const Geometry& g, const void* x, const void* dy, void* dw) {
  if (g.dtype == DType::f32) return weights_f32(g, x, dy, static_cast<float*>(dw));
  const Scratch<float> sums(g.w_size());
  if (g.in_channels > stem_channels && bf16_weights_are_wrong(g)) {
    Geometry wide = g;
    wide.dtype = DType::f32;
    const Scratch<float> x32(g.x_size()), y32(g.y_size());
    widen(x, g.x_size(), x32.data());
    widen(dy, g.y_size(), y32.data());
    weights_f32(wide, x32.data(), y32.data(), sums.data());
  } else {
    weights_f32(g, x, dy, sums.data());
  }
  std::transform(sums.data(), sums.data() + g.w_size(), static_cast<bf16*>(dw), [](float v) { return bf16(v); });
}

// ---- the rows --------------------------------------------------------------------------------
namespace {

/// oneDNN refuses windows that lie in the padding altogether.
bool fits(const View& x, const View& w, const View& y, const ConvSpec& spec) {
  if (x.dtype != DType::f32 && x.dtype != DType::bf16) return false;
  if (!x.is(Layout::channels_last) || !y.is(Layout::channels_last) || !w.is(Layout::contiguous)) return false;
  const Geometry g = geometry(x.dtype, x.shape, w.shape, y.shape, spec);
  for (std::size_t a = 0; a < 3; ++a) {
    const std::int64_t hi = (g.out[a] - 1) * g.stride[a] + g.extent(a) - g.in[a] - g.pad_lo[a];
    if (g.pad_lo[a] >= g.extent(a) || hi >= g.extent(a)) return false;
  }
  return true;
}

}  // namespace

bool forward_fits(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec& spec, Storage*) {
  return (!bias.data || bias.is(Layout::contiguous)) && fits(x, w, y, spec);
}
bool input_fits(const View& g, const View& w, const Out& dx, const ConvSpec& spec, Storage*) { return fits(dx, w, g, spec); }
bool weight_fits(const View& g, const View& x, const Out& dw, const ConvSpec& spec) { return fits(x, dw, g, spec); }

void conv_forward(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec& spec, Storage* home) {
  forward(geometry(x.dtype, x.shape, w.shape, y.shape, spec), x.data, w.data, bias.data, y.data, home);
}
void conv_input(const View& g, const View& w, const Out& dx, const ConvSpec& spec, Storage* home) {
  backward_data(geometry(g.dtype, dx.shape, w.shape, g.shape, spec), g.data, w.data, dx.data, home);
}
void conv_weight(const View& g, const View& x, const Out& dw, const ConvSpec& spec) {
  backward_weights(geometry(g.dtype, x.shape, dw.shape, g.shape, spec), x.data, g.data, dw.data);
}

}  // namespace cuboid::onednn
#endif
