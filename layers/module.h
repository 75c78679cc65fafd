// SPDX-License-Identifier: Apache-2.0
// A module is parameters plus a call. Its members are named once, by FIELDS, and the names are PyTorch's: the key of a
// tensor in a state dict is its path in the C++ object.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/safetensors.h"

namespace cuboid {

/// A tensor the optimiser changes.
struct Parameter : Tensor {
  Parameter() = default;
  explicit Parameter(const Tensor& t) : Tensor(t.detach()) { requires_grad(true); }
};

/// A tensor that is saved with the net, but not optimised: running statistics.
struct Buffer : Tensor {
  Buffer() = default;
  explicit Buffer(const Tensor& t) : Tensor(t.detach()) {}
};

class Module;

/// Walks a module tree in the order of the FIELDS. A name may hold dots ("layers.norm1"), and undefined tensors (a
/// convolution without bias) are passed over.
class Visitor {
 public:
  std::function<void(const std::string& path, Tensor& tensor, bool trainable)> tensor;
  std::function<void(const std::string& path, Module& module)> module;

  void operator()(std::string_view name, Parameter& p) { leaf(name, p, true); }
  void operator()(std::string_view name, Buffer& b) { leaf(name, b, false); }
  void operator()(std::string_view name, Module& m);
  /// `names` is the text of FIELDS: "conv1, norm1".
  template <class... F>
  void fields(std::string_view names, F&... f) {
    ((*this)(next_name(names), f), ...);
  }

 private:
  static std::string_view next_name(std::string_view& names);
  std::string join(std::string_view name) const;
  void leaf(std::string_view name, Tensor& t, bool trainable) {
    if (t.defined() && tensor) tensor(join(name), t, trainable);
  }
  std::string path_;
};

/// What load_state_dict does with a key the module lacks, or lacks a value for.
struct LoadStateOptions {
  bool allow_missing = false;
  /// Keys that may be in the file without being in the module; they are returned, for a note.
  std::function<bool(const std::string& key)> ignore = {};
  /// Take the given tensors themselves where type, device and layout agree, instead of copying: for a net that was just built
  /// under NoInit. Handles taken before (an optimiser's) then point to the old tensors.
  bool adopt = false;
};

/// Moving keeps the tensors, so handles taken before stay valid; copies are forbidden because they would share them.
class Module {
 public:
  Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;
  Module(Module&&) = default;
  Module& operator=(Module&&) = default;
  virtual ~Module() = default;

  /// Shows every member to `v`; FIELDS writes it.
  virtual void visit(Visitor&) {}
  /// True when the children appear under the parent's path (see List).
  virtual bool transparent() const { return false; }

  void train(bool on = true);
  void eval() { train(false); }
  bool training() const { return training_; }

  NamedTensors named_parameters();
  Tensors parameters();
  std::int64_t parameter_count();
  /// Every module of the tree with its path, this one first (path "").
  std::vector<std::pair<std::string, Module*>> modules();

  /// Floating tensors in another type. Replaces the tensors: do it before an optimiser takes hold of them.
  void to(DType dtype);
  /// Every tensor on another device; replaces them likewise.
  void to(Device device);
  /// Of the first tensor; the CPU when there is none.
  Device device();
  void requires_grad(bool on);
  void zero_grad();

  /// Parameters and buffers by name: handles, not copies.
  NamedTensors state_dict();
  /// Copies the values into this module's tensors, converting between floating types. Throws one DataError that lists
  /// every missing key, unexpected key and disagreeing shape, and changes nothing then. Returns the ignored keys.
  /// `source` names the file in the message.
  std::vector<std::string> load_state_dict(const NamedTensors& state, const LoadStateOptions& options = {},
                                           const std::string& source = "state dict");

 private:
  bool training_ = true;
};

#define FIELDS(...) \
  void visit(cuboid::Visitor& visitor) override { visitor.fields(#__VA_ARGS__, __VA_ARGS__); }

/// Children named prefix + first, prefix + first + 1, ... directly under the parent ("denselayer1").
template <class M>
class List : public Module {
 public:
  explicit List(std::string prefix = "", int first = 0) : prefix_(std::move(prefix)), first_(first) {}
  bool transparent() const override { return true; }
  void visit(Visitor& visitor) override {
    for (std::size_t i = 0; i < items_.size(); ++i) visitor(prefix_ + std::to_string(first_ + static_cast<int>(i)), items_[i]);
  }
  template <class... A>
  M& add(A&&... arguments) {
    return items_.emplace_back(std::forward<A>(arguments)...);
  }
  std::size_t size() const { return items_.size(); }
  M& operator[](std::size_t i) { return items_[i]; }
  auto begin() { return items_.begin(); }
  auto end() { return items_.end(); }

 private:
  std::string prefix_;
  int first_;
  std::vector<M> items_;
};

/// Steps called one after the other and numbered as in torch.nn.Sequential; plain functions take a number too.
class Sequential : public Module {
 public:
  template <class... L>
  explicit Sequential(L... layers) {
    (slots_.push_back(std::make_unique<Holder<L>>(std::move(layers))), ...);
  }
  void visit(Visitor& visitor) override {
    for (std::size_t i = 0; i < slots_.size(); ++i)
      if (Module* m = slots_[i]->module()) visitor(std::to_string(i), *m);
  }
  Tensor operator()(Tensor x) {
    for (auto& slot : slots_) x = slot->call(x);
    return x;
  }

 private:
  struct Slot {
    virtual ~Slot() = default;
    virtual Tensor call(const Tensor& x) = 0;
    virtual Module* module() = 0;
  };
  template <class L>
  struct Holder : Slot {
    explicit Holder(L l) : layer(std::move(l)) {}
    Tensor call(const Tensor& x) override { return layer(x); }
    Module* module() override {
      if constexpr (std::is_base_of_v<Module, L>) return &layer;
      else return nullptr;
    }
    L layer;
  };
  std::vector<std::unique_ptr<Slot>> slots_;
};

}  // namespace cuboid
