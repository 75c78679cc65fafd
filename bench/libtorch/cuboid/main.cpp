// SPDX-License-Identifier: Apache-2.0
// Cuboid's side of the comparison; side.h says what it is asked. CUBOID_BENCH_PROFILE=1: serve prints where the time goes.
#include <iostream>

#include "bench/libtorch/cuboid/net.h"
#include "bench/libtorch/side.h"
#include "core/autograd.h"
#include "core/build_info.h"
#include "core/json.h"
#include "core/parallel.h"
#include "core/profiler.h"
#include "layers/init.h"
#include "layers/precision.h"
#include "optim/optimiser.h"

using namespace cuboid;

namespace {

const side::NetEntry& entry_of(const std::string& name) {
  for (const auto& e : side::nets())
    if (e.name == name) return e;
  fail("no net ", name, "; 'list' shows them");
}

int list() {
  Json all = Json::array();
  for (const auto& e : side::nets()) all.push_back(Json::object({{"name", e.name}, {"title", e.title}, {"large", e.large}}));
  std::cout << all.dump() << '\n';
  return 0;
}

int prepare(const side::NetEntry& entry, const std::string& file) {
  const auto net = entry.make(entry, {});
  NamedTensors all = net->module().state_dict();
  for (auto& [name, tensor] : entry.inputs(entry, false)) all.emplace_back(name, tensor);
  write_safetensors(file, all);
  return 0;
}

/// The net with the file's weights and inputs; without inputs of its own it gets one sample.
std::unique_ptr<side::Net> load(const side::NetEntry& entry, const std::string& file, bool one_sample) {
  const NoInit loaded_next;
  NamedTensors state, inputs;
  for (auto& [name, tensor] : read_safetensors(file))
    (name.starts_with(side::input_prefix) ? inputs : state).emplace_back(name, tensor);
  auto net = entry.make(entry, one_sample ? entry.inputs(entry, true) : inputs);
  net->module().load_state_dict(state, {.adopt = true}, file);
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

std::string about(DType dtype) {
  std::string text = join_text("Cuboid ", build::version, ", revision ", build::revision, ", ", build::compiler);
  for (const auto& f : build::features)
    if (f.name == "onednn" && f.present) text += join_text(", oneDNN ", f.version);
  return Json::object({{"version", text}, {"threads", thread_count()}, {"dtype", name_of(dtype)}}).dump();
}

class Served {
 public:
  Served(const side::NetEntry& entry, bool training, DType dtype, const std::string& file)
      : net_(load(entry, file, false)),
        training_(training),
        dtype_(dtype),
        optimiser_(net_->module().named_parameters(), {.lr = 1e-3, .momentum = 0.9}) {
    net_->module().train(training);
  }
  void step() {
    if (!training_) return void(infer());
    learn();
    optimiser_.step();
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
        if (side::is_norm_bias(name)) add_into(p.detach(), full(p.shape(), side::lift));
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
    optimiser_.zero_grad();
    const Tensor outputs = forward();
    backward(net_->loss(outputs));
    return outputs.detach();
  }
  static Tensor cast(const Tensor& t) {
    const Tensor wide = empty(t.shape());
    copy(t, wide);
    return wide;
  }

  std::unique_ptr<side::Net> net_;
  bool training_;
  DType dtype_;
  Sgd optimiser_;
};

int serve(const side::NetEntry& entry, const std::string& mode, const std::string& dtype, const std::string& file) {
  check(mode == "train" || mode == "infer", "mode is train or infer, not ", mode);
  check(dtype == "f32" || dtype == "bf16", "dtype is f32 or bf16, not ", dtype);
  const DType type = dtype == "f32" ? DType::f32 : DType::bf16;
  Served served(entry, mode == "train", type, file);
  if (std::getenv("CUBOID_BENCH_PROFILE")) {
    served.step();
    profiler::enable(true);
    for (int i = 0; i < 5; ++i) served.step();
    profiler::write_table(std::cout);
    return 0;
  }
  return side::serve({.about = [&] { return about(type); },
                      .work = [&] { return served.work(); },
                      .check = [&](const std::string& to) { served.check(to); },
                      .step = [&] { served.step(); }});
}

}  // namespace

int main(int argc, char** argv) try {
  const std::vector<std::string> words(argv + 1, argv + argc);
  const std::string command = words.empty() ? "" : words[0];
  if (command == "list" && words.size() == 1) return list();
  if (command == "prepare" && words.size() == 3) return prepare(entry_of(words[1]), words[2]);
  if (command == "first" && words.size() == 3) return first(entry_of(words[1]), words[2]);
  if (command == "serve" && words.size() == 5) return serve(entry_of(words[1]), words[2], words[3], words[4]);
  std::cerr << "usage: bench_cuboid_side list | prepare NET FILE | first NET FILE | serve NET train|infer f32|bf16 FILE\n";
  return 2;
} catch (const std::exception& e) {
  std::cerr << "bench_cuboid_side: " << e.what() << '\n';
  return 1;
}
