// SPDX-License-Identifier: Apache-2.0
// One kernel at a time, each row of each table by name, on the shapes of the papers' nets:
// conv3d_fwd/onednn/f32/b8_c128_k32_s16_f3. Counters: FLOPS (per second, taps on padding left out), bytes (per second, every
// operand once), roofline (share of what the measured roofs of this machine would allow). --reference: the slow reference rows
// too.
#include <benchmark/benchmark.h>

#include <chrono>
#include <map>
#include <set>

#include "bench/device/convolutions.h"
#include "bench/device/ops.h"
#include "bench/elements.h"
#include "core/parallel.h"
#include "core/roofs.h"
#include "kernels/conv/tables.h"

using namespace bench;

namespace {

/// The machine's roofs; of bf16, twice the multiply-adds where the processor has them.
struct Limits {
  double flops = 0, bytes = 0;
  double floor(const Cost& cost, DType dtype) const {
    return std::max(cost.flops / (dtype == DType::bf16 ? 2 * flops : flops), cost.bytes / bytes);
  }
};

/// The candidates of the case at hand: its data is made once for all its rows, and is gone when the next case comes.
class Desk {
 public:
  const Candidate* find(const OpCase& c, const std::string& key, const std::string& row) {
    if (key != key_) {
      made_.clear();
      made_ = c.make();
      key_ = key;
    }
    for (const Candidate& one : made_)
      if (one.name == row) return &one;
    return nullptr;
  }

 private:
  std::string key_;
  std::vector<Candidate> made_;
};

void time_row(benchmark::State& state, Desk& desk, const OpCase& c, const std::string& key, const std::string& row,
              const Limits& limits) try {
  const Candidate* candidate = desk.find(c, key, row);
  if (!candidate) return state.SkipWithError("no such row");
  candidate->run();  // packs weights, makes primitives; throws where the row does not fit
  const auto start = std::chrono::steady_clock::now();
  for (auto _ : state) benchmark::DoNotOptimize(candidate->run());
  const std::chrono::duration<double> all = std::chrono::steady_clock::now() - start;
  const auto rate = benchmark::Counter::kIsIterationInvariantRate;
  if (c.cost.flops > 0) state.counters["FLOPS"] = benchmark::Counter(c.cost.flops, rate);
  state.counters["bytes"] = benchmark::Counter(c.cost.bytes, rate);
  state.counters["roofline"] = limits.floor(c.cost, c.dtype) * static_cast<double>(state.iterations()) / all.count();
} catch (const std::exception& e) {
  state.SkipWithError(e.what());
}

/// The rows of a pass that take this shape on the CPU, the reference only when asked for.
std::vector<std::string> fitting(const ConvCase& c, Pass pass, DType dtype, bool with_reference) {
  const TensorOptions activation{.dtype = dtype, .layout = Layout::channels_last};
  const Tensor x = empty(c.x, activation), y = empty(c.y(), activation), w = empty(c.w, {.dtype = dtype});
  std::vector<std::string> names;
  const auto take = [&](const auto& rows, const auto&... arguments) {
    for (const auto& row : rows)
      if (row.device == Device::cpu && (with_reference || std::string(row.name) != "reference") && row.fits(arguments...))
        names.emplace_back(row.name);
  };
  if (pass == Pass::forward) take(conv_rows(), x.view(), w.view(), View(), y.mutate(), c.spec, nullptr);
  else if (pass == Pass::input) take(conv_input_rows(), y.view(), w.view(), x.mutate(), c.spec, nullptr);
  else take(conv_weight_rows(), y.view(), x.view(), w.mutate(), c.spec);
  return names;
}

std::vector<OpCase> other_cases(bool tiny, DType dtype, bool with_reference) {
  const OpOptions o{.tiny = tiny, .with_reference = with_reference, .check = false};
  std::vector<OpCase> all;
  for (const auto& list : {norms(dtype, o), pools(dtype, o), resizes(dtype, o), dense_blocks(dtype, o), elements(dtype, o)})
    all.insert(all.end(), list.begin(), list.end());
  if (dtype == DType::f32)
    for (const OpCase& c : optimisers(o)) all.push_back(c);
  return all;
}

/// False for a row of another device, or one that does not fit.
bool runs(const Candidate& candidate) try {
  candidate.run();
  return true;
} catch (const Error&) {
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  bool with_reference = false;
  std::vector<char*> rest;
  std::string short_turns = "--benchmark_min_time=0.1";  // there are many; what is said on the command line comes later and wins
  for (int i = 0; i < argc; ++i)
    if (std::string(argv[i]) == "--reference") with_reference = true;
    else rest.push_back(argv[i]);
  rest.insert(rest.begin() + 1, short_turns.data());
  int count = static_cast<int>(rest.size());
  benchmark::Initialize(&count, rest.data());
  if (benchmark::ReportUnrecognizedArguments(count, rest.data())) return 2;

  const cuboid::Roofs roofs = cuboid::measure_roofs();
  const Limits limits{roofs.flops.best, roofs.bytes.best};
  benchmark::AddCustomContext("f32_GFLOP_per_s", std::to_string(limits.flops * 1e-9));
  benchmark::AddCustomContext("stream_GB_per_s", std::to_string(limits.bytes * 1e-9));
  benchmark::AddCustomContext("threads", std::to_string(thread_count()));

  Desk desk;
  const auto add = [&](const OpCase& c, const std::string& row) {
    const std::string key = join_text(c.op, '/', c.dtype, '/', c.shape);
    auto* registered =
        benchmark::RegisterBenchmark(join_text(c.op, '/', row, '/', c.dtype, '/', c.shape).c_str(),
                                     [=, &desk](benchmark::State& state) { time_row(state, desk, c, key, row, limits); });
    registered->Unit(benchmark::kMillisecond)->UseRealTime();
    if (row == "reference") registered->Iterations(1);
  };
  std::vector<ConvCase> convs = convolutions({"densenet121_3d", "csf", "gcn_unet"}, false);
  for (const ConvCase& c : flat_convolutions()) convs.push_back(c);
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const ConvCase& c : convs)
      for (const Pass pass : every_pass) {
        if (pass == Pass::input && c.x[1] <= 3) continue;  // nobody needs the gradient of the image
        const std::string shape = c.name() + (c.spec.groups > 1 ? "_g" + std::to_string(c.spec.groups) : "");
        for (const std::string& row : fitting(c, pass, dtype, with_reference))
          add({name_of(pass), shape, dtype, c.cost(dtype),
               [=] { return candidates(c, pass, dtype, Device::cpu, with_reference, false); }},
              row);
      }
    std::map<std::string, std::set<std::string>> rows;  // by op: those that run on small cases of the same kinds
    for (const OpCase& c : other_cases(true, dtype, with_reference))
      for (const Candidate& one : c.make())
        if (one.timed && runs(one)) rows[c.op].insert(one.name);
    for (const OpCase& c : other_cases(false, dtype, with_reference))
      for (const std::string& row : rows[c.op]) add(c, row);
  }
  benchmark::RunSpecifiedBenchmarks();
}
