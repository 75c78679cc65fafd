// SPDX-License-Identifier: Apache-2.0
// The fused dense block against its composed definition in f64, its matrix product and its Winograd maps against plain sums.
#include "kernels/dense_block/dense_block.h"

#include <gtest/gtest.h>

#include "core/autograd.h"
#include "core/parallel.h"
#include "kernels/conv/conv.h"
#include "kernels/conv/panels.h"
#include "kernels/conv/winograd_maps.h"
#include "kernels/dispatch.h"
#include "kernels/norm/norm.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/reduce/reduce.h"
#include "kernels/views/views.h"
#include "tests/test.h"

namespace cuboid::test {
namespace {

struct Case {
  const char* name;
  Shape x;
  std::int64_t growth, mid;
  int layers;
};
// Even and odd sides, planes smaller than a tile, one voxel, several samples per unit of work, several units per sample, tiles of
// 4x4, planes in several bands.
const Case cases[] = {{"cube", {2, 32, 4, 4, 4}, 32, 64, 3},        {"odd", {3, 64, 3, 5, 2}, 32, 32, 2},
                      {"voxel", {3, 32, 1, 1, 1}, 32, 32, 2},       {"tiny", {8, 32, 2, 2, 2}, 32, 64, 3},
                      {"flat", {2, 32, 6, 7}, 32, 64, 2},           {"slabs", {1, 32, 5, 6, 13}, 32, 32, 2},
                      {"wide growth", {2, 32, 2, 4, 4}, 64, 32, 2}, {"large tiles", {1, 32, 2, 13, 14}, 32, 32, 2},
                      {"bands", {1, 32, 12, 60}, 32, 32, 2}};

/// All tensors of a block in a row: x, then ten per layer.
Tensors tensors_of(const Case& c, DType dtype, Lies lies = Lies::channels_last, std::uint64_t seed = 100) {
  const auto make = [&](const Shape& shape, double lo, double hi) {
    const Tensor f32 = random(shape, {.seed = seed++, .dtype = DType::f32, .lo = lo, .hi = hi});
    return dtype == DType::f32 ? f32 : cast(f32, dtype);  // the same numbers for every dtype
  };
  Tensors all{laid(make(c.x, -1, 2), lies)};
  for (int i = 0; i < c.layers; ++i) {
    const std::int64_t channels = c.x[1] + i * c.growth;
    Shape one{c.mid, channels}, three{c.growth, c.mid};
    for (int k = 2; k < c.x.rank(); ++k) {
      one.push_back(1);
      three.push_back(3);
    }
    const auto norm = [&](std::int64_t n) {
      all.insert(all.end(), {make({n}, 0.5, 1.5), make({n}, -0.5, 0.5), make({n}, -0.2, 0.2), make({n}, 0.5, 1.5)});
    };
    norm(channels);
    all.push_back(make(one, -0.2, 0.2));
    norm(c.mid);
    all.push_back(make(three, -0.1, 0.1));
  }
  return all;
}
bool is_running(std::size_t i) { return i > 0 && ((i - 1) % 5 == 2 || (i - 1) % 5 == 3); }

Tensor block(const Tensors& t, const DenseBlockOptions& o) {
  std::vector<DenseLayerTensors> layers;
  for (std::size_t i = 1; i < t.size(); i += 10)
    layers.push_back({{t[i], t[i + 1], t[i + 2], t[i + 3]}, t[i + 4], {t[i + 5], t[i + 6], t[i + 7], t[i + 8]}, t[i + 9]});
  return dense_block(t[0], layers, o);
}

/// The smallest value, in f64, that any activation of the block sees. Where it is within rounding of 0, f32 and f64 may
/// disagree on the slope there, and both are right.
double distance_from_kinks(const Tensors& t, const DenseBlockOptions& o) {
  double smallest = INFINITY;
  Tensor x = t[0];
  const auto activated = [&](const Tensor& in, std::size_t norm) {
    const Tensor mean = o.training ? Tensor() : t[norm + 2], var = o.training ? Tensor() : t[norm + 3];
    const Tensor n = batch_norm(in, t[norm], t[norm + 1], mean, var, {.training = o.training, .eps = o.eps});
    for (const double v : n.to_vector()) smallest = std::min(smallest, std::abs(v));
    return leaky_relu(n, o.slope);
  };
  for (std::size_t i = 1; i < t.size(); i += 10) {
    const Tensor z = conv(activated(x, i), t[i + 4], ConvSpec::make(x.rank() - 2));
    x = cat({x, conv(activated(z, i + 5), t[i + 9], ConvSpec::make(x.rank() - 2, 1, 1))});
  }
  return smallest;
}
/// Numbers with which no activation comes near its kink, whatever the compiler made of the kernels.
std::uint64_t seed_away_from_kinks(const Case& c, const DenseBlockOptions& o) {
  for (std::uint64_t seed = 100;; seed += 1000)
    if (distance_from_kinks(tensors_of(c, DType::f64, Lies::channels_last, seed), o) > 5e-6) return seed;
}

struct Outcome {
  Tensor y;
  Tensors gradients, running;
};
Outcome outcome(const Case& c, DType dtype, const DenseBlockOptions& o, Lies lies = Lies::channels_last,
                std::uint64_t seed = 100) {
  Tensors all = tensors_of(c, dtype, lies, seed), wanted;
  for (std::size_t i = 0; i < all.size(); ++i)
    if (!is_running(i)) wanted.push_back(all[i].requires_grad(true));
  Outcome result;
  const Tensor y = block(all, o);
  result.gradients = grad(y, wanted, {.seed = random(y.shape(), {.seed = 99, .dtype = dtype})});
  result.y = y.detach();
  for (std::size_t i = 0; i < all.size(); ++i)
    if (is_running(i)) result.running.push_back(all[i]);
  return result;
}

/// As a share of the largest number: what is summed over many voxels cancels in places.
::testing::AssertionResult near(const Tensor& got, const Tensor& expected, double share) {
  double largest = 0;
  for (const double v : expected.to_vector()) largest = std::max(largest, std::abs(v));
  return close(got, expected, {.rtol = 0, .atol = share * largest + 1e-12});
}

TEST(DenseBlock, FusedAgreesWithTheDefinitionInF64) {
  for (const Case& c : cases)
    for (const bool training : {true, false})
      for (const double slope : {0., 0.1}) {
        if (training && c.x.count() / c.x[1] < 4) continue;  // three voxels: xhat takes three values, ReLU's kinks dominate
        const DenseBlockOptions o{.training = training, .slope = slope};
        const std::uint64_t seed = seed_away_from_kinks(c, o);
        const Outcome got = outcome(c, DType::f32, o, Lies::channels_last, seed);
        const Outcome expected = outcome(c, DType::f64, o, Lies::channels_last, seed);
        const std::string name = join_text(c.name, training ? " training" : " eval", " slope ", slope, " seed ", seed);
        const bool large_tiles = winograd::Tiling::of_plane(c.x[-2], c.x[-1]).down == 4;  // they cost a digit
        EXPECT_TRUE(near(got.y, expected.y, large_tiles ? 1e-5 : 3e-6)) << name;
        EXPECT_TRUE(got.y.is(Layout::channels_last)) << name;
        for (std::size_t i = 0; i < got.gradients.size(); ++i)
          EXPECT_TRUE(near(got.gradients[i], expected.gradients[i], 3e-5)) << name << ", gradient " << i;
        for (std::size_t i = 0; i < got.running.size(); ++i)
          EXPECT_TRUE(near(got.running[i], expected.running[i], 3e-6)) << name << ", running statistics " << i;
      }
}

TEST(DenseBlock, TheInputMayLieInAnyWay) {
  const Outcome expected = outcome(cases[0], DType::f32, {});
  for (const Lies lies : every_way) {
    const Outcome got = outcome(cases[0], DType::f32, {}, lies);
    EXPECT_TRUE(equal(got.y, expected.y)) << name_of(lies);
    for (std::size_t i = 0; i < got.gradients.size(); ++i)
      EXPECT_TRUE(near(got.gradients[i], expected.gradients[i], 1e-6)) << name_of(lies) << ", gradient " << i;
  }
}

TEST(DenseBlock, BitsDoNotDependOnThreads) {
  const int before = thread_count();
  std::vector<Outcome> outcomes;
  for (const int threads : {1, 3}) {
    set_thread_count(threads);
    outcomes.push_back(outcome(cases[5], DType::f32, {}));
  }
  set_thread_count(before);
  EXPECT_TRUE(equal(outcomes[0].y, outcomes[1].y));
  for (std::size_t i = 0; i < outcomes[0].gradients.size(); ++i)
    EXPECT_TRUE(equal(outcomes[0].gradients[i], outcomes[1].gradients[i])) << "gradient " << i;
  for (std::size_t i = 0; i < outcomes[0].running.size(); ++i) EXPECT_TRUE(equal(outcomes[0].running[i], outcomes[1].running[i]));
}

TEST(DenseBlock, SecondDerivativeIsThatOfTheDefinition) {
  const auto penalty = [](const char* choice) {  // d/dw of |dy/dx|^2, with leaky ReLU so that nothing vanishes
    const dispatch::Forced forced(choice);
    Tensors all = tensors_of(cases[0], DType::f32);
    all[0].requires_grad(true);
    all[5].requires_grad(true);  // conv1 of the first layer
    const Tensor y = block(all, {.slope = 0.1});
    const Tensor gx = grad(y, {all[0]}, {.create_graph = true, .seed = random(y.shape(), {.seed = 5, .dtype = DType::f32})})[0];
    return grad(sum(square(gx)), {all[5]})[0];
  };
  const Tensor fused = penalty(""), composed = penalty("dense_block=composed");
  EXPECT_TRUE(near(fused, composed, 1e-4));
  double largest = 0;
  for (const double v : fused.to_vector()) largest = std::max(largest, std::abs(v));
  EXPECT_GT(largest, 0);
}

TEST(DenseBlock, WithoutRecordingNothingIsKept) {
  const Tensors all = tensors_of(cases[5], DType::f32);
  const std::int64_t before = memory_stats(test_device()).live;
  const Tensor y = block(all, {});
  EXPECT_FALSE(y.requires_grad());
  EXPECT_LE(memory_stats(test_device()).live - before, y.view().bytes() + (1 << 12));
}

TEST(DenseBlock, PredictionsAreThoseOfTheRecordedPassAndOfTheWeightsAsTheyAre) {
  if (test_device() != Device::cpu) GTEST_SKIP() << "groups of samples and copies of weights on the CPU";
  // without a recording the samples pass in two groups, and packed weights are kept
  const Case large{"groups", {9, 32, 64, 64}, 64, 32, 1};
  Tensors all = tensors_of(large, DType::f32);
  const auto both = [&] {
    const Tensor x = all[0].detach().requires_grad(true);
    Tensors recorded = all;
    recorded[0] = x;
    const Tensor expected = block(recorded, {.training = false}).detach();
    EXPECT_TRUE(equal(block(all, {.training = false}), expected));
    return expected;
  };
  const Tensor before = both();
  for (const std::size_t weight : {5u, 10u}) {
    all[weight].mutable_data<float>()[0] += 1;
    EXPECT_FALSE(equal(both(), before)) << weight;
  }
}

TEST(DenseBlock, ShapesThatDoNotFitAreNamed) {
  Tensors all = tensors_of(cases[0], DType::f32);
  all[5] = empty({64, 33, 1, 1, 1});
  EXPECT_NE(error_of([&] { block(all, {}); }).find("conv1 of layer 1 is [64,33,1,1,1], expected [64,32,1,1,1]"),
            std::string::npos);
  EXPECT_NE(error_of([&] { dense_block(all[0], {}); }).find("no layers"), std::string::npos);
}

TEST(DenseBlock, MatrixProduct) {
  struct Sizes {
    std::int64_t m, n, k;
  };
  for (const auto& [m, n, k] : {Sizes{1, 32, 1}, Sizes{7, 64, 5}, Sizes{19, 96, 130}, Sizes{8, 32, 300}})
    for (const bool transposed : {false, true})
      for (const bool add : {false, true}) {
        const auto numbers = [](const Shape& shape, std::uint64_t seed) {
          return to(random(shape, {.seed = seed, .dtype = DType::f32, .lo = -8, .hi = 8, .integers = true}), Device::cpu);
        };
        const Tensor a = numbers({m, k}, 1), b = numbers({k, n}, 2);
        const Tensor c = full({m, n}, 3);
        const Tensor at = empty({k, m});
        for (std::int64_t i = 0; i < m * k; ++i) at.mutable_data<float>()[i % k * m + i / k] = a.data<float>()[i];
        const simd::Rows rows = transposed ? simd::Rows{at.data<float>(), 1, m} : simd::Rows{a.data<float>(), k, 1};
        simd::gemm(m, n, k, rows, {b.data<float>(), 32, n}, c.mutable_data<float>(), n, add);
        for (std::int64_t i = 0; i < m; ++i)
          for (std::int64_t j = 0; j < n; ++j) {
            float expected = add ? 3 : 0;  // whole numbers: exact in any order
            for (std::int64_t q = 0; q < k; ++q) expected += a.data<float>()[i * k + q] * b.data<float>()[q * n + j];
            ASSERT_EQ(c.data<float>()[i * n + j], expected) << m << ' ' << n << ' ' << k << " at " << i << ',' << j;
          }
      }
}

TEST(DenseBlock, TheOutputMapAndItsTranspose) {
  // <map(x), y> = <x, transposed(y)> on planes of even and odd sides.
  constexpr std::int64_t channels = 32;
  for (const winograd::Tiling t :
       {winograd::Tiling{4, 16}, winograd::Tiling{8, 16, 4}, winograd::Tiling{5, 13, 4}, winograd::Tiling{3, 13},
        winograd::Tiling{3, 5}, winograd::Tiling{5, 2}, winograd::Tiling{1, 1}}) {
    const std::int64_t point = winograd::point_stride(t.count(), channels);
    const auto numbers = [](std::int64_t count, std::uint64_t seed) {
      return to(random({count}, {.seed = seed, .dtype = DType::f32, .lo = -4, .hi = 4, .integers = true}), Device::cpu);
    };
    const auto dot = [](const Tensor& a, const Tensor& b) {
      double s = 0;
      for (std::int64_t i = 0; i < a.size(); ++i) s += static_cast<double>(a.data<float>()[i] * b.data<float>()[i]);
      return s;
    };
    const Tensor at_points = numbers(t.points() * point, 2);
    const Tensor plane = numbers(t.h * t.w * channels, 3);
    Tensor image = zeros({t.points() * point}), back = zeros({plane.size()});
    winograd::output_plane_transposed(t, channels, plane.data<float>(), t.w, image.mutable_data<float>(), point);
    winograd::output_plane(t, channels, at_points.data<float>(), point, back.mutable_data<float>(), channels);
    EXPECT_EQ(dot(image, at_points), dot(plane, back)) << t.h << 'x' << t.w;
  }
}

}  // namespace
}  // namespace cuboid::test
