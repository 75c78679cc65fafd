// SPDX-License-Identifier: Apache-2.0
#include "layers/init.h"

#include <cmath>

#include "kernels/random/random.h"

namespace cuboid {

namespace {
constexpr std::uint64_t init_stream = 0x696e6974;  // "init"
thread_local RandomKey next_key{0, init_stream, 0};
thread_local bool draws = true;
}  // namespace

InitScope::InitScope(std::uint64_t seed) : before_(next_key) { next_key = {seed, init_stream, 0}; }
InitScope::~InitScope() { next_key = before_; }

NoInit::NoInit() : before_(draws) { draws = false; }
NoInit::~NoInit() { draws = before_; }

RandomKey next_init_key() {
  const RandomKey key = next_key;
  ++next_key.step;
  return key;
}

std::int64_t fan_of(const Shape& weight, Fan fan) {
  check(weight.rank() >= 2, "init: weight of shape ", weight, " has no fan");
  const std::int64_t both = weight[0] * weight[1];
  return both == 0 ? 0 : weight.count() / both * weight[fan == Fan::in ? 1 : 0];
}

Tensor kaiming_normal(const Shape& weight, Fan fan, double gain) {
  return normal_weights(weight, 0, gain / std::sqrt(static_cast<double>(fan_of(weight, fan))));
}

Tensor normal_weights(const Shape& shape, double mean, double deviation) {
  return draws ? normal(shape, next_init_key(), mean, deviation) : empty(shape);
}

Tensor fan_uniform(const Shape& shape, std::int64_t fan) {
  if (!draws) return empty(shape);
  const double bound = 1 / std::sqrt(static_cast<double>(fan));
  return uniform(shape, next_init_key(), -bound, bound);
}

}  // namespace cuboid
