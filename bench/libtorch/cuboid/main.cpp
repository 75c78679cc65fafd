// SPDX-License-Identifier: Apache-2.0
// Cuboid's side of the comparison; side.h says what it is asked. CUBOID_BENCH_PROFILE=1: serve prints where the time goes.
#include <iostream>
#include <optional>
#include <utility>

#include "bench/libtorch/cuboid/net.h"
#include "bench/libtorch/side.h"
#include "core/autograd.h"
#include "core/build_info.h"
#include "core/cuda.h"
#include "core/json.h"
#include "core/parallel.h"
#include "core/profiler.h"
#include "kernels/dispatch.h"
#include "kernels/vendor/versions.h"
#include "layers/init.h"
#include "layers/precision.h"
#include "optim/optimiser.h"
#include "optim/step_graph.h"

using namespace cuboid;

namespace {

const side::NetEntry& entry_of(const std::string& name) {
  for (const auto& e : side::nets())
    if (e.name == name) return e;
  fail("no net ", name, "; 'list' shows them");
}

int list() {
  Json all = Json::array();
  constexpr const char* sizes[] = {"small", "large", "heavy", "test"};
  for (const auto& e : side::nets())
    all.push_back(Json::object({{"name", e.name},
                                {"title", e.title},
                                {"size", sizes[static_cast<int>(e.size)]},
                                {"scaling_batch", e.scaling.batch},
                                {"scaling_side", e.scaling.side}}));
  std::cout << all.dump() << '\n';
  return 0;
}

int prepare(const side::NetEntry& entry, const std::string& file, const side::Extent& extent) {
  const auto net = entry.make(entry, {});
  NamedTensors all = net->module().state_dict();
  for (auto& [name, tensor] : entry.inputs(entry, extent)) all.emplace_back(name, tensor);
  write_safetensors(file, all);
  return 0;
}

/// The net with the file's weights and inputs; without inputs of its own it gets one sample.
std::unique_ptr<side::Net> load(const side::NetEntry& entry, const std::string& file, bool one_sample,
                                Device device = Device::cpu) {
  const NoInit loaded_next;
  NamedTensors state, inputs;
  for (auto& [name, tensor] : read_safetensors(file))
    if (name.starts_with(side::input_prefix)) inputs.emplace_back(name, to(tensor, device));
    else state.emplace_back(name, tensor);
  auto net = entry.make(entry, one_sample ? entry.inputs(entry, {.batch = 1}) : inputs);
  net->module().load_state_dict(state, {.adopt = true}, file);
  if (device != Device::cpu) net->module().to(device);
  return net;
}

int first(const side::NetEntry& entry, const std::string& file) {
  const auto net = load(entry, file, true);
  net->module().eval();
  const Recording off(false);
  for (const double v : net->forward().to_vector()) std::cout << v << ' ';
  std::cout << std::endl;
  return 0;
}

std::string about(const side::Variant& variant) {
  std::string text = join_text("Cuboid ", build::version, ", revision ", build::revision, ", ", build::compiler);
  for (const auto& f : build::features)
    if (f.name == "onednn" && f.present) text += join_text(", oneDNN ", f.version);
  Json all = Json::object({{"version", text}, {"threads", thread_count()}, {"dtype", variant.dtype}});
#if CUBOID_CUDA
  if (variant.cuda) {
    all["device"] = cuda::device_info().name;
    Json libraries = Json::object();
    for (const auto& l : vendor_libraries()) libraries[l.name] = l.version;
    all["libraries"] = libraries;
  }
#endif
  return all.dump();
}

class Served {
 public:
  Served(const side::NetEntry& entry, bool training, const side::Variant& variant, const std::string& file)
      : net_(load(entry, file, false, variant.cuda ? Device::cuda : Device::cpu)),
        training_(training),
        dtype_(variant.bf16() ? DType::bf16 : DType::f32),
        optimiser_(net_->module().named_parameters(), {.lr = 1e-3, .momentum = 0.9}) {
    net_->module().train(training);
    if (variant.graph && training) graph_.emplace(net_->module(), optimiser_, 1, [this](const Tensors&) { return whole_step(); });
  }
  void step() {
    if (!training_) return void(infer());
    if (graph_) graph_->run({input_of_graph_}, steps_++);
    else whole_step();
  }
  double work() {
    step();
    const bool before = profiler::enabled();
    profiler::enable(true);
    profiler::clear();
    step();
    double flops = 0;
    for (const auto& event : profiler::events()) flops += event.flops;
    profiler::clear();
    profiler::enable(before);
    return flops;
  }
  void check(const std::string& to) {
    NamedTensors results;
    if (training_) {
      for (auto& [name, p] : net_->module().named_parameters())
        if (side::is_norm_bias(name)) add_into(p.detach(), full(p.shape(), side::lift, {.device = p.device()}));
      results.emplace_back("outputs", cast(learn()));
      for (auto& [name, p] : net_->module().named_parameters()) results.emplace_back(name, cast(p.grad()));
    } else {
      results.emplace_back("outputs", cast(infer()));
    }
    write_safetensors(to, results);
  }

 private:
  Tensor forward() {
    if (dtype_ == DType::f32) return net_->forward();
    const ComputeIn scope(dtype_);
    return net_->forward();
  }
  Tensor infer() {
    const Recording off(false);
    return forward();
  }
  Tensor learn() {
    const Tensor outputs = forward();
    loss_ = net_->loss(outputs);
    backward(loss_);
    return outputs.detach();
  }
  /// The loss.
  Tensor whole_step() {
    learn();
    optimiser_.step();
    optimiser_.zero_grad();
    return std::exchange(loss_, {}).detach();
  }
  /// f32, on the CPU.
  static Tensor cast(const Tensor& t) {
    const Tensor wide = empty(t.shape());
    copy(to(t.detach(), Device::cpu), wide);
    return wide;
  }

  std::unique_ptr<side::Net> net_;
  bool training_;
  DType dtype_;
  Sgd optimiser_;
  Tensor loss_, input_of_graph_ = zeros({1});  // the net holds its inputs; a graph wants one of its own
  std::uint64_t steps_ = 0;
  std::optional<StepGraph> graph_;
};

int serve(const side::NetEntry& entry, const std::string& mode, const std::string& text, const std::string& file) {
  check(mode == "train" || mode == "infer", "mode is train or infer, not ", mode);
  const side::Variant variant = side::Variant::of(text);
  check(!variant.cuda || cuda::available(), "no CUDA device answers");
  if (variant.cuda) dispatch::set_tf32(variant.tf32());
  Served served(entry, mode == "train", variant, file);
  if (std::getenv("CUBOID_BENCH_PROFILE")) {
    served.step();
    profiler::enable(true);
    for (int i = 0; i < 5; ++i) served.step();
    profiler::write_table(std::cout);
    return 0;
  }
  side::Answers answers{.about = [&] { return about(variant); },
                        .work = [&] { return served.work(); },
                        .check = [&](const std::string& to) { served.check(to); },
                        .step = [&] { served.step(); }};
#if CUBOID_CUDA
  bool warm = false;  // what rows are tried out with at first is no part of the peak
  if (variant.cuda) {
    answers.step = [&] {
      if (!std::exchange(warm, true)) {
        for (int i = 0; i < 3; ++i) served.step();
        cuda::synchronize();
        if (!variant.graph) {  // a graph's memory was in use while it was recorded, and only then
          release_cached_memory(Device::cuda);
          reset_peak_memory(Device::cuda);
        }
      }
      served.step();
    };
    answers.wait = cuda::synchronize_all;
    answers.peak_kib = [] {
      const MemoryStats m = memory_stats(Device::cuda);
      return std::pair(static_cast<double>(m.peak) / 1024, static_cast<double>(m.reserved) / 1024);
    };
  }
#endif
  return side::serve(answers);
}

}  // namespace

int main(int argc, char** argv) try {
  const std::vector<std::string> words(argv + 1, argv + argc);
  const std::string command = words.empty() ? "" : words[0];
  if (command == "list" && words.size() == 1) return list();
  if (command == "prepare" && words.size() == 3) return prepare(entry_of(words[1]), words[2], {});
  if (command == "prepare" && words.size() == 5)
    return prepare(entry_of(words[1]), words[2], {std::stoll(words[3]), std::stoll(words[4])});
  if (command == "first" && words.size() == 3) return first(entry_of(words[1]), words[2]);
  if (command == "serve" && words.size() == 5) return serve(entry_of(words[1]), words[2], words[3], words[4]);
  std::cerr << "usage: bench_cuboid_side list | prepare NET FILE [BATCH SIDE] | first NET FILE | serve NET train|infer "
               "[cuda:]f32|tf32|bf16[:graph] FILE\n";
  return 2;
} catch (const std::exception& e) {
  std::cerr << "bench_cuboid_side: " << e.what() << '\n';
  return 1;
}
