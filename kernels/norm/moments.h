// SPDX-License-Identifier: Apache-2.0
// Mean and sum of squared deviations of a growing set, merged part by part (Chan, Golub, LeVeque 1979).
#pragma once
#include <cstdint>

namespace cuboid {

struct Moments {
  double count = 0, mean = 0, m2 = 0;

  void merge(double n, double part_mean, double part_m2) {
    const double total = count + n, delta = part_mean - mean;
    mean += delta * n / total;
    m2 += part_m2 + delta * delta * count * n / total;
    count = total;
  }
};

}  // namespace cuboid
