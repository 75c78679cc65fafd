// SPDX-License-Identifier: Apache-2.0
#include "apps/bench/gate.h"

#include <cmath>
#include <map>

#include "core/safetensors.h"

namespace cuboid::bench {

Agreement agreement(const std::string& side, const std::filesystem::path& ours, const std::filesystem::path& judge) {
  std::map<std::string, Tensor> expected;
  for (auto& [name, tensor] : read_safetensors(judge)) expected.emplace(name, tensor);
  Agreement result{side};
  double squares = 0, length = 0;
  for (const auto& [name, tensor] : read_safetensors(ours)) {
    const auto found = expected.find(name);
    check<DataError>(found != expected.end() && found->second.shape() == tensor.shape(), "bench: the other side has no ", name,
                     ' ', tensor.shape());
    const std::vector<double> a = tensor.to_vector(), b = found->second.to_vector();
    double difference = 0, largest = 0, own_squares = 0, own_length = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      check<DataError>(std::isfinite(a[i]) && std::isfinite(b[i]), "bench: ", name, " is not finite");
      difference = std::max(difference, std::abs(a[i] - b[i]));
      largest = std::max(largest, std::abs(b[i]));
      own_squares += (a[i] - b[i]) * (a[i] - b[i]);
      own_length += b[i] * b[i];
    }
    expected.erase(found);
    if (name == "outputs") {
      result.outputs = difference / std::max(largest, 1e-30);
    } else {
      squares += own_squares;
      length += own_length;
    }
  }
  check<DataError>(expected.empty(), "bench: only the other side has ", expected.empty() ? "" : expected.begin()->first);
  if (length > 0) result.gradient = std::sqrt(squares / length);
  return result;
}

Allowed allowed(const std::string& dtype) { return dtype == "bf16" ? Allowed{5e-2, 1e-1} : Allowed{1e-4, 1e-4}; }

void require(const Agreement& a, const std::string& dtype, const std::string& row) {
  const Allowed limit = allowed(dtype);
  check(a.outputs < limit.outputs && a.gradient < limit.gradient, "bench: ", row,
        ": the sides do not compute the same, so nothing is timed: outputs of ", a.side, " differ by ", a.outputs, " (allowed ",
        limit.outputs, "), gradients by ", a.gradient, " (allowed ", limit.gradient, ")");
}

}  // namespace cuboid::bench
