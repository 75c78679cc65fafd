// SPDX-License-Identifier: Apache-2.0
// Whole nets: inference and a training step (forward, loss, backward, SGD) at 64^3, several batch sizes.
#include "nets/densenet.h"

#include <benchmark/benchmark.h>

#include "core/autograd.h"
#include "kernels/random/random.h"
#include "layers/loss.h"
#include "optim/optimiser.h"

using namespace cuboid;

namespace {

void run_net(benchmark::State& state, const std::string& name, std::int64_t batch, bool training) {
  DenseNet net(densenet_options(name));
  net.train(training);
  Sgd optimiser(net.named_parameters(), {.lr = 1e-3, .momentum = 0.9});
  const Tensor x = uniform({batch, 1, 64, 64, 64}, {.seed = 7}, 0, 1), labels = zeros({batch}, {.dtype = DType::i64});
  const Recording recording(training);
  reset_peak_memory();
  for (auto _ : state) {
    const Tensor logits = net(x);
    if (!training) continue;
    backward(cross_entropy(logits, labels));
    optimiser.step();
    optimiser.zero_grad();
  }
  state.counters["peak_MiB"] = static_cast<double>(memory_stats().peak) / (1 << 20);
  state.counters["volumes/s"] = benchmark::Counter(static_cast<double>(batch), benchmark::Counter::kIsIterationInvariantRate);
}

}  // namespace

int main(int argc, char** argv) {
  for (const char* name : {"densenet121_3d", "csf"})
    for (const bool training : {false, true})
      for (const std::int64_t batch : {1, 2, 8})
        benchmark::RegisterBenchmark(join_text(name, training ? "_train" : "_infer", "/f32/b", batch, "_s64").c_str(),
                                     [=](benchmark::State& s) { run_net(s, name, batch, training); })
            ->Unit(benchmark::kMillisecond)
            ->UseRealTime();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
