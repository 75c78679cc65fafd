// SPDX-License-Identifier: Apache-2.0
// Cross-entropy on the device: one block and many, and what becomes of labels.
#include "layers/loss.h"

#include "core/autograd.h"
#include "core/cuda.h"
#include "kernels/dispatch.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

struct CudaLoss : ::testing::Test {
  void SetUp() override {
    if (!cuda::available()) GTEST_SKIP() << "no CUDA device";
  }
};

Tensor labels_of(const Shape& logits) {
  std::vector<std::int64_t> labels;
  test::Random dice(3);
  for (std::int64_t i = 0; i < logits[0]; ++i) labels.push_back(dice.integer(0, logits[1] - 1));
  return from_values(labels, {logits[0]});
}

// 4 samples of 64 to 256 classes per block, 1024 of one class: one block, one and a sample, several.
TEST_F(CudaLoss, IsThatOfTheCpu) {
  const Shape shapes[] = {{1, 1}, {4, 256}, {5, 256}, {3, 700}, {16, 64}, {17, 64}, {1024, 1}, {1025, 1}, {513, 2}, {4099, 5}};
  for (const Shape& shape : shapes)
    for (const DType dtype : {DType::f32, DType::bf16, DType::f64, DType::f16})
      for (const bool weighted : {false, true})
        for (const Reduction reduction : {Reduction::mean, Reduction::sum, Reduction::none}) {
          if (shape[0] > 2000 && dtype != DType::f32) continue;
          CrossEntropyOptions o{.label_smoothing = weighted ? 0.1 : 0, .reduction = reduction};
          if (weighted) o.class_weights = random({shape[1]}, {.seed = 2, .lo = 0.5, .hi = 2});
          const Tensor labels = labels_of(shape), x = random(shape, {.dtype = dtype, .lo = -3, .hi = 3});
          Tensor loss[2], slope[2];
          for (const Device device : {Device::cpu, Device::cuda}) {
            const auto i = static_cast<int>(device);
            const Tensor leaf = to(x, device).detach().requires_grad(true);
            loss[i] = cross_entropy(leaf, to(labels, device), o);
            slope[i] = grad(loss[i], {leaf}, {.seed = to(full(loss[i].shape(), 0.7, {.dtype = loss[i].dtype()}), device)})[0];
          }
          const std::string what = join_text(shape, dtype, weighted, static_cast<int>(reduction));
          EXPECT_EQ(loss[1].device(), Device::cuda);
          EXPECT_TRUE(close(loss[1], loss[0], {dtype == DType::f64 ? 1e-12 : 3e-6, 1e-6})) << what;
          Tolerance t = tolerance(dtype);
          if (dtype == DType::f32) t = {1e-5, 1e-6};
          EXPECT_TRUE(close(slope[1], slope[0], t)) << what;
        }
}

TEST_F(CudaLoss, LabelsAndWeightsMayStayBehind) {
  const Tensor x = to(random({6, 3}, {.dtype = DType::f32}), Device::cuda), labels = labels_of({6, 3});
  const Tensor weights = random({3}, {.lo = 1, .hi = 2});
  const Tensor here = cross_entropy(x, labels, {.class_weights = weights});
  const Tensor there = cross_entropy(x, to(labels, Device::cuda), {.class_weights = to(weights, Device::cuda)});
  EXPECT_EQ(here.item(), there.item());
}

TEST_F(CudaLoss, WrongLabels) {
  for (const std::int64_t wrong : {-1, 3}) {
    const Tensor labels = from_values<std::int64_t>({0, 1, wrong, 2}, {4});
    const Tensor x = to(random({4, 3}, {.dtype = DType::f32}), Device::cuda).detach().requires_grad(true);
    EXPECT_THROW(cross_entropy(x, labels), DataError);
    for (const char* row : {"", "cross_entropy=reference,cross_entropy_grad=reference"}) {
      const dispatch::Forced forced(row);
      const Tensor losses = cross_entropy(x, to(labels, Device::cuda), {.reduction = Reduction::none});
      const auto each = losses.to_vector();
      for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(std::isnan(each[i]), i == 2) << i;
      const auto slopes = grad(losses, {x}, {.seed = full({4}, 1, {.device = Device::cuda})})[0].to_vector();
      for (std::size_t i = 0; i < 12; ++i) EXPECT_EQ(std::isnan(slopes[i]), i / 3 == 2) << i;
      EXPECT_TRUE(std::isnan(cross_entropy(x, to(labels, Device::cuda)).item()));
    }
  }
}

}  // namespace
