// SPDX-License-Identifier: Apache-2.0
// The four dense blocks of DenseNet121-3D at 64^3, batch 8: the fused op and its composed definition, time and peak memory.
#include "kernels/dense_block/dense_block.h"

#include <benchmark/benchmark.h>

#include <cmath>

#include "core/autograd.h"
#include "kernels/dispatch.h"
#include "kernels/random/random.h"

using namespace cuboid;

namespace {

struct Case {
  std::int64_t channels, side;
  int layers;
};
constexpr Case cases[] = {{64, 16, 6}, {128, 8, 12}, {256, 4, 24}, {512, 2, 16}};
constexpr std::int64_t batch = 8, growth = 32, mid = 128;

struct Block {
  Tensor x;
  std::vector<DenseLayerTensors> layers;
  std::uint64_t stream = 0;

  explicit Block(const Case& c) {
    const Shape shape{batch, c.channels, c.side, c.side, c.side};
    x = empty(shape, {.layout = Layout::channels_last});
    copy(noise(shape, 1), x);
    x.requires_grad(true);
    for (int i = 0; i < c.layers; ++i) {
      const std::int64_t n = c.channels + i * growth;
      layers.push_back({norm(n), weight({mid, n, 1, 1, 1}, n), norm(mid), weight({growth, mid, 3, 3, 3}, 27 * mid)});
    }
  }
  Tensor noise(const Shape& shape, double size) { return uniform(shape, {.seed = 1, .stream = ++stream}, -size, size); }
  Tensor weight(const Shape& shape, std::int64_t fan) {
    return noise(shape, std::sqrt(6. / static_cast<double>(fan))).requires_grad(true);
  }
  DenseNormTensors norm(std::int64_t n) {
    return {full({n}, 1).requires_grad(true), zeros({n}).requires_grad(true), zeros({n}), full({n}, 1)};
  }
};

void run_block(benchmark::State& state, const Case& c, const std::string& row, bool training) {
  const dispatch::Forced forced("dense_block=" + row);
  Block block(c);
  const Recording recording(training);
  const Tensor seed = dense_block(block.x, block.layers).detach();
  release_cached_memory();
  reset_peak_memory();
  const std::int64_t before = memory_stats().live;
  for (auto _ : state) {
    const Tensor y = dense_block(block.x, block.layers, {.training = training});
    if (training) backward(y, {.seed = seed});
    state.PauseTiming();
    block.x.grad() = Tensor();
    for (auto& l : block.layers)
      for (Tensor* t : {&l.norm1.weight, &l.norm1.bias, &l.conv1, &l.norm2.weight, &l.norm2.bias, &l.conv2}) t->grad() = Tensor();
    state.ResumeTiming();
  }
  double multiplications = 0;
  for (const auto& l : block.layers) multiplications += static_cast<double>(l.conv1.size() + l.conv2.size());
  multiplications *= static_cast<double>(batch * c.side * c.side * c.side);
  state.counters["FLOPS"] =
      benchmark::Counter((training ? 6 : 2) * multiplications, benchmark::Counter::kIsIterationInvariantRate);
  state.counters["peak_MiB"] = static_cast<double>(memory_stats().peak - before) / (1 << 20);
}

}  // namespace

int main(int argc, char** argv) {
  for (const Case& c : cases)
    for (const bool training : {true, false})
      for (const char* row : {"fused", "composed"})
        benchmark::RegisterBenchmark(join_text("dense_block_", training ? "train" : "infer", '/', row, "/f32/b", batch, "_c",
                                               c.channels, "_l", c.layers, "_s", c.side)
                                         .c_str(),
                                     [=](benchmark::State& s) { run_block(s, c, row, training); })
            ->Unit(benchmark::kMillisecond)
            ->UseRealTime();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
