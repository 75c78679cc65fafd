// SPDX-License-Identifier: Apache-2.0
// The least a prediction needs: bench_predict NET prepare|predict FILE. Used by bench_startup.
#include <iostream>

#include "core/autograd.h"
#include "core/safetensors.h"
#include "kernels/random/random.h"
#include "layers/init.h"
#include "nets/densenet.h"

using namespace cuboid;

int main(int argc, char** argv) try {
  check(argc == 4, "usage: bench_predict NET prepare|predict FILE");
  const std::string file = argv[3];
  if (std::string(argv[2]) == "prepare") {
    DenseNet net(densenet_options(argv[1]));
    write_safetensors(file, net.state_dict());
    return 0;
  }
  const NoInit loaded_next;
  DenseNet net(densenet_options(argv[1]));
  net.load(read_safetensors(file), file);
  net.eval();
  const Recording off(false);
  for (const double logit : net(uniform({1, 1, 64, 64, 64}, {.seed = 7}, 0, 1)).to_vector()) std::cout << logit << '\n';
} catch (const std::exception& e) {
  std::cerr << e.what() << '\n';
  return 1;
}
