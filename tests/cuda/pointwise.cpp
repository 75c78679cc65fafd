// SPDX-License-Identifier: Apache-2.0
// Every elementwise op on the device against the plain loops of the CPU: both rows, every way of lying in memory, and which row
// is chosen for it.
#include "kernels/pointwise/pointwise.h"

#include "core/cuda.h"
#include "kernels/pointwise/tables.h"
#include "kernels/views/views.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

struct CudaPointwise : ::testing::Test {
  void SetUp() override {
    if (!cuda::available()) GTEST_SKIP() << "no CUDA device";
  }
};

// ---- ops ---------------------------------------------------------------------------------------

struct Op {
  const char* name;
  Tensor (*f)(const Tensor& a, const Tensor& b);  // b: of one op only a second operand, of derivatives the gradient coming in
  bool integers = false;
  double lo = -3, hi = 3;
};

template <Tensor (*f)(const Tensor&)>
Tensor slope(const Tensor& x, const Tensor& g) {
  const Tensor leaf = x.detach().requires_grad(true);
  return grad(f(leaf), {leaf}, {.seed = g})[0];
}
Tensor clamped(const Tensor& x) { return clamp(x, -1, 0.5); }

const Op ops[] = {
    {"add", [](auto& a, auto& b) { return a + b; }, true},
    {"sub", [](auto& a, auto& b) { return a - b; }, true},
    {"mul", [](auto& a, auto& b) { return a * b; }, true},
    {"div", [](auto& a, auto& b) { return b / a; }, true, 1, 9},
    {"leaky_relu_grad", [](auto& a, auto& b) { return leaky_relu_grad(b, a, 0.2); }},
    {"add", [](auto& a, auto&) { return a + 2; }, true},
    {"sub", [](auto& a, auto&) { return 2 - a; }, true},
    {"mul", [](auto& a, auto&) { return a * 3; }, true},
    {"div", [](auto& a, auto&) { return a / 3; }, true},
    {"div", [](auto& a, auto&) { return 7 / a; }, true, 1, 9},
    {"neg", [](auto& a, auto&) { return -a; }, true},
    {"square", [](auto& a, auto&) { return square(a); }, true},
    {"abs", [](auto& a, auto&) { return abs(a); }, true},
    {"sign", [](auto& a, auto&) { return sign(a); }, true},
    {"clamp", [](auto& a, auto&) { return clamped(a); }, true},
    {"relu", [](auto& a, auto&) { return relu(a); }, true},
    {"leaky_relu", [](auto& a, auto&) { return leaky_relu(a, 0.2); }},
    {"sqrt", [](auto& a, auto&) { return sqrt(a); }, false, 0.1, 5},
    {"rsqrt", [](auto& a, auto&) { return rsqrt(a); }, false, 0.1, 5},
    {"exp", [](auto& a, auto&) { return exp(a); }},
    {"log", [](auto& a, auto&) { return log(a); }, false, 0.1, 5},
    {"pow", [](auto& a, auto&) { return pow(a, 2.5); }, false, 0.1, 5},
    {"tanh", [](auto& a, auto&) { return tanh(a); }},
    {"sigmoid", [](auto& a, auto&) { return sigmoid(a); }},
    {"silu", [](auto& a, auto&) { return silu(a); }},
    {"softplus", [](auto& a, auto&) { return softplus(a); }},
    {"clamp_grad", slope<clamped>},
    {"sigmoid_grad", slope<sigmoid>},
    {"tanh_grad", slope<tanh>},
    {"silu_grad", slope<silu>},
    {"softplus_grad", slope<softplus>},
};

/// One row for all of them.
std::string all(const char* row) {
  std::string text;
  for (const Op& op : ops) text += join_text(text.empty() ? "" : ",", op.name, "=", row);
  return text;
}
Tensor expected_of(const Op& op, const Tensor& a, const Tensor& b) {
  const dispatch::Forced reference(all("reference"));
  return op.f(to(a, Device::cpu), to(b, Device::cpu));
}

// One element, a packet of f32 and of the 16-bit floats, one more and one less, a block of packets and one more, several blocks.
const Shape dense_shapes[] = {{}, {1}, {3}, {4}, {5}, {7}, {2, 4}, {9}, {31, 3}, {1024}, {1025}, {2, 2, 521}, {3, 2731}};

TEST_F(CudaPointwise, EveryOpAgreesWithTheCpu) {
  for (const Op& op : ops)
    for (const DType dtype : {DType::f32, DType::bf16, DType::f16, DType::f64})
      for (const Shape& shape : dense_shapes) {
        const Tensor a = to(random(shape, {.dtype = dtype, .lo = op.lo, .hi = op.hi}), Device::cuda);
        const Tensor b = to(random(shape, {.seed = 2, .dtype = dtype}), Device::cuda);
        const Tensor expected = expected_of(op, a, b);
        for (const char* row : {"packets", "reference"}) {
          if (dtype == DType::f64 && row == std::string("packets")) continue;
          const dispatch::Forced forced(all(row));
          const Tensor y = op.f(a, b);
          EXPECT_EQ(y.device(), Device::cuda);
          EXPECT_TRUE(close(y, expected, tolerance(dtype))) << op.name << dtype << shape << row;
        }
      }
}

TEST_F(CudaPointwise, IntegersAgreeWithTheCpu) {
  for (const Op& op : ops)
    for (const DType dtype : {DType::i64, DType::i32, DType::u8}) {
      if (!op.integers) continue;
      for (const Lies way : every_way) {
        const RandomOptions whole{.dtype = dtype, .lo = op.lo < 0 && dtype != DType::u8 ? -9. : 1., .hi = 9, .integers = true};
        const Tensor a = laid(to(random({3, 5, 70}, whole), Device::cuda), way);
        const Tensor b =
            laid(to(random({3, 5, 70}, {.seed = 2, .dtype = dtype, .lo = 1, .hi = 99, .integers = true}), Device::cuda), way);
        EXPECT_TRUE(equal(op.f(a, b), expected_of(op, a, b))) << op.name << dtype << name_of(way);
      }
    }
}

// ---- which row, and broadcasting -----------------------------------------------------------------

/// The row that `f` ran last.
template <class F>
std::string row_of(F&& f) {
  profiler::enable(true);
  profiler::clear();
  f();
  profiler::enable(false);
  return profiler::events().back().impl;
}

struct Pair {
  const char* what;
  Tensor a, b;
  bool packets;
};
/// a and b lie on the device; `channels` is whole packets.
std::vector<Pair> pairs(DType dtype, std::int64_t channels) {
  const auto made = [&](const Shape& shape, std::uint64_t seed = 1) {
    return to(random(shape, {.seed = seed, .dtype = dtype, .lo = 0.5, .hi = 2}), Device::cuda);
  };
  const auto last = [&](const Tensor& x) { return laid(x, Lies::channels_last); };
  const Shape shape{2, channels, 3, 7};
  const Tensor a = last(made(shape)), plain = made({2, 3, 4, 10}), slab = last(made({2, 3 * channels, 3, 7}));
  const Tensor odd = last(made({3, 5, 2, 7})), off = slice(made({65}), 0, 1, 64);
  return {
      {"both channels-last", a, last(made(shape, 2)), true},
      {"a number per channel", a, made({1, channels, 1, 1}), true},
      {"a number per channel, on the left", made({1, channels, 1, 1}), a, true},
      {"a number per sample", a, made({2, 1, 1, 1}), true},
      {"a number per sample and channel", a, made({2, channels, 1, 1}), true},
      {"one number", a, made({}), true},
      {"a picture for all channels", a, made({1, 1, 3, 7}), true},
      {"channels of a slab", slice(slab, 1, channels, channels), a, true},
      {"channels of a slab, both", slice(slab, 1, channels, channels), slice(slab, 1, 2 * channels, channels), true},
      {"part of the channels of a slab", slice(slab, 1, channels, channels + 1), slice(slab, 1, 0, channels + 1), false},
      {"channels from within a packet", slice(slab, 1, 1, channels), a, false},
      {"planes, a number per channel", plain, made({3, 1, 1}), true},
      {"a number per line", plain, made({2, 3, 4, 1}), false},
      {"few channels", odd, made({5, 1, 1}), false},
      {"two layouts", a, made(shape, 2), false},
      {"backwards", permute(a, {3, 2, 1, 0}), permute(a, {3, 2, 1, 0}), true},
      {"off the boundary", off, off, false},
      {"columns of a matrix", slice(made({16, 40}), 1, 8, 21), slice(made({16, 40}), 1, 16, 21), false},
      {"every second", slice(made({64}), 0, 0, 32, 2), made({32}), false},
      {"repeated", made({64}), slice(made({1, 1}), 0, 0, 1), true},
  };
}

TEST_F(CudaPointwise, BroadcastsAndTakesPacketsWhereItCan) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16})
    for (const Pair& p : pairs(dtype, dtype == DType::f32 ? 12 : 24)) {
      SCOPED_TRACE(join_text(dtype, " ", p.what));
      const Tensor a = to(p.a, Device::cpu), b = to(p.b, Device::cpu);
      Tensor y;
      const std::string row = row_of([&] { y = p.a - p.b; });
      EXPECT_EQ(row, p.packets ? "packets" : "reference");
      EXPECT_TRUE(close(y, a - b, tolerance(dtype)));
      const dispatch::Forced reference(all("reference"));
      EXPECT_TRUE(close(p.a - p.b, a - b, tolerance(dtype)));
    }
}

TEST_F(CudaPointwise, OneOperandInEveryOrderOfMemory) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const Lies way : every_way)
      for (const Shape& shape : {Shape{2, 16, 3, 5}, Shape{3, 7, 11}, Shape{1, 8, 2, 2, 2}, Shape{5, 1, 3, 3}}) {
        const Tensor x = laid(to(random(shape, {.dtype = dtype}), Device::cuda), way);
        Tensor y;
        EXPECT_EQ(row_of([&] { y = silu(x); }), way == Lies::view ? "reference" : "packets");
        EXPECT_TRUE(close(y, silu(to(x, Device::cpu)), tolerance(dtype))) << dtype << shape << name_of(way);
      }
}

// More jobs than threads: the kernels stride.
TEST_F(CudaPointwise, MoreElementsThanThreads) {
  const std::int64_t threads = 1 << 20;
  const Tensor x = to(random({4 * threads + 5000 + 3}, {.dtype = DType::f32}), Device::cuda);
  EXPECT_TRUE(equal(x + 1, to(x, Device::cpu) + 1));
  const Tensor odd = slice(to(random({2 * threads + 1000}, {.dtype = DType::bf16}), Device::cuda), 0, 1, threads + 300);
  EXPECT_TRUE(equal(relu(odd), relu(to(odd, Device::cpu))));
}

// Results go between other things: rows of 9 elements, 16 apart.
TEST_F(CudaPointwise, LeavesTheGapsAlone) {
  for (const DType dtype : {DType::f32, DType::f16})
    for (const char* row : {"relu=packets", "relu=reference"}) {
      const Tensor room = full({6, 16}, 77, {.dtype = dtype, .device = Device::cuda}), expected = to(room, Device::cpu);
      const Tensor x = slice(to(random({6, 16}, {.dtype = dtype}), Device::cuda), 1, 0, 9);
      {
        const dispatch::Forced forced(row);
        run({"relu"}, pointwise::unary_rows<pointwise::Relu>, x.view(), slice(room, 1, 0, 9).mutate(), pointwise::Constants{});
      }
      copy(relu(to(x, Device::cpu)), slice(expected, 1, 0, 9));
      EXPECT_TRUE(equal(room, expected)) << dtype << row;
    }
}

TEST_F(CudaPointwise, NotANumberStaysOne) {
  const double nan = std::nan(""), inf = HUGE_VAL;
  const Tensor x = to(from_values<double>({nan, inf, -inf, -0., 0., nan, inf, 1.}, {8}), Device::cuda);
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16, DType::f64})
    for (const Op& op : ops) {
      const Tensor a = cast(x, dtype), b = cast(x + 2, dtype);
      EXPECT_TRUE(close(op.f(a, b), expected_of(op, a, b), tolerance(dtype))) << op.name << dtype;
    }
}

TEST_F(CudaPointwise, OperandsOfTwoDevicesAreAnError) {
  const Tensor x = zeros({2});
  EXPECT_EQ(error_of([&] { x + to(x, Device::cuda); }), "add: tensors on cpu and cuda");
}

}  // namespace
