// SPDX-License-Identifier: Apache-2.0
#include "optim/state.h"

namespace cuboid {

const Tensor& State::tensor(const std::string& name, const Tensor& like) const {
  for (const auto& [key, t] : tensors) {
    if (key != name) continue;
    check<DataError>(t.shape() == like.shape() && t.dtype() == like.dtype(), "state: ", name, " is ", t.dtype(), t.shape(),
                     ", expected ", like.dtype(), like.shape());
    return t;
  }
  fail<DataError>("state: no tensor ", name);
}

void State::check_kind(const std::string& kind) const {
  const std::string found = values.get("kind", "");
  check<DataError>(found == kind, "state: of '", found, "', expected '", kind, "'");
}

Tensor clone(const Tensor& t) {
  Tensor copied = empty_like(t.detach());
  copy(t, copied);
  return copied;
}

}  // namespace cuboid
