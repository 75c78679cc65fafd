// SPDX-License-Identifier: Apache-2.0
// The ResNet-GCN U-Net with LibTorch's weights: outputs, all gradients, running statistics, at both feature scales.
#include "core/parallel.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/reduce/reduce.h"
#include "kernels/resize/resize.h"
#include "tests/kernels/threads.h"
#include "tests/torch_parity/torch_gcn_unet.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

struct Results {
  Tensors outputs;  // main, aux3, aux4
  std::vector<torch::Tensor> their_outputs;
  Gradients gradients, their_gradients;
};

/// The same weights, volume, and gradients of the three outputs.
Results both(GcnUnet& ours, TorchGcnUnet& theirs, const Shape& shape, DType dtype) {
  Results r;
  const Tensor x = random(shape, {.dtype = dtype});
  const GcnUnetOutput y = ours.forward(x);
  const TorchGcnUnet::Output ty = theirs.forward(to_torch(x));
  r.outputs = {y.main, y.aux3, y.aux4};
  r.their_outputs = {ty.main, ty.aux3, ty.aux4};
  Tensor total;
  torch::Tensor their_total;
  for (std::size_t i = 0; i < 3; ++i) {
    const Tensor g = random(r.outputs[i].shape(), {.seed = 10 + i, .dtype = dtype});
    const Tensor part = sum(r.outputs[i] * g);
    const torch::Tensor their_part = (r.their_outputs[i] * to_torch(g)).sum();
    total = total.defined() ? total + part : part;
    their_total = their_total.defined() ? their_total + their_part : their_part;
  }
  std::vector<torch::Tensor> their_parameters;
  for (const auto& [name, t] : ours.named_parameters()) their_parameters.push_back(theirs[name]);
  r.gradients = gradients(grad(total, ours.parameters()));
  r.their_gradients = gradients(torch::autograd::grad({their_total}, their_parameters));
  return r;
}

/// As in densenet.cpp: norms shifted so that next to no activation lies at the kink of its ReLU, where rounding decides.
void shift_norms(GcnUnet& net) {
  std::uint64_t seed = 1;
  for (auto& [name, t] : net.state_dict()) {
    const bool of_norm = name.ends_with(".1.weight") || name.ends_with(".1.bias") || name.find("running_") != std::string::npos;
    if (!of_norm) continue;
    copy(random(t.shape(), {.seed = ++seed, .lo = 0.5, .hi = 1.5}), t);
    if (!name.ends_with(".bias")) continue;
    float* bias = Tensor(t).mutable_data<float>();
    for (std::int64_t c = 0; c < t.size(); ++c) bias[c] = c % 2 ? -4.f : 4.f;
  }
}

void compare(GcnUnetOptions o, const Shape& shape, double gradients_within) {
  SCOPED_TRACE(join_text(o.features[0], " features, ", shape));
  o.dropout = 0;
  GcnUnet ours(o);
  shift_norms(ours);
  TorchGcnUnet theirs(o, ours.state_dict());
  const Results r = both(ours, theirs, shape, DType::f32);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_LE(relative_error(r.outputs[i], r.their_outputs[i]), 1e-4) << i;
  EXPECT_LE(distance(r.gradients, r.their_gradients), gradients_within);
  for (const auto& [name, t] : ours.state_dict())
    if (name.find("running_") != std::string::npos) {
      EXPECT_LE(relative_error(t, theirs[name]), 1e-4) << name;
    }
  const std::vector<double> apart = differences(r.gradients, r.their_gradients);
  double largest = 0, worst = 0;
  for (const auto& g : r.their_gradients) largest = std::max(largest, norm(g));
  const NamedTensors named = ours.named_parameters();
  for (std::size_t i = 0; i < named.size(); ++i) {
    const double error = apart[i] / std::max(norm(r.their_gradients[i]), 1e-2 * largest);
    worst = std::max(worst, error);
    EXPECT_LE(error, gradients_within) << named[i].first;
  }
  std::cout << o.features[0] << " features " << shape << ": output " << relative_error(r.outputs[0], r.their_outputs[0])
            << ", all gradients " << distance(r.gradients, r.their_gradients) << ", worst of " << named.size() << " tensors "
            << worst << '\n';
}

TEST(Parity, GcnUnetScale1) { compare(deepis_unet(1), {1, 1, 33, 32, 18}, 1e-4); }
TEST(Parity, GcnUnetScale2) { compare(deepis_unet(2), {2, 1, 32, 32, 16}, 1e-4); }

/// In f64 nothing hides behind rounding: neither the kinks nor the merged linear layers.
TEST(Parity, GcnUnetInDouble) {
  GcnUnetOptions o;
  o.features = {4, 8, 12, 16, 20};
  o.trans = 8;
  o.in_channels = 2;
  o.out_channels = 3;
  o.dropout = 0;
  GcnUnet ours(o);
  ours.to(DType::f64);
  TorchGcnUnet theirs(o, ours.state_dict(), torch::kFloat64);
  const Results r = both(ours, theirs, {2, 2, 19, 16, 9}, DType::f64);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_LE(relative_error(r.outputs[i], r.their_outputs[i]), 1e-12) << i;
  EXPECT_LE(distance(r.gradients, r.their_gradients), 1e-11);
}

/// The sizes of the way up, and odd ones; the gradient has the same bits for any number of threads.
TEST(Parity, TrilinearWithAlignedCorners) {
  const std::vector<std::pair<Shape, Shape>> cases{{{1, 8, 8, 8, 4}, {16, 16, 8}},
                                                   {{2, 3, 5, 4, 3}, {9, 8, 5}},
                                                   {{1, 16, 16, 16, 8}, {32, 32, 16}},
                                                   {{1, 2, 1, 2, 1}, {3, 4, 1}}};
  for (const auto& [x, size] : cases) {
    const std::vector<std::int64_t> sizes(size.begin(), size.end());
    expect_parity(
        "trilinear",
        [&](const Tensors& in) {
          return resize(in[0], size, {Resize::linear, true});
        },
        [&](const std::vector<torch::Tensor>& in) { return torch::upsample_trilinear3d(in[0], sizes, true); }, {x});
    Shape y = x;
    for (int d = 0; d < 3; ++d) y[2 + d] = size[d];
    const Tensor g = laid(random(y, {.dtype = DType::f32}), Lies::channels_last);
    Tensor first;
    for (const int threads : {1, 2, 3}) {
      const Threads scope(threads);
      const Tensor dx = resize_backward(g, x, {Resize::linear, true});
      if (first.defined()) {
        EXPECT_TRUE(equal(dx, first)) << threads << " threads";
      }
      first = dx;
    }
  }
}

}  // namespace
