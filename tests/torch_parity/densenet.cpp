// SPDX-License-Identifier: Apache-2.0
// The nets and their training: same weights, same batch. Outputs, all gradients, running statistics, and the losses of 50
// steps of SGD; and each optimiser by itself.
#include "layers/loss.h"
#include "optim/optimiser.h"
#include "tests/torch_parity/torch_densenet.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

/// |got - expected| over |expected| for all gradients taken together, and the worst single tensor against the mean size
/// of all: a gradient that is only rounding (of a weight before a norm) has no relative error of its own.
struct Distance {
  double together = 0, worst = 0;
  std::string worst_name;
};

Distance distance(const NamedTensors& names, const Tensors& got, const std::vector<torch::Tensor>& expected) {
  double difference = 0, size = 0;
  std::vector<double> maxima, scales;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const auto a = got[i].to_vector(), b = from_torch(expected[i]).to_vector();
    double worst = 0, scale = 0;
    for (std::size_t k = 0; k < a.size(); ++k) {
      difference += (a[k] - b[k]) * (a[k] - b[k]);
      size += b[k] * b[k];
      worst = std::max(worst, std::abs(a[k] - b[k]));
      scale = std::max(scale, std::abs(b[k]));
    }
    maxima.push_back(worst);
    scales.push_back(scale);
  }
  Distance d{.together = std::sqrt(difference / size)};
  double largest = 0;
  for (const double s : scales) largest = std::max(largest, s);
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double error = maxima[i] / std::max(scales[i], 1e-4 * largest);
    if (error >= d.worst) d.worst = error, d.worst_name = names[i].first;
  }
  return d;
}

struct NetCase {
  const char* name;
  DenseNetOptions options;
  Shape x;
};

DenseNetOptions csf_small() {
  DenseNetOptions o = csf_densenet();
  o.blocks = {3, 4, 4, 3};
  return o;
}

DenseNetOptions torchvision_small() {
  DenseNetOptions o = torchvision_densenet121(10);
  o.blocks = {2, 3, 2};
  return o;
}

TEST(Parity, DenseNet) {
  const NetCase cases[] = {
      {"csf, small", csf_small(), {2, 1, 32, 32, 32}},
      {"MONAI DenseNet121 3D", monai_densenet121(), {2, 1, 48, 48, 48}},
      {"torchvision, small", torchvision_small(), {2, 3, 64, 64}},
  };
  for (const NetCase& c : cases)
    for (const bool training : {true, false}) {
      SCOPED_TRACE(join_text(c.name, training ? ", training" : ", evaluation"));
      DenseNet ours(c.options);
      for (auto& [name, t] : ours.state_dict()) {  // running statistics and affine weights that are not all 0 and 1
        if (name.find("running_") != std::string::npos || name.find("norm") != std::string::npos)
          copy(random(t.shape(), {.seed = std::hash<std::string>{}(name), .lo = 0.5, .hi = 1.5}), t);
      }
      TorchDenseNet theirs(c.options, ours.state_dict());
      ours.train(training);
      theirs.training = training;
      const Tensor x = random(c.x, {.dtype = DType::f32}),
                   g = random({c.x[0], c.options.classes}, {.seed = 2, .dtype = DType::f32});
      const Tensor y = ours(x);
      const torch::Tensor ty = theirs.forward(to_torch(x));
      EXPECT_LE(relative_error(y, ty), 1e-4);

      const NamedTensors named = ours.named_parameters();
      std::vector<torch::Tensor> their_parameters;
      for (const auto& [name, t] : named) their_parameters.push_back(theirs[name]);
      const Distance d =
          distance(named, grad(y, ours.parameters(), {.seed = g}), torch::autograd::grad({ty}, their_parameters, {to_torch(g)}));
      EXPECT_LE(d.together, 1e-4);
      EXPECT_LE(d.worst, 1e-4) << d.worst_name;
      RecordProperty(join_text(c.name, training ? " training" : " evaluation"), join_text(d.together, ", worst ", d.worst));
      std::cout << c.name << (training ? ", training" : ", evaluation") << ": output " << relative_error(y, ty) << ", gradients "
                << d.together << ", worst " << d.worst << " " << d.worst_name << '\n';
      for (const auto& [name, t] : ours.state_dict())
        if (name.find("running_") != std::string::npos) {
          EXPECT_LE(relative_error(t, theirs[name]), 1e-4) << name;
        }
    }
}

TEST(Parity, LossCurveOfFiftySteps) {
  DenseNetOptions o = csf_densenet();
  o.blocks = {2, 3, 2};
  DenseNet ours(o);
  TorchDenseNet theirs(o, ours.state_dict());
  const NamedTensors named = ours.named_parameters();
  std::vector<torch::Tensor> their_parameters;
  for (const auto& [name, t] : named) their_parameters.push_back(theirs[name]);
  const SgdOptions options{.lr = 1e-3, .momentum = 0.9, .weight_decay = 0.1};
  Sgd sgd(named, options);
  torch::optim::SGD torch_sgd(their_parameters,
                              torch::optim::SGDOptions(options.lr).momentum(options.momentum).weight_decay(options.weight_decay));
  double worst = 0, first = 0, last = 0;
  for (int step = 0; step < 50; ++step) {
    const std::uint64_t batch = static_cast<std::uint64_t>(step % 5);
    const Tensor x = random({8, 1, 16, 16, 16}, {.seed = 10 + batch, .dtype = DType::f32});
    std::vector<std::int64_t> labels;
    for (std::uint64_t i = 0; i < 8; ++i) labels.push_back(static_cast<std::int64_t>((i * (batch + 1)) % 2));
    const Tensor y = from_values(labels, {8});

    const Tensor loss = cross_entropy(ours(x), y);
    backward(loss);
    sgd.step();
    sgd.zero_grad();

    const torch::Tensor their_loss = torch::cross_entropy_loss(theirs.forward(to_torch(x)), to_torch(y));
    torch_sgd.zero_grad();
    their_loss.backward();
    torch_sgd.step();

    const double a = loss.item(), b = their_loss.item<double>();
    worst = std::max(worst, std::abs(a - b) / b);
    if (step == 0) first = b;
    last = b;
    ASSERT_LE(std::abs(a - b) / b, 1e-4) << "step " << step << ": " << a << ", LibTorch " << b;
  }
  EXPECT_LT(last, 0.8 * first) << "the nets do learn";
  std::cout << "50 steps: loss " << first << " -> " << last << ", worst relative difference " << worst << '\n';
}

/// Twenty steps on given gradients, in f64.
void follow(Optimiser& ours, torch::optim::Optimizer& theirs, Tensor p, torch::Tensor tp) {
  for (std::uint64_t step = 0; step < 20; ++step) {
    const Tensor g = random(p.shape(), {.seed = 100 + step});
    p.grad() = g;
    tp.mutable_grad() = to_torch(g);
    ours.step();
    theirs.step();
    ASSERT_LE(relative_error(p, tp), 1e-13) << "step " << step;
  }
}

TEST(Parity, Optimisers) {
  const auto run = [](const auto& make_ours, const auto& make_theirs) {
    Tensor p = random({3, 4}).requires_grad(true);
    torch::Tensor tp = to_torch(p).requires_grad_();
    auto ours = make_ours(NamedTensors{{"p", p}});
    auto theirs = make_theirs(std::vector<torch::Tensor>{tp});
    follow(*ours, *theirs, p, tp);
  };
  for (const double decay : {0.0, 0.1})
    for (const bool nesterov : {false, true})
      run(
          [&](const NamedTensors& p) {
            return std::make_unique<Sgd>(p, SgdOptions{.lr = 0.1, .momentum = 0.9, .nesterov = nesterov, .weight_decay = decay});
          },
          [&](std::vector<torch::Tensor> p) {
            return std::make_unique<torch::optim::SGD>(
                p, torch::optim::SGDOptions(0.1).momentum(0.9).nesterov(nesterov).weight_decay(decay));
          });
  run([](const NamedTensors& p) { return std::make_unique<Adam>(p, AdamOptions{.lr = 0.1, .weight_decay = 0.1}); },
      [](std::vector<torch::Tensor> p) {
        return std::make_unique<torch::optim::Adam>(p, torch::optim::AdamOptions(0.1).weight_decay(0.1));
      });
  run([](const NamedTensors& p) { return std::make_unique<AdamW>(p, AdamOptions{.lr = 0.1, .weight_decay = 0.1}); },
      [](std::vector<torch::Tensor> p) {
        return std::make_unique<torch::optim::AdamW>(p, torch::optim::AdamWOptions(0.1).weight_decay(0.1));
      });
}

}  // namespace
