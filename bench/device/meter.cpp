// SPDX-License-Identifier: Apache-2.0
#include "bench/device/meter.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "bench/libtorch/statistics.h"
#include "core/autograd.h"
#include "core/cuda.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/update/update.h"

namespace bench {

double Timing::median() const { return side::median(us); }
double Timing::least() const { return *std::min_element(us.begin(), us.end()); }
double Timing::spread() const { return side::quantile(us, 0.75) - side::quantile(us, 0.25); }

Meter::Meter(const MeterOptions& options) : options_(options) {
  if (options.flush_bytes > 0) flushed_ = zeros({options.flush_bytes / 4}, {.device = options.device});
}

std::vector<double> Meter::sample(const Candidate& candidate, int calls) const {
  std::vector<double> us;
#if CUBOID_CUDA
  if (options_.device == Device::cuda) {
    std::vector<std::pair<cuda::Event, cuda::Event>> marks;
    for (int i = 0; i < calls; ++i) marks.emplace_back(cuda::Event(true), cuda::Event(true));
    for (auto& [start, stop] : marks) {
      if (flushed_.defined()) fill(flushed_, 1);
      start.record();
      candidate.run();
      stop.record();
    }
    cuda::synchronize();
    for (const auto& [start, stop] : marks) us.push_back(1e3 * stop.ms_since(start));
    return us;
  }
#endif
  for (int i = 0; i < calls; ++i) {
    if (flushed_.defined()) fill(flushed_, i);
    const auto start = std::chrono::steady_clock::now();
    candidate.run();
    us.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count());
  }
  return us;
}

double difference(const Tensor& a, const Tensor& b) {
  const Recording off(false);
  const auto wide = [](const Tensor& t) { return t.dtype() == DType::f64 ? t : cast(t, DType::f32); };
  const double length = global_norm({wide(b)}).item(), apart = global_norm({wide(a) - wide(b)}).item();
  return std::isfinite(length) && std::isfinite(apart) ? apart / std::max(length, 1e-30)
                                                       : std::numeric_limits<double>::quiet_NaN();
}

std::vector<Timing> Meter::compare(const std::vector<Candidate>& candidates) const {
  struct Running {
    const Candidate* candidate;
    Timing timing;
    double estimate;  // microseconds
  };
  std::vector<Running> all;
  Tensor expected;
  for (const Candidate& c : candidates) {
    Timing timing{.name = c.name};
    try {
      if (expected.defined()) {  // what it does not write shows
        const Tensor poison = empty_like(expected);
        if (is_floating(poison.dtype())) fill(poison, std::nan(""));
      }
      const Tensor result = c.run();
      if (result.defined()) {
        if (expected.defined()) timing.error = difference(result, expected);
        else expected = result.detach();
      }
    } catch (const DeviceError&) {
      throw;
    } catch (const Error&) {
      continue;
    }
    if (!c.timed) continue;
    const double estimate = sample(c, 1).front();
    all.push_back({&c, std::move(timing), estimate});
  }
  expected = Tensor();
  double best = std::numeric_limits<double>::infinity();
  for (const Running& r : all) best = std::min(best, r.estimate);
  for (Running& r : all)
    if (r.estimate > 20 * best && r.estimate > 1e3 * options_.round_ms) {
      r.timing.once = true;
      r.timing.us = {r.estimate};
    }
  for (int round = 0; round < options_.rounds; ++round)
    for (std::size_t k = 0; k < all.size(); ++k) {
      Running& r = all[round % 2 ? all.size() - 1 - k : k];
      if (r.timing.once) continue;
      const int calls = std::clamp(static_cast<int>(1e3 * options_.round_ms / std::max(1., r.estimate)), 1, 20);
      const std::vector<double> us = sample(*r.candidate, calls);
      r.timing.us.insert(r.timing.us.end(), us.begin(), us.end());
    }
  std::vector<Timing> timings;
  for (Running& r : all) timings.push_back(std::move(r.timing));
  return timings;
}

}  // namespace bench
