// SPDX-License-Identifier: Apache-2.0
#include "bench/device/convolutions.h"

#include <algorithm>

#include "core/autograd.h"
#include "kernels/conv/tables.h"
#include "kernels/random/random.h"
#include "nets/densenet.h"

namespace bench {
namespace {

std::string sides(const Shape& s) {
  const bool cube = s[2] == s[3] && s[3] == s[4];
  return cube ? join_text(s[2]) : join_text(s[2], 'x', s[3], 'x', s[4]);
}

/// Collects layers; a shape met before is counted there.
class Net {
 public:
  Net(std::string name, std::vector<ConvCase>& all) : name_(std::move(name)), all_(all) {}

  /// Returns the output's shape.
  Shape conv(const Shape& x, std::int64_t filters, const Shape& kernel, std::int64_t stride = 1) {
    ConvCase c{x, {filters, x[1], kernel[0], kernel[1], kernel[2]}, ConvSpec::make(3, stride)};
    for (int i = 0; i < 3; ++i) c.spec.pad_lo[i] = c.spec.pad_hi[i] = kernel[i] / 2;
    const auto same = [&](const ConvCase& o) { return o.x == c.x && o.w == c.w && o.spec == c.spec; };
    auto found = std::find_if(all_.begin(), all_.end(), same);
    if (found == all_.end()) found = all_.insert(all_.end(), c);
    ++found->layers[name_];
    return c.y();
  }
  Shape cube(const Shape& x, std::int64_t filters, std::int64_t kernel, std::int64_t stride = 1) {
    return conv(x, filters, {kernel, kernel, kernel}, stride);
  }

 private:
  std::string name_;
  std::vector<ConvCase>& all_;
};

Shape halved(Shape x) {
  for (int i = 2; i < 5; ++i) x[i] = std::max<std::int64_t>(1, x[i] / 2);
  return x;
}

void densenet(const std::string& name, bool tiny, std::vector<ConvCase>& all) {
  DenseNetOptions o = densenet_options(name);
  Shape x{8, o.in_channels, 64, 64, 64};
  if (tiny) {
    x = {1, 1, 16, 16, 16};
    o.blocks = {1, 1};
    o.init_features = o.growth = 8;
  }
  Net net(name, all);
  x = net.cube(x, o.init_features, o.stem_kernel, 2);
  if (o.stem_pool) x = halved(x);
  for (std::size_t b = 0; b < o.blocks.size(); ++b) {
    for (int i = 0; i < o.blocks[b]; ++i, x[1] += o.growth) net.cube(net.cube(x, o.bn_size * o.growth, 1), o.growth, 3);
    if (b + 1 < o.blocks.size()) x = halved(net.cube(x, x[1] / 2, 1));
  }
}

// The net of the DeepIS programs: a residual encoder, large kernels as sums of two chains of three lines each, a decoder that
// adds.
void gcn_unet(bool tiny, std::vector<ConvCase>& all) {
  Net net("gcn_unet", all);
  const std::int64_t width = tiny ? 8 : 64;
  Shape x = tiny ? Shape{1, 1, 16, 8, 8} : Shape{2, 1, 128, 128, 64};
  x = net.cube(net.cube(x, width, 3), width, 3);
  std::vector<Shape> skips{x};
  for (int level = 0; level < (tiny ? 1 : 4); ++level) {
    const std::int64_t mid = width / 2 << level, out = 4 * mid;
    net.cube(x, out, 1, 2);  // the shortcut
    Shape y = net.cube(net.cube(net.cube(x, mid, 1), mid, 3, 2), out, 1);
    x = net.cube(net.cube(net.cube(y, mid, 1), mid, 3), out, 1);
    skips.push_back(x);
  }
  for (std::size_t level = 0; level < skips.size(); ++level) {
    const std::int64_t k = level == 4 ? 3 : 7;
    const Shape lines[] = {{k, 1, 1}, {1, 1, k}, {1, k, 1}};
    Shape y = skips[level];
    if (level == 0) {
      y = net.cube(y, width, 1);
    } else {
      net.conv(net.conv(net.conv(y, width, lines[0]), width, lines[1]), width, lines[2]);
      y = net.conv(net.conv(net.conv(y, width, lines[2]), width, lines[1]), width, lines[0]);
    }
    if (level < 4) net.cube(net.cube(net.cube(y, width, 1), width, 3), width, 3);
    if (level == 0) net.cube(y, 1, 1);
    if (level == 2 || level == 3) net.cube(net.cube(y, width / 2, 3), 3, 1);  // the auxiliary heads
  }
}

Tensor noise(const Shape& shape, DType dtype, Device device, std::uint64_t stream, bool channels_last) {
  const Tensor x = empty(shape, {dtype, device, channels_last ? Layout::channels_last : Layout::contiguous});
  copy(uniform(shape, {.seed = 1, .stream = stream}, -1, 1, {.device = device}), x);
  return x;
}

template <class Fn, class F>
std::vector<Candidate> rows_of(const char* op, std::span<const Impl<Fn>> rows, Device device, bool with_reference, bool check,
                               const F& call) {
  std::vector<Candidate> all;
  const auto add = [&](const char* name, bool timed) {
    const std::string force = join_text(op, "=", name);
    all.push_back({name,
                   [=] {
                     const dispatch::Forced forced(force);
                     return call();
                   },
                   timed});
  };
  if (check || with_reference) add("reference", with_reference);
  for (const auto& row : rows)
    if (row.device == device && std::string(row.name) != "reference") add(row.name, true);
  return all;
}

}  // namespace

std::string ConvCase::name() const {
  const bool cube = w[2] == w[3] && w[3] == w[4];
  return join_text("b", x[0], "_c", x[1], "_k", w[0], "_s", sides(x), "_f",
                   cube ? join_text(w[2]) : join_text(w[2], 'x', w[3], 'x', w[4]),
                   spec.stride[0] > 1 ? join_text("_st", spec.stride[0]) : "");
}

Cost ConvCase::cost(DType dtype) const {
  const Shape out = y();
  double taps = static_cast<double>(x[0] * x[1] / spec.groups * w[0]);
  for (int i = 0; i < 3; ++i) {
    std::int64_t along = 0;
    for (std::int64_t o = 0; o < out[2 + i]; ++o)
      for (std::int64_t k = 0; k < w[2 + i]; ++k) {
        const std::int64_t at = o * spec.stride[i] + k * spec.dilation[i] - spec.pad_lo[i];
        along += at >= 0 && at < x[2 + i];
      }
    taps *= static_cast<double>(along);
  }
  return {2 * taps, static_cast<double>((x.count() + w.count() + out.count()) * size_of(dtype))};
}

std::vector<ConvCase> convolutions(const std::vector<std::string>& nets, bool tiny) {
  std::vector<ConvCase> all;
  for (const std::string& name : nets) name == "gcn_unet" ? gcn_unet(tiny, all) : densenet(name, tiny, all);
  return all;
}

const char* name_of(Pass pass) {
  constexpr const char* names[] = {"conv3d_fwd", "conv3d_bwd_data", "conv3d_bwd_weight"};
  return names[static_cast<int>(pass)];
}

std::vector<Candidate> candidates(const ConvCase& c, Pass pass, DType dtype, Device device, bool with_reference, bool check) {
  const ConvSpec spec = c.spec;
  const Tensor x = noise(c.x, dtype, device, 1, true), g = noise(c.y(), dtype, device, 2, true);
  Tensor w = noise(c.w, dtype, device, 3, false);
  switch (pass) {
    case Pass::forward:
      w.requires_grad(true);  // as in training: packed copies of weights that change are not kept
      return rows_of("conv", conv_rows(), device, with_reference, check, [=] { return conv(x, w, spec).detach(); });
    case Pass::input:
      return rows_of("conv_input", conv_input_rows(), device, with_reference, check,
                     [=, shape = c.x] { return conv_input(g, w, spec, shape); });
    default:
      return rows_of("conv_weight", conv_weight_rows(), device, with_reference, check,
                     [=, shape = c.w] { return conv_weight(g, x, spec, shape); });
  }
}

}  // namespace bench
