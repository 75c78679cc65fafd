// SPDX-License-Identifier: Apache-2.0
// What is timed besides convolutions: norm with its activation, pooling, resampling, dense blocks, the optimisers' steps.
#pragma once
#include "bench/device/report.h"

namespace bench {

/// One line of work; `make` prepares its data, which lives as long as the candidates do. The reference comes first.
struct OpCase {
  std::string op, shape;
  DType dtype;
  Cost cost;
  std::function<std::vector<Candidate>()> make;
  double limit = 0;  // of the difference from the reference; 0: as the type allows
};

struct OpOptions {
  Device device = Device::cpu;
  bool tiny = false;            // sizes for a look at whether it runs
  bool with_reference = false;  // time the reference as well
  bool check = true;            // compare with the reference
};
std::vector<OpCase> norms(DType dtype, const OpOptions& options);
std::vector<OpCase> pools(DType dtype, const OpOptions& options);
std::vector<OpCase> resizes(DType dtype, const OpOptions& options);
std::vector<OpCase> dense_blocks(DType dtype, const OpOptions& options);
/// Over the parameters of DenseNet121 in three dimensions; f32.
std::vector<OpCase> optimisers(const OpOptions& options);

}  // namespace bench
