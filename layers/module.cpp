// SPDX-License-Identifier: Apache-2.0
#include "layers/module.h"

#include <unordered_map>
#include <unordered_set>

namespace cuboid {

void Visitor::operator()(std::string_view name, Module& m) {
  const std::string before = path_;
  if (!m.transparent()) path_ = join(name);
  if (module) module(path_, m);
  m.visit(*this);
  path_ = before;
}

std::string_view Visitor::next_name(std::string_view& names) {
  const std::size_t comma = names.find(',');
  const std::string_view name = names.substr(0, comma);
  names.remove_prefix(comma == std::string_view::npos ? names.size() : comma + 1);
  while (!names.empty() && names.front() == ' ') names.remove_prefix(1);
  return name;
}

std::string Visitor::join(std::string_view name) const {
  return path_.empty() ? std::string(name) : path_ + "." + std::string(name);
}

std::vector<std::pair<std::string, Module*>> Module::modules() {
  std::vector<std::pair<std::string, Module*>> found{{"", this}};
  Visitor v;
  v.module = [&](const std::string& path, Module& m) { found.emplace_back(path, &m); };
  visit(v);
  return found;
}

void Module::train(bool on) {
  for (const auto& [path, m] : modules()) m->training_ = on;
}

namespace {
NamedTensors collect(Module& module, bool buffers) {
  NamedTensors found;
  Visitor v;
  v.tensor = [&](const std::string& path, Tensor& t, bool trainable) {
    if (trainable || buffers) found.emplace_back(path, t);
  };
  module.visit(v);
  return found;
}
}  // namespace

NamedTensors Module::named_parameters() { return collect(*this, false); }
NamedTensors Module::state_dict() { return collect(*this, true); }

Tensors Module::parameters() {
  Tensors found;
  for (const auto& [name, tensor] : named_parameters()) found.push_back(tensor);
  return found;
}

std::int64_t Module::parameter_count() {
  std::int64_t count = 0;
  for (const auto& p : parameters()) count += p.size();
  return count;
}

void Module::to(DType dtype) {
  check(is_floating(dtype), "to: ", dtype, " is not a floating type");
  Visitor v;
  v.tensor = [&](const std::string&, Tensor& t, bool trainable) {
    if (!is_floating(t.dtype()) || t.dtype() == dtype) return;
    const bool grad = trainable && t.requires_grad();
    Tensor converted = empty(t.shape(), {dtype, t.device(), t.options().layout});
    copy(t, converted);
    t = converted.requires_grad(grad);
  };
  visit(v);
}

void Module::to(Device device) {
  Visitor v;
  v.tensor = [&](const std::string&, Tensor& t, bool) {
    if (t.device() == device) return;
    t = cuboid::to(t.detach(), device).requires_grad(t.requires_grad());
  };
  visit(v);
}

Device Module::device() {
  Device found = Device::cpu;
  bool first = true;
  Visitor v;
  v.tensor = [&](const std::string&, Tensor& t, bool) {
    if (std::exchange(first, false)) found = t.device();
  };
  visit(v);
  return found;
}

void Module::requires_grad(bool on) {
  for (auto& p : parameters()) p.requires_grad(on);
}

void Module::zero_grad() {
  for (const auto& p : parameters()) p.grad() = Tensor();
}

std::vector<std::string> Module::load_state_dict(const NamedTensors& state, const LoadStateOptions& options,
                                                 const std::string& source) {
  std::unordered_map<std::string, Tensor> given;
  for (const auto& [name, tensor] : state) given.emplace(name, tensor);

  std::string missing, disagreeing, unexpected;
  std::unordered_set<std::string> known;
  const NamedTensors own = state_dict();
  for (const auto& [name, tensor] : own) {
    known.insert(name);
    const auto found = given.find(name);
    if (found == given.end()) {
      if (!options.allow_missing) missing += "\n  missing: " + name + join_text(' ', tensor.shape());
    } else if (found->second.shape() != tensor.shape()) {
      disagreeing += join_text("\n  shape of ", name, ": the net has ", tensor.shape(), ", the file ", found->second.shape());
    } else if (is_floating(found->second.dtype()) != is_floating(tensor.dtype())) {
      disagreeing += join_text("\n  type of ", name, ": the net has ", tensor.dtype(), ", the file ", found->second.dtype());
    }
  }
  std::vector<std::string> ignored;
  for (const auto& [name, tensor] : state) {
    if (known.count(name)) continue;
    if (options.ignore && options.ignore(name)) ignored.push_back(name);
    else unexpected += "\n  unexpected: " + name + join_text(' ', tensor.shape());
  }
  const std::string faults = disagreeing + missing + unexpected;
  check<DataError>(faults.empty(), source, ": these are the weights of another net:", faults);

  Visitor v;
  v.tensor = [&](const std::string& name, Tensor& t, bool) {
    const auto found = given.find(name);
    if (found == given.end()) return;
    const Tensor& value = found->second;
    if (options.adopt && value.dtype() == t.dtype() && value.device() == t.device() && value.strides() == t.strides())
      t = value.detach().requires_grad(t.requires_grad());
    else copy(value, t);
  };
  visit(v);
  return ignored;
}

}  // namespace cuboid
