// SPDX-License-Identifier: Apache-2.0
// LibTorch's side of the comparison; side.h says what it is asked.
#include <cstring>
#include <iostream>
#include <string>

#include "bench/libtorch/side.h"
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
  t = t.detach().contiguous();
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
Loaded load(const side::TorchEntry& entry, const std::string& file, bool channels_last, bool one_sample) {
  if (const char* threads = std::getenv("OMP_NUM_THREADS")) torch::set_num_threads(std::atoi(threads));
  torch::NoGradGuard guard;
  Loaded loaded{entry.make(entry.name), {}};
  auto& module = loaded.net->module();
  auto parameters = module.named_parameters();
  auto buffers = module.named_buffers();
  const std::string prefix = side::input_prefix;
  for (const auto& [name, tensor] : cuboid::read_safetensors(file)) {
    if (name.starts_with(prefix)) {
      torch::Tensor t = to_torch(tensor);
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

std::string about() {
  std::string config = at::show_config();
  for (char& c : config)
    if (c == '\n') c = ' ';
  return cuboid::Json::object({{"version", "LibTorch " TORCH_VERSION}, {"threads", torch::get_num_threads()}, {"config", config}})
      .dump();
}

int serve(const side::TorchEntry& entry, bool training, bool channels_last, const std::string& file) {
  Loaded loaded = load(entry, file, channels_last, false);
  auto& module = loaded.net->module();
  torch::optim::SGD optimiser(module.parameters(), torch::optim::SGDOptions(1e-3).momentum(0.9));
  module.train(training);
  const auto infer = [&] {
    const c10::InferenceMode guard;
    return loaded.net->forward(loaded.inputs);
  };
  const auto learn = [&] {
    optimiser.zero_grad();
    const torch::Tensor outputs = loaded.net->forward(loaded.inputs);
    loaded.net->loss(outputs, loaded.inputs).backward();
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
  return side::serve({.about = about, .check = check, .step = [&] {
                        if (!training) return void(infer());
                        learn();
                        optimiser.step();
                      }});
}

}  // namespace

int main(int argc, char** argv) try {
  const std::vector<std::string> words(argv + 1, argv + argc);
  const std::string command = words.empty() ? "" : words[0];
  if (command == "list" && words.size() == 1) return list();
  if (command == "first" && words.size() == 3) return first(entry_of(words[1]), words[2]);
  const bool right = words.size() == 5 && (words[2] == "train" || words[2] == "infer") &&
                     (words[3] == "contiguous" || words[3] == "channels_last");
  if (command == "serve" && right) return serve(entry_of(words[1]), words[2] == "train", words[3] == "channels_last", words[4]);
  std::cerr << "usage: bench_torch_side list | first NET FILE | serve NET train|infer contiguous|channels_last FILE\n";
  return 2;
} catch (const std::exception& e) {
  std::cerr << "bench_torch_side: " << e.what() << '\n';
  return 1;
}
