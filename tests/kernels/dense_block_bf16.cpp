// SPDX-License-Identifier: Apache-2.0
// The fused dense block in bf16 against its definition in f64; its matrix product and its maps against plain sums of whole
// numbers.
#include <gtest/gtest.h>

#include "core/autograd.h"
#include "kernels/bf16_simd.h"
#include "kernels/conv/bf16_panels.h"
#include "kernels/conv/bf16_winograd_maps.h"
#include "kernels/dense_block/dense_block.h"
#include "kernels/dispatch.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/views/views.h"
#include "tests/kernels/threads.h"
#include "tests/test.h"

namespace cuboid::test {
namespace {

struct Case {
  const char* name;
  Shape x;
  std::int64_t growth, mid;
  int layers;
};
// Even and odd sides, planes smaller than a tile, one voxel, several samples per unit of work, several units per sample, planes
// of several bands.
const Case cases[] = {{"cube", {2, 32, 4, 4, 4}, 32, 64, 3},         {"odd", {3, 64, 3, 5, 2}, 32, 32, 2},
                      {"tiny", {5, 32, 2, 2, 1}, 32, 64, 3},         {"flat", {2, 32, 6, 7}, 32, 64, 2},
                      {"slabs", {1, 32, 5, 6, 13}, 32, 32, 2},       {"wide growth", {2, 32, 2, 4, 4}, 64, 32, 2},
                      {"bands", {1, 32, 3, 21, 18}, 32, 32, 2},      {"flat bands", {1, 32, 33, 17}, 32, 32, 2},
                      {"long prefix", {1, 320, 2, 6, 4}, 32, 128, 2}};

struct Outcome {
  Tensor y;
  Tensors gradients, running;
};

/// x and the weights of convolutions are numbers of bf16, in `wide` or in bf16; all else in f32 or f64 goes with it.
Outcome outcome(const Case& c, bool wide, const DenseBlockOptions& o, Lies lies = Lies::channels_last) {
  const DType narrow_type = wide ? DType::f64 : DType::bf16, norm_type = wide ? DType::f64 : DType::f32;
  std::uint64_t seed = 100;
  const auto make = [&](const Shape& shape, double lo, double hi, DType type) {
    return cast(cast(random(shape, {.seed = seed++, .dtype = DType::f32, .lo = lo, .hi = hi}), DType::bf16), type);
  };
  Tensors wanted, running;
  const auto norm = [&](std::int64_t n) {
    DenseNormTensors t{make({n}, 0.5, 1.5, norm_type), make({n}, -0.5, 0.5, norm_type), make({n}, -0.2, 0.2, norm_type),
                       make({n}, 0.5, 1.5, norm_type)};
    wanted.insert(wanted.end(), {t.weight.requires_grad(true), t.bias.requires_grad(true)});
    running.insert(running.end(), {t.running_mean, t.running_var});
    return t;
  };
  const auto weight = [&](Shape shape, int kernel, double size) {
    for (int k = 2; k < c.x.rank(); ++k) shape.push_back(kernel);
    wanted.push_back(make(shape, -size, size, narrow_type).requires_grad(true));
    return wanted.back();
  };
  const Tensor x = laid(make(c.x, -1, 2, narrow_type), lies).requires_grad(true);
  wanted.push_back(x);
  std::vector<DenseLayerTensors> layers;
  for (int i = 0; i < c.layers; ++i) {
    const std::int64_t channels = c.x[1] + i * c.growth;
    const DenseNormTensors norm1 = norm(channels), norm2 = norm(c.mid);
    layers.push_back({norm1, weight({c.mid, channels}, 1, 0.2), norm2, weight({c.growth, c.mid}, 3, 0.1)});
  }
  const Tensor y = dense_block(x, layers, o);
  const Tensor seed_gradient = cast(cast(random(y.shape(), {.seed = 99, .dtype = DType::f32}), DType::bf16), narrow_type);
  return {y.detach(), grad(y, wanted, {.seed = seed_gradient}), running};
}

/// Of the vectors, as a share of the expected one.
double distance(const Tensor& got, const Tensor& expected) {
  const auto a = got.to_vector(), b = expected.to_vector();
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    size += b[i] * b[i];
  }
  return std::sqrt(difference / size);
}

TEST(DenseBlock16, FusedIsAsCloseToF64AsItsDefinition) {
  if (test_device() != Device::cpu) GTEST_SKIP() << "the CPU's";
  for (const Case& c : cases)
    for (const bool training : {true, false})
      for (const double slope : {1., 0.1}) {  // 1: without the kink, at which rounding decides where a gradient goes
        SCOPED_TRACE(join_text(c.name, training ? " training" : " eval", " slope ", slope));
        const DenseBlockOptions o{.training = training, .slope = slope};
        const Outcome got = outcome(c, false, o), exact = outcome(c, true, o);
        const dispatch::Forced forced("dense_block=composed");
        const Outcome composed = outcome(c, false, o);
        EXPECT_TRUE(got.y.is(Layout::channels_last));
        const auto check = [&](const Tensor& mine, const Tensor& theirs, const Tensor& expected, double floor) {
          const double factor = slope == 1 ? 2 : 3;  // two roundings of the same few dozen numbers differ by luck alone
          return testing::AssertionResult(distance(mine, expected) <= factor * distance(theirs, expected) + floor)
                 << distance(mine, expected) << ", the definition " << distance(theirs, expected);
        };
        EXPECT_TRUE(check(got.y, composed.y, exact.y, 1e-3));
        for (std::size_t i = 0; i < got.gradients.size(); ++i)
          EXPECT_TRUE(check(got.gradients[i], composed.gradients[i], exact.gradients[i], slope == 1 ? 4e-3 : 1e-2))
              << "gradient " << i;
        for (std::size_t i = 0; i < got.running.size(); ++i)
          EXPECT_TRUE(check(got.running[i], composed.running[i], exact.running[i], 1e-3)) << "running statistics " << i;
      }
}

TEST(DenseBlock16, BitsDependNeitherOnThreadsNorOnTheInputsOrder) {
  if (test_device() != Device::cpu) GTEST_SKIP() << "the CPU's";
  for (const std::size_t i : {0, 4, 6}) {
    const Threads one(1);
    const Outcome expected = outcome(cases[i], false, {});
    for (const Lies lies : {Lies::channels_last, Lies::contiguous, Lies::view}) {
      const Threads scope(3);
      const Outcome got = outcome(cases[i], false, {}, lies);
      EXPECT_TRUE(equal(got.y, expected.y)) << name_of(lies);
      for (std::size_t k = 0; k < got.gradients.size(); ++k)
        EXPECT_TRUE(equal(got.gradients[k], expected.gradients[k])) << name_of(lies) << ", gradient " << k;
      for (std::size_t k = 0; k < got.running.size(); ++k) EXPECT_TRUE(equal(got.running[k], expected.running[k]));
    }
  }
}

#if CUBOID_AVX512_BF16
Tensor whole_numbers(const Shape& shape, std::uint64_t seed, DType dtype) {
  return to(random(shape, {.seed = seed, .dtype = dtype, .lo = -4, .hi = 4, .integers = true}), Device::cpu);
}

TEST(DenseBlock16, MatrixProduct) {
  struct Sizes {
    std::int64_t m, n, k;
  };
  for (const auto& [m, n, k] : {Sizes{1, 32, 2}, Sizes{7, 64, 6}, Sizes{19, 96, 258}, Sizes{8, 32, 600}})
    for (const bool transposed : {false, true})
      for (const bool add : {false, true}) {
        const Tensor a = whole_numbers({m, k}, 1, DType::bf16), b = whole_numbers({k, n}, 2, DType::bf16);
        const Tensor other = empty({k * m}, {.dtype = DType::bf16}), panels = empty({k * n}, {.dtype = DType::bf16});
        for (std::int64_t i = 0; i < m; ++i)
          for (std::int64_t q = 0; q < k; ++q)
            other.mutable_data<bf16>()[q / 2 * 2 * m + 2 * i + q % 2] = a.data<bf16>()[i * k + q];
        if (transposed) {
          const Tensor turned = empty({n, k}, {.dtype = DType::bf16});
          copy(permute(b, {1, 0}), turned);
          bf::pack_panels_transposed(turned.data<bf16>(), n, k, panels.mutable_data<bf16>());
        } else {
          bf::pack_panels(b.data<bf16>(), k, n, panels.mutable_data<bf16>());
        }
        const Tensor c = full({m, n}, 3);
        const bf::Rows rows = transposed ? bf::Rows{other.data<bf16>(), 2, 2 * m} : bf::Rows{a.data<bf16>(), k, 2};
        bf::gemm(m, n, k / 2, rows, {panels.data<bf16>(), 32 * k, 64}, c.mutable_data<float>(), n, add);
        for (std::int64_t i = 0; i < m; ++i)
          for (std::int64_t j = 0; j < n; ++j) {
            float expected = add ? 3 : 0;  // whole numbers: exact in any order
            for (std::int64_t q = 0; q < k; ++q)
              expected += static_cast<float>(a.data<bf16>()[i * k + q]) * static_cast<float>(b.data<bf16>()[q * n + j]);
            ASSERT_EQ(c.data<float>()[i * n + j], expected) << m << ' ' << n << ' ' << k << " at " << i << ',' << j;
          }
      }
}

/// Rows of pairs [points][rows / 2][channels] as [points][row][channels].
std::vector<float> from_pairs(const Tensor& t, std::int64_t rows, std::int64_t channels, std::int64_t point) {
  std::vector<float> all;
  for (std::int64_t p = 0; p < bf::points; ++p)
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t c = 0; c < channels; ++c)
        all.push_back(static_cast<float>(t.data<bf16>()[p * point + r / 2 * 2 * channels + 2 * c + r % 2]));
  return all;
}

TEST(DenseBlock16, MapsAndTheirTransposes) {
  constexpr std::int64_t channels = 32, samples = 3;
  for (const bf::Band& b : {bf::Band{4, 6, 0, 2}, bf::Band{5, 3, 1, 2}, bf::Band{1, 1, 0, 1}}) {
    const std::int64_t rows = samples * b.count(), point = bf::point_stride(rows, channels);
    const Tensor padded = whole_numbers({samples * b.padded_count() * channels}, 1, DType::bf16);
    for (std::int64_t i = 0; i < samples * b.padded_count(); ++i) {  // nothing lies outside of the plane
      const std::int64_t y = i / b.padded_w() % b.padded_h() + 2 * b.first - 1, x = i % b.padded_w() - 1;
      if (y < 0 || y >= b.h || x < 0 || x >= b.w) std::fill_n(padded.mutable_data<bf16>() + i * channels, channels, bf16());
    }
    const Tensor in = empty({bf::points * point}, {.dtype = DType::bf16}), as_pairs = empty_like(in), out = empty_like(in);
    bf::input_points(b, samples, channels, padded.data<bf16>(), in.mutable_data<bf16>(), point);
    bf::input_pairs(b, samples, channels, padded.data<bf16>(), as_pairs.mutable_data<bf16>(), point);
    const auto v = from_pairs(as_pairs, rows, channels, point);
    for (std::int64_t p = 0, i = 0; p < bf::points; ++p)
      for (std::int64_t r = 0; r < rows * channels; ++r, ++i)
        ASSERT_EQ(v[static_cast<std::size_t>(i)], static_cast<float>(in.data<bf16>()[p * point + r])) << p << ' ' << r;
    // <output(m), y> = <m, transposed(y)> per sample, with y inside the padded plane's border and zero beyond the plane.
    bf::output_pairs_transposed(b, samples, channels, padded.data<bf16>(), out.mutable_data<bf16>(), point);
    const auto points = from_pairs(out, rows, channels, point);
    const Tensor m = whole_numbers({bf::points * point}, 2, DType::f32);
    for (std::int64_t n = 0; n < samples; ++n) {
      const Tensor plane = zeros({b.h * b.w * channels}, {.dtype = DType::bf16});
      bf::output_band(b, channels, m.data<float>() + n * b.count() * channels, point, plane.mutable_data<bf16>(), channels);
      double left = 0, right = 0;
      for (std::int64_t y = 2 * b.first; y < std::min(b.h, 2 * (b.first + b.tall)); ++y)
        for (std::int64_t x = 0; x < b.w; ++x)
          for (std::int64_t c = 0; c < channels; ++c) {
            const std::int64_t at = (n * b.padded_h() + y - 2 * b.first + 1) * b.padded_w() + x + 1;
            left += static_cast<double>(static_cast<float>(padded.data<bf16>()[at * channels + c])) *
                    static_cast<double>(static_cast<float>(plane.data<bf16>()[(y * b.w + x) * channels + c]));
          }
      for (std::int64_t p = 0; p < bf::points; ++p)
        for (std::int64_t r = 0; r < b.count() * channels; ++r)
          right += static_cast<double>(points[static_cast<std::size_t>((p * rows + n * b.count()) * channels + r)]) *
                   static_cast<double>(m.data<float>()[p * point + n * b.count() * channels + r]);
      EXPECT_EQ(left, right) << b.h << 'x' << b.w << " sample " << n;
    }
  }
}
#endif

}  // namespace
}  // namespace cuboid::test
