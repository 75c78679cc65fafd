// SPDX-License-Identifier: Apache-2.0
// bench_cuboid_side prepare FILE        writes weights, input and labels
// bench_cuboid_side train|infer FILE    serves the commands of side.h
#include <iostream>

#include "bench/libtorch/side.h"
#include "core/autograd.h"
#include "core/build_info.h"
#include "core/parallel.h"
#include "core/profiler.h"
#include "core/random.h"
#include "core/safetensors.h"
#include "kernels/random/random.h"
#include "layers/loss.h"
#include "nets/densenet.h"
#include "optim/optimiser.h"

using namespace cuboid;

namespace {

void prepare(const std::string& file) {
  DenseNet net(monai_densenet121());
  NamedTensors all = net.state_dict();
  all.emplace_back(side::input_name, uniform({8, 1, 64, 64, 64}, {.seed = 7}, 0, 1));
  all.emplace_back(side::labels_name, from_values<std::int64_t>({0, 1, 1, 0, 1, 0, 0, 1}, {8}));
  write_safetensors(file, all);
}

std::string about() {
  std::string text = join_text("Cuboid ", build::version, ", revision ", build::revision, ", ", build::compiler, ", ",
                               thread_count(), " threads");
  for (const auto& f : build::features)
    if (f.name == "onednn" && f.present) text += join_text(", oneDNN ", f.version);
  return text;
}

int serve(bool training, const std::string& file) {
  DenseNet net(monai_densenet121());
  NamedTensors state = read_safetensors(file);
  const Tensor labels = state.back().second;
  state.pop_back();
  const Tensor x = state.back().second;
  state.pop_back();
  net.load(state, file);
  state.clear();
  Sgd optimiser(net.named_parameters(), {.lr = 1e-3, .momentum = 0.9});
  net.train(training);
  const auto infer = [&] {
    const Recording off(false);
    return net(x);
  };
  const auto learn = [&] {
    optimiser.zero_grad();
    Tensor logits = net(x);
    const Tensor loss = cross_entropy(logits, labels);
    backward(loss);
    return logits.detach();
  };
  const auto step = [&] {
    if (!training) return void(infer());
    learn();
    optimiser.step();
  };
  if (std::getenv("CUBOID_BENCH_PROFILE")) {  // where the time goes, instead of serving
    profiler::enable(true);
    for (int i = 0; i < 6; ++i) {
      if (i == 1) profiler::clear();
      step();
    }
    profiler::write_table(std::cout);
    return 0;
  }
  return side::serve({.about = about,
                      .check =
                          [&](const std::string& to) {
                            NamedTensors results;
                            if (training) {
                              for (auto& [name, p] : net.named_parameters())
                                if (side::is_norm_bias(name)) add_into(p.detach(), full(p.shape(), side::lift));
                              results.emplace_back("logits", learn());
                              for (auto& [name, p] : net.named_parameters()) results.emplace_back(name, p.grad());
                            } else {
                              results.emplace_back("logits", infer());
                            }
                            write_safetensors(to, results);
                          },
                      .step = step});
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string mode = argc == 3 ? argv[1] : "";
  if (mode == "prepare") return prepare(argv[2]), 0;
  if (mode == "train" || mode == "infer") return serve(mode == "train", argv[2]);
  std::cerr << "usage: bench_cuboid_side prepare|train|infer FILE\n";
  return 2;
} catch (const std::exception& e) {
  std::cerr << "bench_cuboid_side: " << e.what() << '\n';
  return 1;
}
