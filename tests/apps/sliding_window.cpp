// SPDX-License-Identifier: Apache-2.0
#include "apps/sliding_window.h"

#include <cstring>

#include "apps/plane_resizer.h"
#include "core/autograd.h"
#include "core/parallel.h"
#include "data/resample.h"
#include "kernels/conv/conv.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/views/views.h"
#include "nets/gcn_unet.h"
#include "tests/test.h"

using namespace cuboid;
using app::slide;
using app::SlidingWindowOptions;

namespace {

Tensor volume(const Shape& shape, std::uint64_t seed = 1) { return test::random(shape, {.seed = seed, .dtype = DType::f32}); }

Tensor on_cpu(const Tensor& x) { return to(x, Device::cpu); }

/// Two 3x3x3 convolutions with tanh: sees 2 voxels far.
struct SmallNet {
  Tensor first, second;
  SmallNet(std::int64_t in, std::int64_t out)
      : first(on_cpu(volume({4, in, 3, 3, 3}, 7))), second(on_cpu(volume({out, 4, 3, 3, 3}, 8))) {}
  Tensor operator()(const Tensor& x) const {
    const ConvSpec same = ConvSpec::make(3, 1, 1);
    return conv(tanh(conv(x, first, same)), second, same);
  }
};

void expect_same_bits(const Tensor& a, const Tensor& b) {
  ASSERT_EQ(a.shape(), b.shape());
  const Tensor x = contiguous(a), y = contiguous(b);
  EXPECT_EQ(std::memcmp(x.data<float>(), y.data<float>(), static_cast<std::size_t>(x.size()) * sizeof(float)), 0);
}

double largest_difference(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.shape(), b.shape());
  const auto x = a.to_vector(), y = b.to_vector();
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) worst = std::max(worst, std::abs(x[i] - y[i]));
  return worst;
}

/// The definition, in f64 and without slabs: each voxel's weighted mean over the windows that lie over it.
std::vector<double> by_definition(const app::PatchNet& net, const Tensor& x, std::int64_t outputs,
                                  const SlidingWindowOptions& options) {
  const app::WindowGrid grid({x.dim(1), x.dim(2), x.dim(3)}, options);
  std::array<std::int64_t, 3> n{}, w{};
  for (int i = 0; i < 3; ++i) n[static_cast<std::size_t>(i)] = x.dim(i + 1), w[static_cast<std::size_t>(i)] = options.window[i];
  std::vector<double> sum(static_cast<std::size_t>(outputs * n[0] * n[1] * n[2]), 0), weight(sum.size(), 0);
  const auto gauss = [&](std::int64_t i, std::int64_t window) {
    const double at = (static_cast<double>(i) - static_cast<double>(window - 1) / 2) / (static_cast<double>(window) / 8);
    return options.gaussian ? std::exp(-at * at / 2) : 1.0;
  };
  for (const auto z0 : grid.axis(0).starts)
    for (const auto y0 : grid.axis(1).starts)
      for (const auto x0 : grid.axis(2).starts) {
        const Tensor patch = slice(slice(slice(x, 1, z0, w[0]), 2, y0, w[1]), 3, x0, w[2]);
        const auto y = net(contiguous(unsqueeze(patch, 0))).to_vector();
        std::size_t at = 0;
        for (std::int64_t k = 0; k < outputs; ++k)
          for (std::int64_t i = 0; i < w[0]; ++i)
            for (std::int64_t j = 0; j < w[1]; ++j)
              for (std::int64_t l = 0; l < w[2]; ++l, ++at) {
                const double g = gauss(i, w[0]) * gauss(j, w[1]) * gauss(l, w[2]);
                const auto to = static_cast<std::size_t>(((k * n[0] + z0 + i) * n[1] + y0 + j) * n[2] + x0 + l);
                sum[to] += g * y[at];
                weight[to] += g;
              }
      }
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] /= weight[i];
  return sum;
}

TEST(SlidingWindow, AxesAreCoveredEvenlyAndTheSharesSumToOne) {
  for (const std::int64_t window : {1, 2, 5, 8, 64})
    for (const std::int64_t size : {1, 2, 7, 8, 9, 63, 64, 65, 127, 200})
      for (const double overlap : {0.0, 0.25, 0.5, 0.75}) {
        const auto axis = app::window_axis(size, window, overlap, true);
        std::vector<double> sum(static_cast<std::size_t>(size), 0);
        for (std::size_t k = 0; k < axis.starts.size(); ++k) {
          if (size >= window) {
            EXPECT_GE(axis.starts[k], 0);
            EXPECT_LE(axis.starts[k] + window, size);
          }
          if (k > 0) {
            EXPECT_GT(axis.starts[k], axis.starts[k - 1]);
            EXPECT_LE(axis.starts[k] - axis.starts[k - 1],
                      std::max<std::int64_t>(1, static_cast<std::int64_t>(static_cast<double>(window) * (1 - overlap))));
          }
          for (std::int64_t v = axis.begin(k); v < axis.end(k); ++v)
            sum[static_cast<std::size_t>(v)] += axis.shares[k][static_cast<std::size_t>(v - axis.starts[k])];
        }
        EXPECT_EQ(axis.begin(0), 0);
        EXPECT_EQ(axis.end(axis.starts.size() - 1), size);
        for (const double s : sum) EXPECT_NEAR(s, 1, 3e-7) << size << " " << window << " " << overlap;
      }
}

TEST(SlidingWindow, IsTheWeightedMeanOfItsDefinition) {
  const Tensor x = on_cpu(volume({2, 9, 13, 17}));
  const SmallNet net(2, 3);
  for (const bool gaussian : {true, false})
    for (const double overlap : {0.0, 0.5, 0.7}) {
      const SlidingWindowOptions options{.window = {4, 6, 8}, .overlap = overlap, .gaussian = gaussian};
      const auto expected = by_definition(net, x, 3, options), got = slide(net, x, 3, options).to_vector();
      ASSERT_EQ(got.size(), expected.size());
      for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], expected[i], 1e-5) << i;
    }
}

TEST(SlidingWindow, OneWindowOverAllIsThePredictionItself) {
  const Tensor x = on_cpu(volume({1, 5, 7, 6}));
  const SmallNet net(1, 2);
  expect_same_bits(slide(net, x, 2, {.window = {5, 7, 6}}), squeeze(net(unsqueeze(x, 0)), 0));
}

TEST(SlidingWindow, AwayFromTheWindowsBordersItIsTheOneShotPrediction) {
  const Tensor x = on_cpu(volume({1, 6, 8, 40}));
  const SmallNet net(1, 1);
  const Tensor whole = squeeze(net(unsqueeze(x, 0)), 0);
  const Tensor parts = slide(net, x, 1, {.window = {6, 8, 16}, .overlap = 0.5});
  const app::WindowAxis axis = app::window_axis(40, 16, 0.5, true);
  for (std::int64_t v = 0; v < 40; ++v) {
    double near = 0;  // the share of windows that end within 2 voxels of v, though the volume goes on
    for (std::size_t k = 0; k < axis.starts.size(); ++k) {
      const std::int64_t i = v - axis.starts[k];
      if (i < 0 || i >= 16) continue;
      if ((i < 2 && axis.starts[k] > 0) || (i >= 14 && axis.starts[k] + 16 < 40))
        near += axis.shares[k][static_cast<std::size_t>(i)];
    }
    const double off = largest_difference(slice(parts, 3, v, 1), slice(whole, 3, v, 1));
    if (near == 0) EXPECT_LT(off, 1e-6) << v;
    else EXPECT_LT(off, 10 * near + 1e-6) << v;
  }
}

TEST(SlidingWindow, AConstantNetGivesAConstant) {
  const app::PatchNet constant = [](const Tensor& x) { return full({x.dim(0), 1, x.dim(2), x.dim(3), x.dim(4)}, 3.25); };
  const Tensor x = on_cpu(volume({1, 11, 23, 31}));
  for (const bool mirror : {false, true})
    for (const double value : slide(constant, x, 1, {.window = {4, 5, 6}, .overlap = 0.6, .mirror = mirror}).to_vector())
      ASSERT_NEAR(value, 3.25, 2e-6);
}

TEST(SlidingWindow, MirroringIsTheMeanOfTheEightFlips) {
  const Tensor x = on_cpu(volume({1, 4, 6, 8}));
  const SmallNet net(1, 1);
  Tensor sum = zeros({1, 1, 4, 6, 8});
  for (int view = 0; view < 8; ++view) {
    Shape axes;
    for (int axis = 0; axis < 3; ++axis)
      if (view >> axis & 1) axes.push_back(axis + 2);
    const Tensor y = view ? flip(net(flip(unsqueeze(x, 0), axes)), axes) : net(unsqueeze(x, 0));
    add_into(sum, contiguous(y));
  }
  expect_same_bits(slide(net, x, 1, {.window = {4, 6, 8}, .mirror = true}), squeeze(sum * 0.125, 0));
  EXPECT_GT(largest_difference(slide(net, x, 1, {.window = {4, 6, 8}}), squeeze(sum * 0.125, 0)), 1e-3);
}

TEST(SlidingWindow, SlabsThreadsAndBatchesDoNotChangeTheResult) {
  const Tensor x = on_cpu(volume({2, 21, 10, 11}));
  const SmallNet net(2, 2);
  SlidingWindowOptions options{.window = {4, 6, 7}, .overlap = 0.5, .mirror = true};
  const Tensor least = slide(net, x, 2, options);
  for (const std::int64_t slab : {5, 8, 13, 21, 1000}) {
    options.slab = slab;
    expect_same_bits(slide(net, x, 2, options), least);
  }
  const int threads = thread_count();
  set_thread_count(1);
  expect_same_bits(slide(net, x, 2, options), least);
  set_thread_count(threads);
  for (const std::int64_t batch : {3, 8, 100}) {  // another batch may take another way through a convolution
    options.batch = batch;
    EXPECT_LT(largest_difference(slide(net, x, 2, options), least), 1e-5);
  }
}

TEST(SlidingWindow, PlanesComeAndGoOnceInOrder) {
  const SlidingWindowOptions options{.window = {4, 4, 4}, .overlap = 0.5};
  const app::PatchNet same = [](const Tensor& x) { return x; };
  std::int64_t read = 0, written = 0, most = 0;
  slide(
      same, {1, 23, 4, 4},
      [&](std::int64_t first, const Tensor& planes) {
        EXPECT_EQ(first, read);
        read += planes.dim(1);
        most = std::max(most, read - written);
        for (std::int64_t z = 0; z < planes.dim(1); ++z) fill(slice(planes, 1, z, 1), static_cast<double>(first + z));
      },
      1,
      [&](std::int64_t first, const Tensor& planes) {
        EXPECT_EQ(first, written);
        written += planes.dim(1);
        for (std::int64_t z = 0; z < planes.dim(1); ++z)
          for (const double v : slice(planes, 1, z, 1).to_vector()) EXPECT_NEAR(v, static_cast<double>(first + z), 1e-5);
      },
      options);
  EXPECT_EQ(read, 23);
  EXPECT_EQ(written, 23);
  EXPECT_LE(most, 4);
}

TEST(SlidingWindow, VolumesSmallerThanTheWindowAreContinuedByTheirMirrorImage) {
  const Tensor x = on_cpu(volume({1, 3, 9, 5}));
  const SmallNet net(1, 1);
  const Tensor got = slide(net, x, 1, {.window = {8, 6, 16}, .overlap = 0.5});
  EXPECT_EQ(got.shape(), x.shape());
  // By hand along x: 5 voxels within 16, 5 before and 6 behind.
  std::vector<std::int64_t> order = {4, 3, 2, 1, 0, 0, 1, 2, 3, 4, 4, 3, 2, 1, 0, 0};
  Tensors columns;
  for (const auto i : order) columns.push_back(slice(x, 3, i, 1));
  Tensor wide = cat(columns, 3);
  Tensors planes;
  for (const std::int64_t i : {1, 0, 0, 1, 2, 2, 1, 0}) planes.push_back(slice(wide, 1, i, 1));
  wide = cat(planes, 1);
  const Tensor expected = slide(net, wide, 1, {.window = {8, 6, 16}, .overlap = 0.5});
  expect_same_bits(got, slice(slice(expected, 1, 2, 3), 3, 5, 5));
}

TEST(SlidingWindow, MemoryIsASlabWhateverTheDepth) {
  const app::PatchNet same = [](const Tensor& x) { return x; };
  const SlidingWindowOptions options{.window = {8, 32, 32}, .overlap = 0.5};
  const Shape shape = {1, 512, 64, 64};
  const app::WindowGrid grid({512, 64, 64}, options);
  reset_peak_memory();
  const std::int64_t before = memory_stats().live;
  slide(
      same, shape, [](std::int64_t, const Tensor& planes) { fill(planes, 1); }, 1, [](std::int64_t, const Tensor&) {}, options);
  const std::int64_t used = memory_stats().peak - before;
  EXPECT_LE(used, grid.bytes(1, 1) + 4096);
  EXPECT_GE(used, grid.bytes(1, 1) * 8 / 10);
  EXPECT_LT(used, 1 << 20);  // the volume has 8 MiB
}

TEST(SlidingWindow, AUnetInPartsAgreesWithItselfAndStops) {
  GcnUnetOptions o;
  o.features = {4, 4, 8, 8, 8};
  o.trans = 4;
  o.auxiliary = 0;
  GcnUnet net(o);
  net.eval();
  const Tensor x = on_cpu(volume({1, 16, 24, 24}));
  const app::PatchNet patch_net = [&](const Tensor& patch) { return net(patch); };
  expect_same_bits(slide(patch_net, x, 1, {.window = {16, 24, 24}}), [&] {
    const Recording off(false);
    return squeeze(net(unsqueeze(x, 0)), 0);
  }());
  int calls = 0;
  SlidingWindowOptions options{.window = {8, 12, 12}, .progress = [&](std::int64_t done, std::int64_t of) {
                                 EXPECT_EQ(of, 27);
                                 if (++calls == 3) fail("stop after ", done);
                               }};
  EXPECT_THROW(slide(patch_net, x, 1, options), Error);
  EXPECT_EQ(calls, 3);
}

TEST(PlaneResizer, PlanesAreThoseOfTheWholeVolumeResampled) {
  const Tensor x = on_cpu(volume({2, 9, 10, 7}));
  for (const Shape& size :
       {Shape{9, 10, 7}, Shape{18, 13, 7}, Shape{4, 10, 20}, Shape{1, 3, 3}, Shape{31, 5, 9}, Shape{2, 10, 7}}) {
    const Tensor whole = resample(x, size, Resampling::linear);
    for (const std::int64_t step : {1, 3, 100}) {
      const Tensor read = empty(whole.shape()), written = empty(whole.shape());
      std::int64_t next = 0, out = 0;
      const auto reader = app::read_resized(
          [&](std::int64_t first, const Tensor& planes) {
            EXPECT_EQ(first, next);
            next += planes.dim(1);
            copy(slice(x, 1, first, planes.dim(1)), planes);
          },
          x.shape(), size);
      for (std::int64_t z = 0; z < size[0]; z += step) reader(z, slice(read, 1, z, std::min(step, size[0] - z)));
      expect_same_bits(read, whole);
      const auto writer = app::write_resized(
          [&](std::int64_t first, const Tensor& planes) {
            EXPECT_EQ(first, out);
            out += planes.dim(1);
            copy(planes, slice(written, 1, first, planes.dim(1)));
          },
          x.shape(), size);
      for (std::int64_t z = 0; z < 9; z += step) writer(z, slice(x, 1, z, std::min<std::int64_t>(step, 9 - z)));
      EXPECT_EQ(out, size[0]);
      expect_same_bits(written, whole);
    }
  }
}

TEST(SlidingWindow, WhatMakesNoSenseIsRefused) {
  const app::PatchNet half = [](const Tensor& x) { return slice(x, 2, 0, 2); };
  const Tensor x = on_cpu(volume({1, 4, 4, 4}));
  EXPECT_THROW(slide(half, x, 1, {.window = {4, 4, 4}}), Error);
  EXPECT_THROW(slide(half, x, 1, {.window = {4, 4}}), Error);
  EXPECT_THROW(slide(half, x, 1, {.window = {4, 4, 0}}), Error);
  EXPECT_THROW(slide(half, x, 1, {.window = {4, 4, 4}, .overlap = 1}), Error);
  EXPECT_THROW(slide(half, x, 1, {.window = {4, 4, 4}, .batch = 0}), Error);
}

}  // namespace
