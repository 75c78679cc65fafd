// SPDX-License-Identifier: Apache-2.0
#include "kernels/vendor/cudnn.h"

#include <cudnn.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <mutex>
#include <set>

#include "core/cuda.h"
#include "core/error.h"

namespace cuboid::cudnn {
namespace {

void check_status(cudnnStatus_t status, const char* what) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  char detail[1024] = {};
  cudnnGetLastErrorString(detail, sizeof detail);
  fail<DeviceError>("cuDNN: ", what, ": ", cudnnGetErrorString(status), *detail ? " (" : "", detail, *detail ? ")" : "");
}

/// One per thread, made at first use.
cudnnHandle_t handle() {
  struct Handle {
    cudnnHandle_t raw = nullptr;
    Handle() { check_status(cudnnCreate(&raw), "cudnnCreate"); }
    ~Handle() { cudnnDestroy(raw); }
  };
  thread_local Handle h;
  return h.raw;
}

}  // namespace

// ---- versions ----------------------------------------------------------------------------------

int version() { return static_cast<int>(cudnnGetVersion()); }

std::string text_of_version(int v) { return join_text(v / 10000, '.', v / 100 % 100, '.', v % 100); }

// PyTorch turned the half types off for 3D in 2.9.0 (issues 163539, 166122, 166643): 9.8 to 9.14 give wrong results for large
// inputs, or fall to kernels four times slower.
std::string refusal(int v, DType dtype, int spatial_rank, bool tf32) {
  if (v < 90000) return "cuDNN " + text_of_version(v) + " is too old; 9.0 is the first one that serves";
  const bool tensor_cores = dtype == DType::bf16 || dtype == DType::f16 || (dtype == DType::f32 && tf32);
  if (spatial_rank == 3 && tensor_cores && v >= 90800 && v < 91500)
    return "cuDNN " + text_of_version(v) + " computes some 3D convolutions of " + (tf32 ? "tf32" : name_of(dtype)) +
           " wrong or slowly; 9.15 mends it";
  return "";
}

bool usable(DType dtype, int spatial_rank, bool tf32) {
  if (!cuda::available()) return false;
  const std::string reason = refusal(version(), dtype, spatial_rank, tf32);
  if (reason.empty()) return true;
  static std::mutex guard;
  static std::set<std::string> said;
  const std::scoped_lock lock(guard);
  if (said.insert(reason).second) std::cerr << "note: " << reason << "; our own kernels are used\n";
  return false;
}

bool usable() { return usable(DType::f32, 2, false); }

// ---- descriptors -------------------------------------------------------------------------------

Descriptor::Descriptor(int type) {
  cudnnBackendDescriptor_t raw = nullptr;
  check_status(cudnnBackendCreateDescriptor(static_cast<cudnnBackendDescriptorType_t>(type), &raw), "create descriptor");
  raw_ = std::shared_ptr<void>(raw, [](void* d) { cudnnBackendDestroyDescriptor(d); });
}

void Descriptor::set(int attribute, int type, std::int64_t count, const void* values) {
  check_status(cudnnBackendSetAttribute(raw_.get(), static_cast<cudnnBackendAttributeName_t>(attribute),
                                        static_cast<cudnnBackendAttributeType_t>(type), count, values),
               "set attribute");
}
void Descriptor::set(int attribute, std::int64_t value) { set(attribute, CUDNN_TYPE_INT64, 1, &value); }
void Descriptor::set(int attribute, const std::vector<std::int64_t>& values) {
  set(attribute, CUDNN_TYPE_INT64, static_cast<std::int64_t>(values.size()), values.data());
}
void Descriptor::set(int attribute, const Descriptor& value) {
  cudnnBackendDescriptor_t raw = value.get();
  set(attribute, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &raw);
}
void Descriptor::finalize() { check_status(cudnnBackendFinalize(raw_.get()), "finalize descriptor"); }
bool Descriptor::try_finalize() {
  const cudnnStatus_t status = cudnnBackendFinalize(raw_.get());
  const int category = CUDNN_STATUS_CATEGORY(static_cast<int>(status));
  if (category == 2000 || category == 3000) return false;  // bad parameter, not supported
  check_status(status, "finalize descriptor");
  return true;
}

int data_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return CUDNN_DATA_FLOAT;
    case DType::bf16:
      return CUDNN_DATA_BFLOAT16;
    case DType::f16:
      return CUDNN_DATA_HALF;
    default:
      fail<DeviceError>("cuDNN: no type for ", dtype);
  }
}

Descriptor tensor(std::int64_t id, DType dtype, const Shape& shape, const Strides& strides, bool is_virtual,
                  std::int64_t alignment) {
  Descriptor d(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  const auto type = static_cast<cudnnDataType_t>(data_type(dtype));
  d.set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
  d.set(CUDNN_ATTR_TENSOR_DIMENSIONS, std::vector<std::int64_t>(shape.begin(), shape.end()));
  d.set(CUDNN_ATTR_TENSOR_STRIDES, std::vector<std::int64_t>(strides.begin(), strides.end()));
  d.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id);
  d.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, alignment);
  if (is_virtual) d.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &is_virtual);
  d.finalize();
  return d;
}

std::int64_t alignment_of(std::initializer_list<const void*> pointers) {
  std::uintptr_t bits = 16;
  for (const void* p : pointers) bits |= reinterpret_cast<std::uintptr_t>(p);
  return static_cast<std::int64_t>(bits & ~(bits - 1));
}

namespace {
Descriptor function_of(int mode, double slope) {
  Descriptor function(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  const auto type = CUDNN_DATA_FLOAT;
  const auto what = static_cast<cudnnPointwiseMode_t>(mode);
  function.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &what);
  function.set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &type);
  if (slope != 0) function.set(CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP_SLOPE, CUDNN_TYPE_DOUBLE, 1, &slope);
  function.finalize();
  return function;
}
}  // namespace

Descriptor pointwise(int mode, const Descriptor& a, const Descriptor* b, const Descriptor& out, double slope) {
  Descriptor operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, function_of(mode, slope));
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, a);
  if (b) operation.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, *b);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, out);
  operation.finalize();
  return operation;
}

Descriptor relu_backward(const Descriptor& g, const Descriptor& x, const Descriptor& dx, double slope) {
  Descriptor operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, function_of(CUDNN_POINTWISE_RELU_BWD, slope));
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_DYDESC, g);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_DXDESC, dx);
  operation.finalize();
  return operation;
}

// ---- plans -------------------------------------------------------------------------------------

namespace {

/// The device a plan is for: the one of this thread's handle, or one that is only described.
class Target {
 public:
  explicit Target(const std::string& json) {
    if (json.empty()) return;
#if CUDNN_VERSION >= 90800
    described_ = std::make_unique<Descriptor>(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
    described_->set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, static_cast<std::int64_t>(json.size()),
                    json.data());
    described_->finalize();
#else
    fail<DeviceError>("cuDNN: plans for a device that is not there need version 9.8");
#endif
  }
  void graph(Descriptor& d) const {
    if (described_) return;
    cudnnHandle_t h = handle();
    d.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &h);
  }
  void heuristics(Descriptor& d) const {
#if CUDNN_VERSION >= 90800
    if (described_) d.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, *described_);
#endif
  }
  void plan(Descriptor& d) const {
#if CUDNN_VERSION >= 90800
    if (described_) return d.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, *described_);
#endif
    cudnnHandle_t h = handle();
    d.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &h);
  }

 private:
  std::unique_ptr<Descriptor> described_;
};

template <class T>
std::vector<T> attribute(const Descriptor& d, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                         std::int64_t room) {
  std::vector<T> values(static_cast<std::size_t>(room));
  std::int64_t count = 0;
  check_status(cudnnBackendGetAttribute(d.get(), name, type, room, &count, values.data()), "get attribute");
  values.resize(static_cast<std::size_t>(std::min(count, room)));
  return values;
}

std::vector<Descriptor> configurations(const Descriptor& graph, cudnnBackendHeurMode_t mode, const Target& target) {
  Descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
  target.heuristics(heuristics);
  if (!heuristics.try_finalize()) return {};
  std::int64_t count = 0;
  check_status(cudnnBackendGetAttribute(heuristics.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &count,
                                        nullptr),
               "count engines");
  std::vector<Descriptor> found;
  std::vector<cudnnBackendDescriptor_t> raw;
  for (std::int64_t i = 0; i < count; ++i) raw.push_back(found.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR).get());
  check_status(cudnnBackendGetAttribute(heuristics.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, count,
                                        &count, raw.data()),
               "list engines");
  found.resize(static_cast<std::size_t>(count), Descriptor(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR));
  return found;
}

struct Engine {
  std::int64_t number = -1;
  std::vector<cudnnBackendNumericalNote_t> notes;
  bool has(cudnnBackendNumericalNote_t note) const { return std::find(notes.begin(), notes.end(), note) != notes.end(); }
};

Engine engine_of(const Descriptor& configuration) {
  const Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  cudnnBackendDescriptor_t raw = engine.get();
  std::int64_t count = 0;
  check_status(
      cudnnBackendGetAttribute(configuration.get(), CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count, &raw),
      "engine of a configuration");
  return {attribute<std::int64_t>(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1).at(0),
          attribute<cudnnBackendNumericalNote_t>(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                                                 CUDNN_NUMERICAL_NOTE_TYPE_COUNT)};
}

/// Sums in f32 of the products of what was given; in a fixed order where that is asked for.
bool acceptable(const Engine& e, const PlanOptions& o) {
  if (o.deterministic && e.has(CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC)) return false;
  if (o.f32 && !o.tf32 && e.has(CUDNN_NUMERICAL_NOTE_TENSOR_CORE)) return false;
  return !e.has(CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS) && !e.has(CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION);
}

}  // namespace

std::shared_ptr<const Plan> Plan::find(const std::vector<Descriptor>& operations, const PlanOptions& options) {
  const Target target(options.device_json);
  Descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  std::vector<cudnnBackendDescriptor_t> raw;
  for (const auto& o : operations) raw.push_back(o.get());
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, static_cast<std::int64_t>(raw.size()), raw.data());
  target.graph(graph);
  if (!graph.try_finalize()) return nullptr;
  for (const auto mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK})
    for (const Descriptor& configuration : configurations(graph, mode, target)) {
      const Engine engine = engine_of(configuration);
      if (!acceptable(engine, options)) continue;
      Descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
      plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration);
      target.plan(plan);
      if (!plan.try_finalize()) continue;
      const auto workspace = attribute<std::int64_t>(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1).at(0);
      if (workspace > options.workspace) continue;
      std::string name = join_text("engine ", engine.number);
      if (engine.has(CUDNN_NUMERICAL_NOTE_TENSOR_CORE)) name += ", tensor cores";
      if (engine.has(CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC)) name += ", not deterministic";
      return std::shared_ptr<const Plan>(new Plan(std::move(plan), workspace, std::move(name)));
    }
  return nullptr;
}

std::shared_ptr<const Plan> kept_plan(PlanOwner owner, const std::vector<std::int64_t>& key,
                                      const std::function<std::shared_ptr<const Plan>()>& make) {
  static std::mutex guard;
  static auto& known = *new std::map<std::pair<PlanOwner, std::vector<std::int64_t>>, std::shared_ptr<const Plan>>;
  const std::scoped_lock lock(guard);
  const auto found = known.find({owner, key});
  return found != known.end() ? found->second : known[{owner, key}] = make();
}

void Plan::run(const std::vector<Binding>& tensors) const {
  const Scratch<char> workspace(workspace_, Device::cuda);
  std::vector<std::int64_t> ids;
  std::vector<const void*> pointers;
  for (const Binding& b : tensors) {
    ids.push_back(b.id);
    pointers.push_back(b.pointer);
  }
  Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, ids);
  pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, static_cast<std::int64_t>(pointers.size()),
           pointers.data());
  void* scratch = workspace.data();
  pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &scratch);
  pack.finalize();
  check_status(cudnnSetStream(handle(), static_cast<cudaStream_t>(cuda::stream())), "set stream");
  check_status(cudnnBackendExecute(handle(), descriptor_.get(), pack.get()), "execute");
}

}  // namespace cuboid::cudnn
