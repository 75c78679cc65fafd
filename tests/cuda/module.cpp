// SPDX-License-Identifier: Apache-2.0
// Nets, optimisers and files that do not care where the other side was computed.
#include "layers/module.h"

#include "core/autograd.h"
#include "core/cuda.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/reduce/reduce.h"
#include "layers/linear.h"
#include "optim/accumulate.h"
#include "optim/ema.h"
#include "optim/optimiser.h"
#include "tests/files.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

struct CudaModule : ::testing::Test {
  void SetUp() override {
    if (!cuda::available()) GTEST_SKIP() << "no CUDA device";
  }
};

struct Net : Module {
  Parameter matrix{random({6, 5}, {.seed = 1, .dtype = DType::f32})}, vector{random({7}, {.seed = 2, .dtype = DType::f32})};
  Buffer statistics{full({4}, 3)}, count;
  FIELDS(matrix, vector, statistics, count)
  explicit Net(Device device, bool counts = false) {
    if (counts) count = Buffer(full({1}, 5, {.dtype = DType::i64}));
    to(device);
  }
};

Tensor loss_of(Net& net) { return sum(square(net.matrix)) + sum(square(net.vector) * 3); }

TEST_F(CudaModule, MovesEverythingAndBack) {
  Net net(Device::cpu, true);
  const auto before = net.matrix.to_vector();
  net.vector.requires_grad(false);
  net.to(Device::cuda);
  for (const auto& [name, t] : net.state_dict()) EXPECT_EQ(t.device(), Device::cuda) << name;
  EXPECT_EQ(net.device(), Device::cuda);
  EXPECT_TRUE(net.matrix.requires_grad());
  EXPECT_TRUE(net.matrix.is_leaf());
  EXPECT_FALSE(net.vector.requires_grad());
  EXPECT_EQ(net.count.dtype(), DType::i64);
  const Tensor handle = net.matrix;
  net.to(Device::cuda);
  EXPECT_EQ(net.matrix.id(), handle.id()) << "nothing to move";
  net.to(DType::f64);
  EXPECT_EQ(net.matrix.device(), Device::cuda);
  net.to(DType::f32);
  net.to(Device::cpu);
  EXPECT_EQ(net.matrix.device(), Device::cpu);
  EXPECT_EQ(net.matrix.to_vector(), before);
  EXPECT_EQ(net.count.item(), 5);
}

TEST_F(CudaModule, StateDictsAndFilesCrossDevices) {
  Net there(Device::cuda, true), here(Device::cpu, true);
  fill(there.matrix, 7);
  fill(there.count, 9);
  const TempFolder folder;
  write_safetensors(folder / "net.safetensors", there.state_dict());
  here.load_state_dict(read_safetensors(folder / "net.safetensors"));
  EXPECT_EQ(here.matrix.device(), Device::cpu);
  EXPECT_EQ(here.matrix.to_vector(), there.matrix.to_vector());
  EXPECT_EQ(here.count.item(), 9);
  fill(here.vector, 2);
  for (const bool adopt : {false, true}) {
    Net again(Device::cuda, true);
    again.load_state_dict(here.state_dict(), {.adopt = adopt});
    EXPECT_EQ(again.vector.device(), Device::cuda) << "a tensor elsewhere is copied, never adopted";
    EXPECT_EQ(again.vector.to_vector(), here.vector.to_vector());
  }
}

/// A step of everything that has state.
struct Training {
  Net net;
  Adam adam{net.named_parameters(), {.lr = 0.01}};
  Ema ema{net};
  GradAccumulator accumulator{net.named_parameters(), 2};

  explicit Training(Device device) : net(device) {}
  void advance() {
    if (!accumulator.backward(loss_of(net))) return;
    clip_grad_norm(net.parameters(), 2);
    adam.step();
    adam.zero_grad();
    ema.update();
  }
  void resume(Training& other) {
    net.load_state_dict(other.net.state_dict());
    adam.from_state(other.adam.to_state());
    ema.from_state(other.ema.to_state());
    accumulator.from_state(other.accumulator.to_state());
  }
};

TEST_F(CudaModule, ARunContinuesOnTheOtherDevice) {
  for (const Device first : {Device::cpu, Device::cuda}) {
    const Device second = first == Device::cpu ? Device::cuda : Device::cpu;
    Training whole(first), before(first), after(second);
    for (int i = 0; i < 9; ++i) whole.advance();
    for (int i = 0; i < 5; ++i) before.advance();  // stops with a gradient half gathered
    after.resume(before);
    EXPECT_EQ(after.accumulator.pending(), 1);
    EXPECT_EQ(after.net.matrix.grad().device(), second);
    for (int i = 5; i < 9; ++i) after.advance();
    EXPECT_EQ(after.net.matrix.device(), second);
    EXPECT_TRUE(close(after.net.matrix, whole.net.matrix, {1e-5, 1e-6})) << first;
    EXPECT_TRUE(close(after.net.vector, whole.net.vector, {1e-5, 1e-6})) << first;
    const State a = after.ema.to_state(), b = whole.ema.to_state();
    for (std::size_t i = 0; i < a.tensors.size(); ++i) {
      EXPECT_EQ(a.tensors[i].second.device(), second);
      EXPECT_TRUE(close(a.tensors[i].second, b.tensors[i].second, {1e-5, 1e-6})) << a.tensors[i].first;
    }
  }
}

/// What a captured step reads on the device is what the others get by value.
TEST_F(CudaModule, StagedStepsFollowTheSchedule) {
  const std::function<std::unique_ptr<Optimiser>(Net&)> makers[] = {
      [](Net& n) { return std::make_unique<Sgd>(n.named_parameters(), SgdOptions{.momentum = 0.9, .weight_decay = 0.1}); },
      [](Net& n) { return std::make_unique<Adam>(n.named_parameters(), AdamOptions{.weight_decay = 0.1}); },
      [](Net& n) {
        return std::make_unique<AdamW>(n.named_parameters(), AdamOptions{.weight_decay = 0.1, .decay_vectors = false});
      },
  };
  for (const auto& make : makers) {
    Net plain(Device::cuda), other(Device::cuda);
    const auto a = make(plain), b = make(other);
    for (Net* net : {&plain, &other})
      for (const Tensor& p : net->parameters()) p.grad() = to(random(p.shape(), {.seed = 9, .dtype = DType::f32}), Device::cuda);
    for (int i = 0; i < 5; ++i) {
      for (Optimiser* o : {a.get(), b.get()}) o->set_lr(0.1 / (i + 1));
      if (i != 3) b->stage();
      a->step();
      b->step();
    }
    EXPECT_EQ(b->steps(), 5);
    EXPECT_TRUE(equal(other.matrix, plain.matrix));
    EXPECT_TRUE(equal(other.vector, plain.vector));
  }
  // The same call, other numbers on the device: what a replay does.
  const Tensor p = full({5}, 1, {.device = Device::cuda}), g = full({5}, 1, {.device = Device::cuda});
  const Tensor lr = full({1}, 0.5, {.dtype = DType::f64, .device = Device::cuda});
  for (const double rate : {0.5, 0.25}) {
    fill(lr, rate);
    sgd_update({p}, {g}, {}, {.lr = 100, .staged = lr.view().as<double>()});
  }
  EXPECT_EQ(p.to_vector(), std::vector<double>(5, 0.25));
}

TEST_F(CudaModule, EmaSwapsOnTheDevice) {
  Net net(Device::cuda);
  Ema ema(net, {.decay = 0.5, .warmup = false});
  const auto before = net.vector.to_vector();
  fill(net.vector, 1);
  ema.update();
  {
    const EmaScope scope(ema);
    EXPECT_EQ(net.vector.device(), Device::cuda);
    EXPECT_NEAR(net.vector.to_vector()[0], (before[0] + 1) / 2, 1e-6);
  }
  EXPECT_EQ(net.vector.to_vector(), std::vector<double>(7, 1.0));
}

}  // namespace
