// SPDX-License-Identifier: Apache-2.0
#include "apps/deepis/predict_memory.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <numeric>

#include "apps/options.h"
#include "apps/progress.h"
#include "apps/text.h"
#include "core/autograd.h"
#include "kernels/views/views.h"

namespace cuboid::deepis {
namespace {

void call(const Model& model, const PredictOptions& options, const Shape& window) {
  const Recording off(false);
  model.net->eval();
  const Tensor y =
      patch_net(model, options.bf16)(zeros({options.window.batch, model.card.net.in_channels, window[0], window[1], window[2]}));
  static_cast<void>(contiguous(to(y, Device::cpu)));
}

/// What one call of the net needs, from a call on half the window along each axis.
std::int64_t guessed(const Model& model, const PredictOptions& options, const Shape& window) {
  Shape half = window;
  for (int i = 0; i < 3; ++i) half[i] = std::max<std::int64_t>(1, window[i] / 2);
  call(model, options, half);  // packs the weights
  const std::int64_t before = memory_stats().live;
  reset_peak_memory();
  call(model, options, half);
  return (memory_stats().peak - before) * window.count() / half.count();
}

}  // namespace

MemoryLimit::MemoryLimit(std::int64_t bytes) {
  if (bytes == 0) return;
  const std::int64_t others = std::max<std::int64_t>(0, app::resident_bytes() - memory_stats().live);
  set_memory_limit(std::max<std::int64_t>(1, bytes - others));
}

std::int64_t bytes_of(const std::string& text, const std::string& option) {
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  std::string unit(end);
  unit.erase(0, std::min(unit.find_first_not_of(' '), unit.size()));
  double factor = 0;
  const std::string letters = "KMGT";
  if (unit.empty() || unit == "B") factor = 1;
  else if (const auto at = letters.find(static_cast<char>(std::toupper(static_cast<unsigned char>(unit[0]))));
           at != letters.npos) {
    const std::string rest = unit.substr(1);
    if (rest.empty() || rest == "B" || rest == "iB") factor = std::pow(1024, static_cast<double>(at) + 1);
  }
  check<app::UsageError>(end != text.c_str() && factor > 0 && number > 0 && std::isfinite(number) && number * factor < 1e18, "--",
                         option, ": '", text, "' is no amount of memory; write 2G or 800M");
  return static_cast<std::int64_t>(number * factor);
}

NetCost try_net(const Model& model, const PredictOptions& options, const std::vector<std::int64_t>& beside, std::int64_t limit) {
  const Shape window = window_of(model.card, options);
  const bool on_cpu = model.net->device() == Device::cpu;
  NetCost cost;
  std::int64_t with_net = 0;
  if (!on_cpu) reset_peak_memory(Device::cuda);
  try {
    const MemoryLimit guard(limit);
    call(model, options, window);
    release_cached_memory();
    Tensors others;
    for (const std::int64_t bytes : beside)
      if (bytes > 0) others.push_back(zeros({bytes}, {.dtype = DType::u8}));
    const app::Stopwatch watch;
    call(model, options, window);
    cost.seconds = watch.seconds() / static_cast<double>(options.window.batch);
    with_net = app::resident_bytes();
  } catch (const OutOfMemory&) {
    if (limit == 0) throw;
  }
  release_cached_memory();
  if (with_net == 0) cost.net = guessed(model, options, window);
  release_cached_memory();
  cost.program = app::resident_bytes();
  cost.room = memory_stats().reserved - memory_stats().live;
  if (with_net > 0) cost.net = std::accumulate(beside.begin(), beside.end(), with_net - cost.program, std::minus<>());
  if (!on_cpu) cost.device = memory_stats(Device::cuda).peak;
  return cost;
}

std::int64_t MemoryEstimate::peak() const {
  return cost.program +
         std::max({std::int64_t{0}, cost.net + windows + input + output, checking - cost.room, finishing - cost.room});
}

void MemoryEstimate::widen(const MemoryEstimate& other) {
  const std::int64_t now = windows + input + output, then = other.windows + other.input + other.output;
  if (then > now) windows = other.windows, input = other.input, output = other.output;
  checking = std::max(checking, other.checking);
  finishing = std::max(finishing, other.finishing);
}

std::string MemoryEstimate::text() const {
  const auto amount = [](std::int64_t bytes) { return app::bytes_text(static_cast<double>(bytes)); };
  std::string text = amount(peak()) + ": program " + amount(cost.program);
  if (cost.net + windows + input + output + cost.room >= std::max(checking, finishing))
    text += ", net " + amount(std::max<std::int64_t>(0, cost.net)) + ", windows " + amount(windows) + ", input " + amount(input) +
            ", output " + amount(output);
  else if (finishing >= checking) text += ", post-processing " + amount(finishing);
  else text += ", checking the input " + amount(checking);
  if (cost.device > 0) text += "; on the GPU " + amount(cost.device);
  return text;
}

Json MemoryEstimate::to_json() const {
  return Json::object({{"peak", peak()},
                       {"program", cost.program},
                       {"room", cost.room},
                       {"net", cost.net},
                       {"windows", windows},
                       {"input", input},
                       {"output", output},
                       {"checking", checking},
                       {"finishing", finishing},
                       {"device", cost.device}});
}

}  // namespace cuboid::deepis
