// SPDX-License-Identifier: Apache-2.0
// What a stateful object must keep to continue exactly where it was: numbers as JSON, tensors by name. Every class of
// this room has to_state() and from_state(); a checkpoint is the states of all of them.
#pragma once
#include "core/json.h"
#include "core/safetensors.h"

namespace cuboid {

struct State {
  Json values = Json::object();
  NamedTensors tensors;

  /// Throws DataError when there is none of that name, or of another shape or type than `like`.
  const Tensor& tensor(const std::string& name, const Tensor& like) const;
  /// Throws DataError unless values["kind"] is `kind`.
  void check_kind(const std::string& kind) const;
};

/// An independent copy, outside the derivative graph.
Tensor clone(const Tensor& t);

}  // namespace cuboid
