// SPDX-License-Identifier: Apache-2.0
// Two processes that share a batch compute what one does with the whole of it.
#include "optim/parallel.h"

#include "core/safetensors.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/reduce/reduce.h"
#include "kernels/views/views.h"
#include "layers/loss.h"
#include "nets/densenet.h"
#include "optim/accumulate.h"
#include "optim/optimiser.h"
#include "tests/ranks.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

RUN_WORKERS()

namespace {

constexpr std::int64_t steps = 4;

DenseNetOptions tiny() {
  return {.growth = 4, .bn_size = 2, .init_features = 6, .blocks = {2, 1}, .stem_kernel = 3, .stem_pool = false, .seed = 5};
}

/// `samples` cells of step `step`, the same numbers whoever asks.
Tensor cells(std::int64_t step, std::int64_t samples) {
  return random({samples, 1, 8, 8, 8}, {.seed = static_cast<std::uint64_t>(100 + step)});
}
Tensor labels(std::int64_t step, std::int64_t samples) {
  std::vector<std::int64_t> l;
  for (std::int64_t i = 0; i < samples; ++i) l.push_back((step + i * i) % 2);
  return values(l, {samples});
}
/// The last batch is not full.
std::int64_t batch_of(std::int64_t step) { return step == steps - 1 ? 5 : 8; }

struct Part {
  std::int64_t begin, end;
};
Part part_of(std::int64_t batch, int rank, int size) { return {batch * rank / size, batch * (rank + 1) / size}; }

/// Losses, the gradients of each step, and at the end all weights and buffers.
NamedTensors train(const Group& group, std::int64_t accumulate, ParallelOptions options) {
  DenseNet net(tiny());
  net.to(DType::f64);
  net.to(test_device());
  if (!group.first())  // other weights, until rank 0's come
    for (const auto& p : net.parameters()) fill(p, 0.5);
  DataParallel parallel(net, group, options);
  const NamedTensors parameters = net.named_parameters();
  Sgd sgd(parameters, {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.01});
  GradAccumulator accumulator(parameters, accumulate);
  NamedTensors results;
  for (std::int64_t step = 0; step < steps; ++step) {
    const std::int64_t batch = batch_of(step);
    const auto [begin, end] = part_of(batch, group.rank(), group.size());
    std::vector<std::int64_t> samples;
    for (int r = 0; r < group.size(); ++r)
      samples.push_back(part_of(batch, r, group.size()).end - part_of(batch, r, group.size()).begin);
    if (step % 2) parallel.begin(samples);
    else parallel.begin(end - begin);
    const Tensor x = slice(cells(step, batch), 0, begin, end - begin), y = slice(labels(step, batch), 0, begin, end - begin);
    const Tensor loss =
        cross_entropy(net(contiguous(x)), contiguous(y)) * (static_cast<double>(end - begin) / static_cast<double>(batch));
    const Tensor total = full({1}, loss.item(), {.dtype = DType::f64});
    group.all_reduce(total);
    const std::string at = "step" + std::to_string(step) + ".";
    results.emplace_back(at + "loss", total);
    if (!accumulator.backward(loss, [&](const Tensor& l) { parallel.backward(l); })) continue;
    for (const auto& [name, p] : parameters) results.emplace_back(at + name, to(clone(p.grad()), Device::cpu));
    sgd.step();
    sgd.zero_grad();
  }
  for (const auto& [name, t] : net.state_dict()) results.emplace_back("end." + name, to(clone(t), Device::cpu));
  if (group.size() > 1) {
    EXPECT_GT(parallel.buckets(), 3u);
    EXPECT_GE(parallel.sent_early() + 1, parallel.buckets());
  }
  return results;
}

std::int64_t accumulated() {
  const char* text = std::getenv("CUBOID_ACCUMULATE");
  return text ? std::atoi(text) : 1;
}

constexpr ParallelOptions small_buckets{.bucket_bytes = 8000, .first_bucket_bytes = 500};

}  // namespace

WORKER(trains) {
  const Group group(launch_of_environment());
  const NamedTensors results = train(group, accumulated(), small_buckets);
  const std::filesystem::path folder = std::getenv("CUBOID_FOLDER");
  write_safetensors(folder / ("rank" + std::to_string(group.rank())), results, {});
  group.barrier();
}

TEST(Parallel, RanksTogetherEqualOneProcess) {
  const Group alone;
  struct Case {
    int ranks;
    const char* accumulate;
  };
  for (const Case& c : {Case{2, "1"}, Case{2, "2"}, Case{3, "1"}}) {
    Ranks ranks(c.ranks, "trains", {{"CUBOID_ACCUMULATE", c.accumulate}});
    ASSERT_TRUE(ranks.all_well());
    const NamedTensors one = train(alone, std::atoi(c.accumulate), {});
    const NamedTensors first = read_safetensors(ranks.folder() / "rank0");
    ASSERT_EQ(first.size(), one.size());
    const auto find = [](const NamedTensors& all, const std::string& name) {
      for (const auto& [n, t] : all)
        if (n == name) return t;
      ADD_FAILURE() << "no " << name;
      return Tensor();
    };
    // A weight before a norm has almost no gradient; its rounding is that of the largest in the net.
    for (const auto& [name, t] : one)
      EXPECT_TRUE(close(find(first, name), t, {.rtol = 1e-9, .atol = 1e-12})) << name << " on " << c.ranks << " ranks";
    for (int r = 1; r < c.ranks; ++r)
      for (const auto& [name, t] : read_safetensors(ranks.folder() / ("rank" + std::to_string(r))))
        EXPECT_TRUE(equal(t, find(first, name))) << name << " on rank " << r;
  }
}

// Batch norm with what only many values show: any layout, a mean far larger than the spread, all four results.
WORKER(normalises) {
  const Group group(launch_of_environment());
  const auto ranks = std::make_shared<NormRanks>(group);
  const std::vector<std::int64_t> samples{2, 3, 1};
  const std::int64_t begin = group.rank() == 0 ? 0 : group.rank() == 1 ? 2 : 5;
  const std::int64_t mine = samples[static_cast<std::size_t>(group.rank())];
  ranks->set_samples(samples);
  for (const DType dtype : {DType::f64, DType::f32})
    for (const Lies how : every_way) {
      const auto parameter = [&](std::uint64_t seed) { return random({5}, {.seed = seed, .dtype = dtype}); };
      const Tensor all = random({6, 5, 3, 4, 2}, {.dtype = dtype}) + 100, seed = random(all.shape(), {.seed = 2, .dtype = dtype});
      struct Outcome {
        Tensor y, running_mean, running_var;
        Tensors gradients;
      };
      const auto outcome = [&](Tensor x, const Tensor& g, const std::shared_ptr<const NormRanks>& over) {
        x.requires_grad(true);
        Tensor weight = parameter(3), bias = parameter(4);
        weight.requires_grad(true);
        bias.requires_grad(true);
        const Tensor mean = parameter(5), var = parameter(6) + 2;
        const Tensor y = batch_norm(x, weight, bias, mean, var,
                                    {.training = true, .activation = Activation::leaky_relu, .slope = 0.1, .ranks = over});
        return Outcome{y.detach(), mean, var, grad(y, {x, weight, bias}, {.seed = g})};
      };
      const Outcome whole = outcome(laid(all, how), seed, nullptr);
      const Outcome part = outcome(laid(slice(all, 0, begin, mine), how), contiguous(slice(seed, 0, begin, mine)), ranks);
      for (int i : {1, 2}) group.all_reduce(part.gradients[static_cast<std::size_t>(i)]);
      const Tolerance t = dtype == DType::f64 ? Tolerance{1e-10, 1e-10} : Tolerance{1e-3, 1e-4};
      EXPECT_TRUE(close(part.y, slice(whole.y, 0, begin, mine), t));
      EXPECT_TRUE(close(part.running_mean, whole.running_mean, t));
      EXPECT_TRUE(close(part.running_var, whole.running_var, t));
      EXPECT_TRUE(close(part.gradients[0], slice(whole.gradients[0], 0, begin, mine), t));
      for (std::size_t i : {1u, 2u}) EXPECT_TRUE(close(part.gradients[i], whole.gradients[i], t)) << i;
    }
  const Tensor other = random({4, 5, 2});
  const std::string error = error_of([&] { batch_norm(other, {}, {}, {}, {}, {.training = true, .ranks = ranks}); });
  EXPECT_NE(error.find("x has 4 samples, this rank was said to have"), std::string::npos) << error;
}

// The fused dense block over two ranks against the whole batch on one.
WORKER(dense_block) {
  const Group group(launch_of_environment());
  DenseNetOptions o = tiny();  // the fused kernels want multiples of 32 channels
  o.growth = o.init_features = 32;
  o.bn_size = 1;
  o.blocks = {2};
  const Tensor all = cast(cells(0, 5), DType::f32), target = labels(0, 5);
  const auto [begin, end] = part_of(5, group.rank(), group.size());
  DenseNet whole(o), part(o);
  for (DenseNet* net : {&whole, &part}) net->to(test_device());
  const Group alone;
  DataParallel one(whole, alone), parallel(part, group);
  one.backward(cross_entropy(whole(all), target));
  parallel.begin(end - begin);
  const Tensor y = part(contiguous(slice(all, 0, begin, end - begin)));
  parallel.backward(cross_entropy(y, contiguous(slice(target, 0, begin, end - begin))) * (static_cast<double>(end - begin) / 5));
  const NamedTensors a = part.named_parameters(), b = whole.named_parameters();
  double scale = 0;
  for (const auto& [name, p] : b)
    for (const double v : p.grad().to_vector()) scale = std::max(scale, std::abs(v));
  for (std::size_t i = 0; i < a.size(); ++i)
    EXPECT_TRUE(close(a[i].second.grad(), b[i].second.grad(), {.rtol = 2e-4, .atol = 2e-6 * scale})) << a[i].first;
  const NamedTensors c = part.state_dict(), d = whole.state_dict();
  for (std::size_t i = 0; i < c.size(); ++i)
    EXPECT_TRUE(close(c[i].second, d[i].second, {.rtol = 1e-5, .atol = 1e-6})) << c[i].first;
}

TEST(Parallel, TheFusedDenseBlockSeesTheSamplesOfAllRanks) { EXPECT_TRUE(Ranks(2, "dense_block").all_well()); }

TEST(Parallel, BatchNormSeesTheSamplesOfAllRanks) { EXPECT_TRUE(Ranks(3, "normalises").all_well()); }

// Gradients gathered on each rank alone move to rank 0, as a checkpoint wants them.
WORKER(collects) {
  const Group group(launch_of_environment());
  DenseNet net(tiny());
  DataParallel parallel(net, group, {.synchronise_norm = false});
  const Tensors parameters = net.parameters();
  for (std::size_t i = 0; i < parameters.size(); i += 2) parameters[i].grad() = full(parameters[i].shape(), group.rank() + 1);
  parallel.collect();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    ASSERT_EQ(parameters[i].grad().defined(), group.first());
    if (group.first()) {
      EXPECT_TRUE(equal(parameters[i].grad(), full(parameters[i].shape(), i % 2 ? 0 : 3)));
    }
  }
  fill(net.features.norm0.running_mean, group.rank());
  parallel.broadcast_buffers();
  EXPECT_EQ(net.features.norm0.running_mean.to_vector()[0], 0);
}

TEST(Parallel, GradientsMoveToRankZero) { EXPECT_TRUE(Ranks(2, "collects").all_well()); }

TEST(Parallel, SeedsDiffer) {
  EXPECT_EQ(rank_seed(7, 0), 7u);
  EXPECT_NE(rank_seed(7, 1), rank_seed(7, 2));
  EXPECT_NE(rank_seed(7, 1), rank_seed(8, 1));
}

// The hook: called once per leaf, gradients complete, the first before the sweep has come to its end.
TEST(Parallel, LeavesAreCompleteWhenTheyAreAnnounced) {
  Tensor a = random({3}, {.seed = 1}), b = random({3}, {.seed = 2}), unused = random({3}, {.seed = 3});
  for (Tensor* t : {&a, &b, &unused}) t->requires_grad(true);
  const auto loss = [&] { return sum(a * exp(b * a) + a) + sum(b); };
  const Tensors expected = grad(loss(), {a, b});
  a.grad() = full({3}, 1, on_device({.dtype = DType::f64}));
  std::vector<const void*> order;
  backward(loss(), {.on_leaf = [&](const Tensor& leaf) {
             order.push_back(leaf.id());
             const std::size_t which = leaf.id() == a.id() ? 0 : 1;
             EXPECT_TRUE(close(leaf.grad(), which == 0 ? expected[0] + 1 : expected[1], {.rtol = 1e-14}));
           }});
  EXPECT_EQ(order.size(), 2u);
  EXPECT_FALSE(unused.grad().defined());
  b.grad() = Tensor();
  backward(b, {.seed = full({3}, 2, on_device({.dtype = DType::f64})),
               .on_leaf = [&](const Tensor& leaf) { EXPECT_EQ(leaf.id(), b.id()); }});
  EXPECT_TRUE(equal(b.grad(), full({3}, 2, {.dtype = DType::f64})));
}
