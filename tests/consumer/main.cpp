// SPDX-License-Identifier: Apache-2.0
// The net of the README's first screen, trained for a few steps by somebody else's project: tests/consumer is built against
// the installed library, outside this tree.
#include <cstdio>

#include "core/autograd.h"
#include "kernels/pool/pool.h"
#include "kernels/random/random.h"
#include "layers/conv.h"
#include "layers/linear.h"
#include "layers/loss.h"
#include "layers/norm.h"
#include "optim/optimiser.h"

using namespace cuboid;

struct CellNet : Module {
  Conv3d conv1{1, 16, {.kernel = 3, .stride = 2, .pad = 1, .bias = false}};
  BatchNorm norm1{16, {.activation = Activation::relu}};
  Conv3d conv2{16, 32, {.kernel = 3, .stride = 2, .pad = 1, .bias = false}};
  BatchNorm norm2{32, {.activation = Activation::relu}};
  Linear head{32, 4};
  FIELDS(conv1, norm1, conv2, norm2, head)  // the names in the weight file, as PyTorch would write them
  Tensor operator()(const Tensor& x) { return head(global_avg_pool(norm2(conv2(norm1(conv1(x)))))); }
};

double train(CellNet& net, const Tensor& cells, const Tensor& labels) {
  Adam adam(net.named_parameters(), {.lr = 1e-2});
  for (int step = 0; step < 20; ++step) {
    backward(cross_entropy(net(cells), labels));
    adam.step();
    adam.zero_grad();
  }
  return cross_entropy(net(cells), labels).item();
}

int main() {
  CellNet net;
  const Tensor cells = normal({8, 1, 32, 32, 32}, {.seed = 1}), labels = from_values<std::int64_t>({0, 1, 2, 3, 0, 1, 2, 3}, {8});
  const double loss = train(net, cells, labels);
  std::printf("loss %.4f\n", loss);
  return loss < 0.7 ? 0 : 1;  // it starts near log 4
}
