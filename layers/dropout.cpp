// SPDX-License-Identifier: Apache-2.0
#include "layers/dropout.h"

#include "kernels/random/random.h"

namespace cuboid {

Dropout::Dropout(double p) : p_(p) { check(p >= 0 && p < 1, "dropout: p is ", p, ", must lie in [0, 1)"); }

Tensor Dropout::operator()(const Tensor& x) {
  if (!training() || p_ == 0) return x;
  check(key_.has_value(), "dropout: no random key; call set_random_step(net, seed, step) before each training step");
  return dropout(x, p_, *key_);
}

void set_random_step(Module& net, std::uint64_t seed, std::uint64_t step, const std::uint64_t* staged) {
  constexpr std::uint64_t dropout_stream = 0x64726f70'00000000;  // "drop"
  std::uint64_t place = 0;
  for (const auto& [path, m] : net.modules())
    if (auto* layer = dynamic_cast<Dropout*>(m)) layer->set_key({seed, dropout_stream + place++, step, staged});
}

}  // namespace cuboid
