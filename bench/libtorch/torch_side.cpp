// SPDX-License-Identifier: Apache-2.0
// bench_torch_side train|infer contiguous|channels_last FILE    serves the commands of side.h with LibTorch
#include <cstring>
#include <iostream>
#include <string>

#include "bench/libtorch/side.h"
#include "bench/libtorch/torch_densenet.h"
#include "core/safetensors.h"

namespace {

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

int serve(bool training, bool channels_last, const std::string& file) {
  if (const char* threads = std::getenv("OMP_NUM_THREADS")) torch::set_num_threads(std::atoi(threads));
  side::DenseNet net;
  torch::Tensor x, labels;
  {
    torch::NoGradGuard guard;
    auto parameters = net->named_parameters();
    auto buffers = net->named_buffers();
    for (const auto& [name, tensor] : cuboid::read_safetensors(file)) {
      if (name == side::input_name) x = to_torch(tensor);
      else if (name == side::labels_name) labels = to_torch(tensor);
      else if (auto* p = parameters.find(name)) p->copy_(to_torch(tensor));
      else if (auto* b = buffers.find(name)) b->copy_(to_torch(tensor));
      else cuboid::fail("no parameter ", name, " in the LibTorch net");
    }
    if (channels_last) {
      x = x.contiguous(torch::MemoryFormat::ChannelsLast3d);
      for (auto& p : net->parameters())
        if (p.dim() == 5) p.set_data(p.contiguous(torch::MemoryFormat::ChannelsLast3d));
    }
  }
  torch::optim::SGD optimiser(net->parameters(), torch::optim::SGDOptions(1e-3).momentum(0.9));
  net->train(training);
  const auto infer = [&] {
    torch::NoGradGuard guard;
    return net(x);
  };
  const auto learn = [&] {
    optimiser.zero_grad();
    const torch::Tensor logits = net(x);
    torch::nn::functional::cross_entropy(logits, labels).backward();
    return logits;
  };
  return side::serve(
      {.about = [&] { return "LibTorch " TORCH_VERSION ", " + std::to_string(torch::get_num_threads()) + " threads"; },
       .check =
           [&](const std::string& to) {
             cuboid::NamedTensors results;
             if (training) {
               for (auto& p : net->named_parameters())
                 if (side::is_norm_bias(p.key())) {
                   torch::NoGradGuard guard;
                   p.value().add_(side::lift);
                 }
               results.emplace_back("logits", to_cuboid(learn()));
               for (const auto& p : net->named_parameters()) results.emplace_back(p.key(), to_cuboid(p.value().grad()));
             } else {
               results.emplace_back("logits", to_cuboid(infer()));
             }
             cuboid::write_safetensors(to, results);
           },
       .step =
           [&] {
             if (!training) return void(infer());
             learn();
             optimiser.step();
           }});
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string mode = argc == 4 ? argv[1] : "", layout = argc == 4 ? argv[2] : "";
  if ((mode == "train" || mode == "infer") && (layout == "contiguous" || layout == "channels_last"))
    return serve(mode == "train", layout == "channels_last", argv[3]);
  std::cerr << "usage: bench_torch_side train|infer contiguous|channels_last FILE\n";
  return 2;
} catch (const std::exception& e) {
  std::cerr << "bench_torch_side: " << e.what() << '\n';
  return 1;
}
