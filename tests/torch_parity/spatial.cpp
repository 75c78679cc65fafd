// SPDX-License-Identifier: Apache-2.0
// Convolutions, norms, pools and resampling in one, two and three dimensions.
#include "kernels/conv/conv.h"
#include "kernels/norm/norm.h"
#include "kernels/pool/pool.h"
#include "kernels/random/random.h"
#include "kernels/resize/resize.h"
#include "tests/torch_parity/parity.h"

using namespace cuboid;
using namespace cuboid::test;
namespace F = torch::nn::functional;

namespace {

using Sizes = std::vector<std::int64_t>;
Sizes sizes_of(const Shape& s) { return Sizes(s.begin(), s.end()); }

/// N,C and sizes of 5 to 9 in space.
Shape any_volume(test::Random& r, int rank, std::int64_t channels) {
  Shape shape{r.integer(1, 3), channels};
  for (int i = 0; i < rank; ++i) shape.push_back(r.integer(5, 9));
  return shape;
}

struct Problem {
  Shape x, w;
  ConvSpec spec;
  Sizes pads;  // as torch's pad wants them: last dimension first, low then high

  torch::Tensor torch_conv(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias = {}) const {
    const torch::Tensor padded = torch::constant_pad_nd(input, pads);
    const Sizes zero(static_cast<std::size_t>(spec.rank()), 0);
    return torch::convolution(padded, weight, bias.defined() ? c10::optional<torch::Tensor>(bias) : c10::nullopt,
                              sizes_of(spec.stride), zero, sizes_of(spec.dilation), false, zero, spec.groups);
  }
};

/// A random convolution: stride, dilation, asymmetric padding, groups up to depthwise.
Problem any_problem(test::Random& r, int rank) {
  const std::int64_t groups = r.integer(0, 1) ? 1 : r.integer(2, 4), per_group = r.integer(1, 3);
  const std::int64_t in = groups * (r.integer(0, 1) ? 1 : per_group), out = groups * r.integer(1, 4);
  Problem p{.x = any_volume(r, rank, in), .w = {out, in / groups}, .spec = ConvSpec::make(rank, 1, 0, 1, groups)};
  for (int i = 0; i < rank; ++i) {
    p.w.push_back(r.integer(1, 3));
    p.spec.stride[i] = r.integer(1, 2);
    p.spec.dilation[i] = r.integer(1, 2);
    p.spec.pad_lo[i] = r.integer(0, 2);
    p.spec.pad_hi[i] = r.integer(0, 2);
  }
  for (int i = rank - 1; i >= 0; --i) p.pads.insert(p.pads.end(), {p.spec.pad_lo[i], p.spec.pad_hi[i]});
  return p;
}

TEST(Parity, Conv) {
  for (int rank = 1; rank <= 3; ++rank)
    repeat(10, [&](test::Random& r) {
      const Problem p = any_problem(r, rank);
      expect_parity(
          "conv", [&](auto& x) { return conv(x[0], x[1], x[2], p.spec); },
          [&](auto& x) { return p.torch_conv(x[0], x[1], x[2]); }, {p.x, p.w, {p.w[0]}});
    });
}

/// conv_input and conv_weight are torch's gradients of conv; their own gradients are its second derivatives.
TEST(Parity, ConvInputAndConvWeight) {
  for (int rank = 1; rank <= 3; ++rank)
    repeat(5, [&](test::Random& r) {
      const Problem p = any_problem(r, rank);
      const Shape y = p.spec.output_shape(p.x, p.w);
      expect_parity(
          "conv_input", [&](auto& v) { return conv_input(v[0], v[1], p.spec, p.x); },
          [&](auto& v) {
            const auto x = torch::zeros(sizes_of(p.x), v[0].options().requires_grad(true));
            return torch::autograd::grad({p.torch_conv(x, v[1])}, {x}, {v[0]}, true, true)[0];
          },
          {y, p.w});
      expect_parity(
          "conv_weight", [&](auto& v) { return conv_weight(v[0], v[1], p.spec, p.w); },
          [&](auto& v) {
            const auto w = torch::zeros(sizes_of(p.w), v[0].options().requires_grad(true));
            return torch::autograd::grad({p.torch_conv(v[1], w)}, {w}, {v[0]}, true, true)[0];
          },
          {y, p.x});
    });
}

TEST(Parity, ConvTranspose) {
  for (int rank = 1; rank <= 3; ++rank)
    repeat(6, [&](test::Random& r) {
      const std::int64_t groups = r.integer(1, 2), in = groups * r.integer(1, 3), out = r.integer(1, 3);
      const std::int64_t stride = r.integer(1, 3), pad = r.integer(0, 1), dilation = r.integer(1, 2), kernel = r.integer(2, 3);
      const std::int64_t extra = stride > 1 ? r.integer(0, 1) : 0;
      const ConvSpec spec = ConvSpec::make(rank, stride, pad, dilation, groups);
      Shape w{in, out};
      for (int i = 0; i < rank; ++i) w.push_back(kernel);
      const auto all = [&](std::int64_t v) { return Sizes(static_cast<std::size_t>(rank), v); };
      expect_parity(
          "conv_transpose", [&](auto& v) { return conv_transpose(v[0], v[1], spec, Shape::filled(rank, extra)); },
          [&](auto& v) {
            return torch::convolution(v[0], v[1], c10::nullopt, all(stride), all(pad), all(dilation), true, all(extra), groups);
          },
          {any_volume(r, rank, in), w});
    });
}

TEST(Parity, BatchNorm) {
  for (int rank = 0; rank <= 3; ++rank)
    repeat(4, [&](test::Random& r) {
      const std::int64_t channels = r.integer(1, 9);
      Shape x = any_volume(r, rank, channels);
      x[0] = rank == 0 ? 7 : x[0];
      const bool training = r.integer(0, 2) > 0;
      const Tensor mean = random({channels}, {.seed = 5}), var = random({channels}, {.seed = 6, .lo = 0.5, .hi = 2});
      Tensor our_mean, our_var;
      torch::Tensor their_mean, their_var;
      expect_parity(
          "batch_norm",
          [&](auto& v) {
            our_mean = empty({channels}, {v[0].dtype()});
            our_var = empty({channels}, {v[0].dtype()});
            copy(mean, our_mean);
            copy(var, our_var);
            return batch_norm(v[0], v[1], v[2], our_mean, our_var, {.training = training, .momentum = 0.2, .eps = 1e-3});
          },
          [&](auto& v) {
            their_mean = to_torch(mean).to(v[0].scalar_type());
            their_var = to_torch(var).to(v[0].scalar_type());
            auto y = torch::batch_norm(v[0], v[1], v[2], their_mean, their_var, training, 0.2, 1e-3, false);
            EXPECT_LE(relative_error(our_mean, their_mean), 1e-5);
            EXPECT_LE(relative_error(our_var, their_var), 1e-5);
            return y;
          },
          {x, {channels}, {channels}}, {.f32 = 1e-4, .f64 = 1e-11});
    });
}

TEST(Parity, InstanceNorm) {
  for (int rank = 1; rank <= 3; ++rank)
    repeat(3, [&](test::Random& r) {
      const std::int64_t channels = r.integer(1, 9);
      // With two voxels that are nearly alike a smaller epsilon would leave f32 no digits.
      expect_parity(
          "instance_norm", [](auto& v) { return instance_norm(v[0], v[1], v[2], 1e-2); },
          [](auto& v) { return torch::instance_norm(v[0], v[1], v[2], {}, {}, true, 0.1, 1e-2, false); },
          {any_volume(r, rank, channels), {channels}, {channels}}, {.f32 = 1e-4, .f64 = 1e-11});
    });
}

TEST(Parity, Pools) {
  for (int rank = 1; rank <= 3; ++rank)
    repeat(8, [&](test::Random& r) {
      const Shape x = any_volume(r, rank, r.integer(1, 5));
      const std::int64_t size = r.integer(1, 3), stride = r.integer(1, 3), pad = r.integer(0, size / 2);
      PoolSpec spec = PoolSpec::make(rank, size, stride, pad);
      spec.ceil = r.integer(0, 1);
      spec.count_include_pad = r.integer(0, 1);
      const auto all = [&](std::int64_t v) { return Sizes(static_cast<std::size_t>(rank), v); };
      expect_parity(
          "avg_pool", [&](auto& v) { return avg_pool(v[0], spec); },
          [&](auto& v) {
            if (rank == 1) return torch::avg_pool1d(v[0], all(size), all(stride), all(pad), spec.ceil, spec.count_include_pad);
            if (rank == 2) return torch::avg_pool2d(v[0], all(size), all(stride), all(pad), spec.ceil, spec.count_include_pad);
            return torch::avg_pool3d(v[0], all(size), all(stride), all(pad), spec.ceil, spec.count_include_pad);
          },
          {x});
      expect_parity(
          "max_pool", [&](auto& v) { return max_pool(v[0], spec); },
          [&](auto& v) {
            if (rank == 1) return torch::max_pool1d(v[0], all(size), all(stride), all(pad), all(1), spec.ceil);
            if (rank == 2) return torch::max_pool2d(v[0], all(size), all(stride), all(pad), all(1), spec.ceil);
            return torch::max_pool3d(v[0], all(size), all(stride), all(pad), all(1), spec.ceil);
          },
          {x});
      expect_parity(
          "global_avg_pool", [](auto& v) { return global_avg_pool(v[0]); }, [](auto& v) { return v[0].flatten(2).mean(2); }, {x});
    });
}

TEST(Parity, Resize) {
  for (int rank = 1; rank <= 3; ++rank)
    repeat(5, [&](test::Random& r) {
      const Shape x = any_volume(r, rank, r.integer(1, 4));
      Shape size;
      for (int i = 0; i < rank; ++i) size.push_back(r.integer(1, 14));
      expect_parity(
          "nearest", [&](auto& v) { return resize(v[0], size, {.mode = Resize::nearest}); },
          [&](auto& v) { return F::interpolate(v[0], F::InterpolateFuncOptions().size(sizes_of(size)).mode(torch::kNearest)); },
          {x});
      for (const bool align : {false, true})
        expect_parity(
            align ? "linear aligned" : "linear",
            [&](auto& v) { return resize(v[0], size, {.mode = Resize::linear, .align_corners = align}); },
            [&](auto& v) {
              auto o = F::InterpolateFuncOptions().size(sizes_of(size)).align_corners(align);
              if (rank == 1) o.mode(torch::kLinear);
              else if (rank == 2) o.mode(torch::kBilinear);
              else o.mode(torch::kTrilinear);
              return F::interpolate(v[0], o);
            },
            {x}, {.f32 = 2e-5});
    });
}

/// The masks differ, of course: ours is handed over.
TEST(Parity, Dropout) {
  const RandomKey key{.seed = 3};
  repeat(3, [&](test::Random& r) {
    const Shape x = any_volume(r, 3, r.integer(1, 5));
    expect_parity(
        "dropout", [&](auto& v) { return dropout(v[0], 0.3, key); },
        [&](auto& v) {
          const Tensor kept = dropout(full(x, 1), 0.3, key);
          return v[0] * to_torch(kept).gt(0) / 0.7;
        },
        {x});
  });
}

}  // namespace
