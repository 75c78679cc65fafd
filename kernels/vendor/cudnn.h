// SPDX-License-Identifier: Apache-2.0
// cuDNN 9 through the C interface of its graphs: what the files named cudnn.cpp share. Only those include cuDNN itself, so
// attributes, types and descriptors are plain numbers and pointers here.
//
// A plan is an engine of cuDNN for one graph of operations on tensors of fixed shapes. It is found by cuDNN's heuristics, which
// takes milliseconds, and kept.
#pragma once
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "core/view.h"

namespace cuboid::cudnn {

/// Of the library in use: 10000 * major + 100 * minor + patch.
int version();
std::string text_of_version(int version);
/// Versions of which it is known that they compute wrong numbers or crawl: the reason; empty where nothing is known.
std::string refusal(int version, DType dtype, int spatial_rank, bool tf32);
/// True when there is a device and no reason against; says the reason once on standard error.
bool usable(DType dtype, int spatial_rank, bool tf32);
/// The same for what is no convolution: no version since 9.0 is known to be wrong.
bool usable();

/// A descriptor of cuDNN that is being filled in. Failures throw DeviceError with cuDNN's own words.
class Descriptor {
 public:
  explicit Descriptor(int type);
  void set(int attribute, int type, std::int64_t count, const void* values);
  void set(int attribute, std::int64_t value);
  void set(int attribute, const std::vector<std::int64_t>& values);
  void set(int attribute, const Descriptor& value);
  void finalize();
  /// False when cuDNN has nothing for it; throws only what is nobody's fault.
  bool try_finalize();
  void* get() const { return raw_.get(); }

 private:
  std::shared_ptr<void> raw_;
};

/// A tensor of a graph: rank 4 or 5, any strides; `id` is how run() finds its pointer. Virtual ones exist within the graph only.
Descriptor tensor(std::int64_t id, DType dtype, const Shape& shape, const Strides& strides, bool is_virtual = false,
                  std::int64_t alignment = 16);
/// cuDNN's number for a type.
int data_type(DType dtype);
/// What all of these are multiples of: a power of two up to 16.
std::int64_t alignment_of(std::initializer_list<const void*> pointers);

/// One step of a graph, computed in f32: out = a MODE b, b repeated where its extent is 1, or out = MODE(a) without b.
/// `mode` is a cudnnPointwiseMode_t; `slope` is that of a ReLU where its argument is negative.
Descriptor pointwise(int mode, const Descriptor& a, const Descriptor* b, const Descriptor& out, double slope = 0);
/// dx = x > 0 ? g : slope * g
Descriptor relu_backward(const Descriptor& g, const Descriptor& x, const Descriptor& dx, double slope);

struct PlanOptions {
  bool deterministic = false;        // engines that say they are
  bool tf32 = true;                  // tensor cores for f32; matters to no other type
  bool f32 = false;                  // the graph's products are of f32
  std::int64_t workspace = 1 << 30;  // the most bytes an engine may ask for
  std::string device_json = {};      // plan for a device that is not there, described in JSON; such a plan cannot run
};

class Plan {
 public:
  /// nullptr when cuDNN has no engine for these operations.
  static std::shared_ptr<const Plan> find(const std::vector<Descriptor>& operations, const PlanOptions& options);
  /// Queues the graph on the current stream.
  struct Binding {
    std::int64_t id;
    const void* pointer;
  };
  void run(const std::vector<Binding>& tensors) const;
  std::int64_t workspace() const { return workspace_; }
  /// cuDNN's number of the engine, and what it says of it.
  std::string engine() const { return engine_; }

 private:
  Plan(Descriptor descriptor, std::int64_t workspace, std::string engine)
      : descriptor_(std::move(descriptor)), workspace_(workspace), engine_(std::move(engine)) {}
  Descriptor descriptor_;
  std::int64_t workspace_;
  std::string engine_;
};

/// The plan that `key` stands for in a room, or what `make` finds, kept.
enum class PlanOwner : std::int64_t { pool, norm };
std::shared_ptr<const Plan> kept_plan(PlanOwner owner, const std::vector<std::int64_t>& key,
                                      const std::function<std::shared_ptr<const Plan>()>& make);

}  // namespace cuboid::cudnn
