// SPDX-License-Identifier: Apache-2.0
// Times calls on a device. On CUDA with events around each call, several calls queued at once so that the host stays ahead, and
// with `flush_bytes` written before each so that nothing is found in the L2 cache; on the CPU with the host's clock.
// Candidates for the same work take turns, A B C, then C B A, so that what changes with time changes for all of them.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace bench {

using namespace cuboid;

/// One way of doing the work. What it returns is compared with the others' results; nothing, when undefined.
struct Candidate {
  std::string name;
  std::function<Tensor()> run;
  bool timed = true;  // false: only there to be compared with
};

struct Timing {
  std::string name;
  std::vector<double> us = {};       // of each call
  bool once = false;                 // far slower than the best: one call is all it got
  std::optional<double> error = {};  // against the first candidate's result

  double median() const;
  double least() const;
  double spread() const;  // between the quartiles
};

struct MeterOptions {
  Device device = Device::cpu;
  int rounds = 5;
  double round_ms = 4;  // of each candidate
  std::int64_t flush_bytes = 0;
};

class Meter {
 public:
  explicit Meter(const MeterOptions& options);
  const MeterOptions& options() const { return options_; }

  /// In the order of the candidates. One that does not fit (throws Error) is left out.
  std::vector<Timing> compare(const std::vector<Candidate>& candidates) const;

 private:
  std::vector<double> sample(const Candidate& candidate, int calls) const;  // microseconds of each
  MeterOptions options_;
  Tensor flushed_;
};

/// |a - b| / |b|, by squares; NaN when anything is not finite.
double difference(const Tensor& a, const Tensor& b);

}  // namespace bench
