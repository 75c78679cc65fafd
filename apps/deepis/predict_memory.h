// SPDX-License-Identifier: Apache-2.0
// How much memory a prediction will take, said before it begins.
#pragma once
#include <string>
#include <vector>

#include "apps/deepis/predict.h"
#include "core/json.h"

namespace cuboid::deepis {

/// "2G", "1.5 GiB", "800M", "500000000": bytes (powers of 1024). UsageError for anything else.
std::int64_t bytes_of(const std::string& text, const std::string& option);

/// While it lives, the allocator throws rather than let the program grow beyond `bytes`; 0: no limit.
class MemoryLimit {
 public:
  explicit MemoryLimit(std::int64_t bytes);
  MemoryLimit(const MemoryLimit&) = delete;
  MemoryLimit& operator=(const MemoryLimit&) = delete;
  ~MemoryLimit() { set_memory_limit(0); }
};

/// Resident memory, in bytes: of the program at rest, with the weights as the kernels pack them; how much of that the allocator
/// holds for others; and what a call of the net adds (less than nothing where that room was enough for all).
struct NetCost {
  std::int64_t program = 0, room = 0, net = 0;
  std::int64_t device = 0;  // on the GPU, if that is where the net is
  double seconds = 0;       // per window
};
/// Calls the net on empty windows: once, after which weights are packed, and again beside tensors of the sizes `beside`, as it
/// will be in earnest. With a limit on the whole program that is too small for that, the need is guessed from a smaller window.
NetCost try_net(const Model& model, const PredictOptions& options, const std::vector<std::int64_t>& beside = {},
                std::int64_t limit = 0);

/// The most that is resident at once in each part of the work, beside program and net.
struct MemoryEstimate {
  NetCost cost;
  std::int64_t windows = 0, input = 0, output = 0;  // while the windows go over the volume
  std::int64_t checking = 0, finishing = 0;         // before, and after: the net's memory is given back then

  std::int64_t peak() const;
  /// For several volumes, one after the other.
  void widen(const MemoryEstimate& other);
  /// "1.4 GiB: program 60 MiB, net 1.1 GiB, ..."
  std::string text() const;
  Json to_json() const;
};

}  // namespace cuboid::deepis
