// SPDX-License-Identifier: Apache-2.0
// Convolution and batch norm, one kernel at a time, each implementation by name: conv3d_fwd/onednn/f32/b8_c128_k32_s16_f3.
#include <benchmark/benchmark.h>

#include "core/autograd.h"
#include "kernels/conv/conv.h"
#include "kernels/dispatch.h"
#include "kernels/norm/norm.h"
#include "kernels/random/random.h"
#include "kernels/views/views.h"

using namespace cuboid;

namespace {

struct ConvCase {
  std::int64_t batch, channels, filters, side, kernel, stride;
  std::string name() const {
    return join_text("b", batch, "_c", channels, "_k", filters, "_s", side, "_f", kernel, stride > 1 ? "_st2" : "");
  }
};
constexpr ConvCase conv_cases[] = {{8, 128, 32, 16, 3, 1}, {8, 128, 32, 8, 3, 1}, {8, 256, 128, 16, 1, 1},
                                   {8, 512, 128, 4, 1, 1}, {8, 1, 64, 64, 7, 2},  {2, 32, 32, 64, 3, 1}};

Tensor noise(const Shape& shape, DType dtype, std::uint64_t stream) {
  const Tensor x = empty(shape, {.dtype = dtype, .layout = shape.rank() == 5 ? Layout::channels_last : Layout::contiguous});
  copy(uniform(shape, {.seed = 1, .stream = stream}, -1, 1), x);
  return x;
}

enum class Part { forward, input, weight };

void convolution(benchmark::State& state, const ConvCase& c, DType dtype, Part part, const std::string& row) {
  const Recording off(false);
  const dispatch::Forced forced("conv=" + row + ",conv_input=" + row + ",conv_weight=" + row);
  const ConvSpec spec = ConvSpec::make(3, c.stride, c.kernel / 2);
  const Tensor x = noise({c.batch, c.channels, c.side, c.side, c.side}, dtype, 1);
  const Tensor w = contiguous(noise({c.filters, c.channels, c.kernel, c.kernel, c.kernel}, dtype, 2));
  const Tensor y = conv(x, w, spec);
  for (auto _ : state) {
    if (part == Part::forward) benchmark::DoNotOptimize(conv(x, w, spec));
    else if (part == Part::input) benchmark::DoNotOptimize(conv_input(y, w, spec, x.shape()));
    else benchmark::DoNotOptimize(conv_weight(y, x, spec, w.shape()));
  }
  const double taps = static_cast<double>(c.channels * c.kernel * c.kernel * c.kernel);  // those on padding are counted too
  state.counters["FLOPS"] =
      benchmark::Counter(2 * taps * static_cast<double>(y.size()), benchmark::Counter::kIsIterationInvariantRate);
  state.counters["bytes"] = static_cast<double>(x.view().bytes() + w.view().bytes() + y.view().bytes());
}

void batch_norm_step(benchmark::State& state, const Shape& shape, bool with_backward) {
  const std::int64_t channels = shape[1];
  Tensor x = noise(shape, DType::f32, 1), weight = full({channels}, 1), bias = zeros({channels});
  const Tensor mean = zeros({channels}), var = full({channels}, 1);
  if (with_backward)
    for (Tensor* t : {&x, &weight, &bias}) t->requires_grad(true);
  const Tensor seed = noise(shape, DType::f32, 2);
  for (auto _ : state) {
    const Tensor y = batch_norm(x, weight, bias, mean, var, {.training = true, .activation = Activation::relu});
    if (with_backward) benchmark::DoNotOptimize(grad(y, {x, weight, bias}, {.seed = seed}));
  }
  // Forward reads x twice and writes y; backward reads g and x twice and writes dx.
  state.SetBytesProcessed(state.iterations() * x.view().bytes() * (with_backward ? 8 : 3));
}

}  // namespace

int main(int argc, char** argv) {
  for (const ConvCase& c : conv_cases)
    for (const DType dtype : {DType::f32, DType::bf16})
      for (const auto& [part, name] :
           {std::pair{Part::forward, "fwd"}, {Part::input, "bwd_data"}, {Part::weight, "bwd_weight"}}) {
        if (part == Part::input && c.channels == 1) continue;  // nobody needs the gradient of the image
#if CUBOID_ONEDNN
        const std::string row = "onednn";
#else
        const std::string row = "reference";
#endif
        benchmark::RegisterBenchmark(join_text("conv3d_", name, '/', row, '/', dtype, '/', c.name()).c_str(),
                                     [=, part = part](benchmark::State& s) { convolution(s, c, dtype, part, row); })
            ->Unit(benchmark::kMillisecond)
            ->UseRealTime();
      }
  for (const Shape& shape : {Shape{8, 64, 32, 32, 32}, Shape{8, 256, 16, 16, 16}, Shape{8, 1024, 4, 4, 4}})
    for (const bool backward : {false, true})
      benchmark::RegisterBenchmark(
          join_text("batch_norm_relu_", backward ? "train" : "fwd", "/rows/f32/b", shape[0], "_c", shape[1], "_s", shape[2])
              .c_str(),
          [=](benchmark::State& s) { batch_norm_step(s, shape, backward); })
          ->Unit(benchmark::kMillisecond)
          ->UseRealTime();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
