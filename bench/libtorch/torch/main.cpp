// SPDX-License-Identifier: Apache-2.0
// LibTorch's side of the comparison; side.h says what it is asked.
#include <cstring>
#include <iostream>
#include <memory>
#include <optional>
#include <string>

#include "bench/libtorch/side.h"
#include "bench/libtorch/torch/cuda.h"
#include "bench/libtorch/torch/net.h"
#include "core/json.h"
#include "core/safetensors.h"

namespace {

const side::TorchEntry& entry_of(const std::string& name) {
  for (const auto& e : side::torch_nets())
    if (e.name == name) return e;
  cuboid::fail("no net ", name, "; 'list' shows them");
}

int list() {
  cuboid::Json all = cuboid::Json::array();
  for (const auto& e : side::torch_nets()) all.push_back(cuboid::Json::object({{"name", e.name}}));
  std::cout << all.dump() << '\n';
  return 0;
}

torch::Tensor to_torch(const cuboid::Tensor& t) {
  const bool labels = t.dtype() == cuboid::DType::i64;
  const torch::Tensor to =
      torch::empty(std::vector<int64_t>(t.shape().begin(), t.shape().end()), labels ? torch::kInt64 : torch::kFloat32);
  std::memcpy(to.data_ptr(), t.view().data, static_cast<std::size_t>(t.view().bytes()));
  return to;
}

cuboid::Tensor to_cuboid(torch::Tensor t) {
  t = t.detach().to(torch::kCPU, torch::kFloat32).contiguous();
  cuboid::Shape shape;
  for (const auto d : t.sizes()) shape.push_back(d);
  const cuboid::Tensor to = cuboid::empty(shape);
  std::memcpy(to.mutable_data<float>(), t.data_ptr<float>(), static_cast<std::size_t>(to.view().bytes()));
  return to;
}

torch::Tensor in_channels_last(const torch::Tensor& t) {
  if (t.dim() == 5) return t.contiguous(torch::MemoryFormat::ChannelsLast3d);
  return t.dim() == 4 ? t.contiguous(torch::MemoryFormat::ChannelsLast) : t;
}

struct Loaded {
  std::unique_ptr<side::TorchNet> net;
  side::Inputs inputs;
};

/// The net with the file's weights; inputs as the file has them, or their first sample.
Loaded load(const side::TorchEntry& entry, const std::string& file, bool channels_last, bool one_sample,
            torch::Device device = torch::kCPU) {
  if (const char* threads = std::getenv("OMP_NUM_THREADS")) torch::set_num_threads(std::atoi(threads));
  torch::NoGradGuard guard;
  Loaded loaded{entry.make(entry.name), {}};
  auto& module = loaded.net->module();
  auto parameters = module.named_parameters();
  auto buffers = module.named_buffers();
  const std::string prefix = side::input_prefix;
  for (const auto& [name, tensor] : cuboid::read_safetensors(file)) {
    if (name.starts_with(prefix)) {
      torch::Tensor t = to_torch(tensor).to(device);
      if (one_sample) t = t.slice(0, 0, 1).contiguous();
      loaded.inputs[name.substr(prefix.size())] = channels_last ? in_channels_last(t) : t;
    } else if (auto* p = parameters.find(name)) {
      p->copy_(to_torch(tensor));
    } else if (auto* b = buffers.find(name)) {
      b->copy_(to_torch(tensor));
    } else {
      cuboid::fail("no parameter ", name, " in the LibTorch net");
    }
  }
  module.to(device);
  if (channels_last)
    for (auto& p : module.parameters()) p.set_data(in_channels_last(p));
  return loaded;
}

int first(const side::TorchEntry& entry, const std::string& file) {
  Loaded loaded = load(entry, file, false, true);
  loaded.net->module().eval();
  const c10::InferenceMode guard;
  const torch::Tensor y = loaded.net->forward(loaded.inputs).contiguous();
  for (int64_t i = 0; i < y.numel(); ++i) std::cout << y.data_ptr<float>()[i] << ' ';
  std::cout << std::endl;
  return 0;
}

std::string about(const side::Variant& variant) {
  std::string config = at::show_config();
  for (char& c : config)
    if (c == '\n') c = ' ';
  cuboid::Json all =
      cuboid::Json::object({{"version", "LibTorch " TORCH_VERSION}, {"threads", torch::get_num_threads()}, {"config", config}});
  if (variant.cuda) all["device"] = side::device_name();
  return all.dump();
}

/// LibTorch's own on the CPU; one launch for all parameters on a GPU.
struct Optimiser {
  std::unique_ptr<torch::optim::SGD> own;
  std::unique_ptr<side::FusedSgd> fused;
  Optimiser(const std::vector<torch::Tensor>& parameters, bool cuda) {
    if (cuda) fused = std::make_unique<side::FusedSgd>(parameters, 1e-3, 0.9);
    else own = std::make_unique<torch::optim::SGD>(parameters, torch::optim::SGDOptions(1e-3).momentum(0.9));
  }
  /// Gradients are dropped, not filled with zeros that the next sweep would add to.
  void zero_grad() {
    if (fused) return fused->zero_grad();
    for (auto& group : own->param_groups())
      for (auto& p : group.params()) p.mutable_grad() = torch::Tensor();
  }
  void step() {
    if (own) own->step();
    else fused->step();
  }
};

int serve(const side::TorchEntry& entry, bool training, const side::Variant& variant, const std::string& file) {
  cuboid::check(!variant.cuda || torch::cuda::is_available(), "this LibTorch sees no CUDA device");
  cuboid::check(variant.cuda || !variant.bf16(), "bf16 is for cuda");
  std::optional<side::OwnStream> stream;
  if (variant.cuda) {
    side::use_the_fastest_kernels(variant.tf32());
    stream.emplace();
  }
  Loaded loaded = load(entry, file, variant.channels_last, false, variant.cuda ? torch::kCUDA : torch::kCPU);
  auto& module = loaded.net->module();
  Optimiser optimiser(module.parameters(), variant.cuda);
  module.train(training);
  const auto infer = [&] {
    const c10::InferenceMode guard;
    const side::Autocast autocast(variant.bf16());
    return loaded.net->forward(loaded.inputs);
  };
  const auto learn = [&] {
    optimiser.zero_grad();
    torch::Tensor outputs, loss;
    {
      const side::Autocast autocast(variant.bf16());
      outputs = loaded.net->forward(loaded.inputs);
      loss = loaded.net->loss(outputs, loaded.inputs);
    }
    loss.backward();
    return outputs;
  };
  const auto check = [&](const std::string& to) {
    cuboid::NamedTensors results;
    if (training) {
      for (auto& p : module.named_parameters())
        if (side::is_norm_bias(p.key())) {
          torch::NoGradGuard guard;
          p.value().add_(side::lift);
        }
      results.emplace_back("outputs", to_cuboid(learn()));
      for (const auto& p : module.named_parameters()) results.emplace_back(p.key(), to_cuboid(p.value().grad()));
    } else {
      results.emplace_back("outputs", to_cuboid(infer()));
    }
    cuboid::write_safetensors(to, results);
  };
  std::function<void()> step = [&] {
    if (!training) return void(infer());
    learn();
    optimiser.step();
  };
  side::Answers answers{.about = [&] { return about(variant); }, .check = check, .step = step};
  bool warm = false;  // what libraries try out at first is no part of the peak
  if (variant.cuda) {
    answers.step = [&] {
      if (!warm) {
        for (int i = 0; i < 3; ++i) step();
        side::synchronize();
        side::reset_peak();
        if (variant.graph) step = side::captured(step);
        warm = true;
      }
      step();
    };
    answers.wait = side::synchronize;
    answers.peak_kib = [] {
      const side::Peak p = side::peak();
      return std::pair(p.used_kib, p.reserved_kib);
    };
  }
  return side::serve(answers);
}

}  // namespace

int main(int argc, char** argv) try {
  const std::vector<std::string> words(argv + 1, argv + argc);
  const std::string command = words.empty() ? "" : words[0];
  if (command == "list" && words.size() == 1) return list();
  if (command == "first" && words.size() == 3) return first(entry_of(words[1]), words[2]);
  const bool right = words.size() == 5 && (words[2] == "train" || words[2] == "infer");
  if (command == "serve" && right) return serve(entry_of(words[1]), words[2] == "train", side::Variant::of(words[3]), words[4]);
  std::cerr << "usage: bench_torch_side list | first NET FILE |\n"
               "       serve NET train|infer contiguous|channels_last[:cuda:f32|tf32|bf16[:graph]] FILE\n";
  return 2;
} catch (const std::exception& e) {
  std::cerr << "bench_torch_side: " << e.what() << '\n';
  return 1;
}
