// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "bench/device/report.h"
#include "core/autograd.h"
#include "kernels/conv/matmul.h"
#include "kernels/conv/tables.h"
#include "kernels/random/random.h"

namespace bench {

void measure_roofs(const Meter& meter, Report& report, bool tiny) {
  const Recording off(false);
  const Device device = meter.options().device;
  const bool gpu = device == Device::cuda;
  Roofs roofs;
  const std::vector<std::int64_t> sides = tiny  ? std::vector<std::int64_t>{32}
                                          : gpu ? std::vector<std::int64_t>{4096, 8192, 16384}
                                                : std::vector<std::int64_t>{1024, 2048};
  for (const DType dtype : {DType::bf16, DType::f32})
    for (const std::int64_t side : sides) {
      const auto matrix = [&](std::uint64_t stream) {
        const Tensor x = empty({side, side}, {.dtype = dtype, .device = device});
        copy(uniform({side, side}, {.seed = 1, .stream = stream}, -1, 1, {.device = device}), x);
        return x;
      };
      const Tensor a = matrix(1), b = matrix(2);
      std::vector<Candidate> rows;
      for (const auto& row : matmul_rows())
        if (row.device == device && std::string(row.name) != "reference")
          rows.push_back({row.name, [=, force = std::string("matmul=") + row.name] {
                            const dispatch::Forced forced(force);
                            return matmul(a, b);
                          }});
      const double n = static_cast<double>(side);
      const Cost cost{2 * n * n * n, 3 * n * n * static_cast<double>(size_of(dtype))};
      const auto timings = meter.compare(rows);
      for (const Timing& t : timings) {
        double& best = roofs.flops[dtype];
        best = std::max(best, cost.flops / t.median() * 1e6);
      }
      report.add("matmul", join_text("n", side), dtype, cost, timings);
    }
  const std::int64_t bytes = tiny ? 1 << 14 : gpu ? std::int64_t{2} << 30 : 256 << 20;
  const Tensor from = uniform({bytes / 4}, {.seed = 3}, -1, 1, {.device = device}), to = empty_like(from);
  const auto timings = meter.compare({{"copy", [&] { return copy(from, to), Tensor(); }}});
  const Cost cost{0, 2 * static_cast<double>(bytes)};
  roofs.bytes = cost.bytes / timings.front().median() * 1e6;
  report.add("copy", join_text("b", bytes), DType::f32, cost, timings);
  report.set_roofs(roofs);
}

}  // namespace bench
