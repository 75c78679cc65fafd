// SPDX-License-Identifier: Apache-2.0
// Lists of tensors in one launch: more tensors than one table takes, tensors of a chunk and one more element, memory off
// the packet grid; the same bits as tensor by tensor.
#include "kernels/update/update.h"

#include "core/cuda.h"
#include "kernels/dispatch.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

struct CudaUpdate : ::testing::Test {
  void SetUp() override {
    if (!cuda::available()) GTEST_SKIP() << "no CUDA device";
  }
};

enum class Sizes { small_table, large_table, two_tables };

std::vector<Shape> shapes_of(Sizes sizes) {
  if (sizes == Sizes::small_table) return {{1}, {4}, {0}, {3}, {4095}, {4096}, {4097}, {3, 5, 7}, {12289}, {2, 2}};
  std::vector<Shape> shapes;
  for (int i = 0; i < (sizes == Sizes::large_table ? 40 : 520); ++i) shapes.push_back({1 + i % 7, 1 + i % 3});
  shapes.push_back({5000});
  return shapes;
}

Tensors lists(Sizes sizes, DType dtype, Device device, std::uint64_t seed, double lo = -1) {
  Tensors list;
  for (const Shape& shape : shapes_of(sizes))
    list.push_back(to(random(shape, {.seed = ++seed, .dtype = dtype, .lo = lo}), device));
  return list;
}

struct Operands {
  Tensors p, g, a, b;
  Operands(Sizes sizes, DType dtype, Device device)
      : p(lists(sizes, dtype, device, 1)),
        g(lists(sizes, dtype, device, 1000)),
        a(lists(sizes, dtype, device, 2000)),
        b(lists(sizes, dtype, device, 3000, 0)) {}
};

const std::pair<const char*, std::function<void(Operands&)>> updates[] = {
    {"sgd", [](Operands& o) { sgd_update(o.p, o.g, {}, {.lr = 0.1, .weight_decay = 0.2}); }},
    {"momentum", [](Operands& o) { sgd_update(o.p, o.g, o.a, {.lr = 0.1, .momentum = 0.9, .nesterov = true}); }},
    {"adam", [](Operands& o) { adam_update(o.p, o.g, o.a, o.b, {.lr = 0.1, .weight_decay = 0.2, .t = 3}); }},
    {"adamw",
     [](Operands& o) {
       adam_update(o.p, o.g, o.a, o.b, {.lr = 0.1, .weight_decay = 0.2, .epsilon = Epsilon::inside, .decoupled = true, .t = 2});
     }},
    {"average", [](Operands& o) { average_update(o.p, o.g, 0.9); }},
    {"scale", [](Operands& o) { o.p = scaled(o.g, 0.3); }},
    {"clip", [](Operands& o) { o.p = clipped(o.g, 0.5).tensors; }},
};

TEST_F(CudaUpdate, IsThatOfTheCpu) {
  for (const Sizes sizes : {Sizes::small_table, Sizes::large_table, Sizes::two_tables})
    for (const DType dtype : {DType::f32, DType::f64})
      for (const auto& [name, update] : updates)
        for (const char* row : {"chunks", "reference"}) {
          Operands expected(sizes, dtype, Device::cpu), got(sizes, dtype, Device::cuda);
          update(expected);
          const std::string op = std::string(name) == "momentum" ? "sgd" : std::string(name) == "adamw" ? "adam" : name;
          const dispatch::Forced forced(op + "=" + row);
          update(got);
          const Tolerance t = dtype == DType::f32 ? Tolerance{3e-6, 1e-6} : Tolerance{1e-12, 1e-13};
          for (std::size_t k = 0; k < got.p.size(); ++k) {
            ASSERT_EQ(got.p[k].device(), Device::cuda);
            const std::string what = join_text(name, ' ', row, ' ', k, dtype, got.p[k].shape());
            ASSERT_TRUE(close(got.p[k], expected.p[k], t)) << what;
            ASSERT_TRUE(close(got.a[k], expected.a[k], t)) << what;
            ASSERT_TRUE(close(got.b[k], expected.b[k], t)) << what;
          }
        }
}

TEST_F(CudaUpdate, NormsOfLists) {
  for (const Sizes sizes : {Sizes::small_table, Sizes::two_tables})
    for (const DType dtype : {DType::f32, DType::f64})
      for (const char* row : {"chunks", "reference"}) {
        const dispatch::Forced forced(join_text("global_norm=", row));
        const Tensors there = lists(sizes, dtype, Device::cuda, 5);
        const Tensor norm = global_norm(there);
        EXPECT_EQ(norm.device(), Device::cuda);
        double squares = 0;
        for (const Tensor& t : there)
          for (const double v : t.to_vector()) squares += v * v;
        EXPECT_NEAR(norm.item() / std::sqrt(squares), 1, 1e-13);
        EXPECT_EQ(global_norm(there).item(), norm.item());
      }
  const Tensors broken{full({3}, std::nan(""), {.device = Device::cuda}), full({2}, 9, {.device = Device::cuda})};
  const Clipped c = clipped(broken, 1);
  EXPECT_TRUE(std::isnan(c.norm.item()));
  EXPECT_EQ(c.tensors[1].to_vector(), (std::vector<double>{9, 9})) << "what is not a number limits nothing";
}

TEST_F(CudaUpdate, MemoryOffThePacketGrid) {
  const Shape shape{13};
  const auto odd = [&](std::uint64_t seed) {
    const Tensor room = zeros({20}, {.device = Device::cuda});
    const Tensor t(room.storage(), 3, shape, {1}, DType::f32);
    copy(random(shape, {.seed = seed, .dtype = DType::f32}), t);
    return t;
  };
  const Tensor p = odd(1), g = odd(2), q = to(p, Device::cpu);
  sgd_update({p}, {g}, {}, {.lr = 0.5});
  sgd_update({q}, {to(g, Device::cpu)}, {}, {.lr = 0.5});
  EXPECT_TRUE(close(p, q, {1e-6, 1e-7}));
}

}  // namespace
