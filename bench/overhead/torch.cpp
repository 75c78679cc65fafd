// SPDX-License-Identifier: Apache-2.0
// LibTorch's side of bench_overhead: bench_torch_overhead tiny SECONDS
#include <torch/torch.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "bench/libtorch/statistics.h"

namespace {

double milliseconds() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// As tiny_ops() of overhead.cpp.
void tiny_ops() {
  static const torch::Tensor w = torch::full({8}, 1.0001), b = torch::full({8}, 1e-4);
  torch::Tensor x = torch::full({8}, 1.F, torch::requires_grad());
  torch::Tensor y = x;
  for (int i = 0; i < 5000; ++i) y = y * w + b;
  y.sum().backward();
}

}  // namespace

int main(int argc, char** argv) {
  const double seconds = argc > 2 ? std::atof(argv[2]) : 1;
  tiny_ops();
  std::vector<double> all;
  const double start = milliseconds();
  for (double last = start; all.size() < 3 || last - start < 1e3 * seconds;) {
    tiny_ops();
    const double now = milliseconds();
    all.push_back(now - last);
    last = now;
  }
  std::printf("%.4f\n", side::median(all));
}
