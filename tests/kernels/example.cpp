// SPDX-License-Identifier: Apache-2.0
// The op that kernels/README.md walks through, compiled and tested; the last test keeps the two texts together.
#include <cmath>
#include <fstream>

#include "core/strided.h"
#include "kernels/dispatch.h"
#include "kernels/pointwise/pointwise.h"
#include "tests/gradcheck.h"

using namespace cuboid;
using namespace cuboid::test;

namespace example {

// [kernels]
using Log1pExp = void(const View& x, const Out& y);

/// Any floating dtype, any strides; computed in f64.
void log1pexp_reference(const View& x, const Out& y) {
  visit_floating(x.dtype, "log1pexp", [&]<class T>() {
    Odometer<2> at(x.shape, {x.strides, y.strides}, 0);
    for (std::int64_t i = 0; i < x.size(); ++i, at.next()) {
      const double v = x.as<T>()[at.offsets()[0]];
      y.as<T>()[at.offsets()[1]] = static_cast<T>(std::max(v, 0.) + std::log1p(std::exp(-std::abs(v))));
    }
  });
}

/// f32 that lies densely; `parallel_ranges` cuts by size alone, so the thread count changes nothing.
bool dense(const View& x, const Out& y) { return x.dtype == DType::f32 && x.is(Layout::contiguous) && y.is(Layout::contiguous); }
void log1pexp_dense(const View& x, const Out& y) {
  const float* from = x.as<float>();
  float* to = y.as<float>();
  parallel_ranges(x.size(), 1 << 14, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) to[i] = std::max(from[i], 0.f) + std::log1p(std::exp(-std::abs(from[i])));
  });
}
// [table]
constexpr Impl<Log1pExp> log1pexp_rows[] = {
    // the first row that fits wins; the last of a device is its reference
    {"dense", Device::cpu, dense, log1pexp_dense},
    {"reference", Device::cpu, always, log1pexp_reference},
};
// [op]
Tensor log1pexp(const Tensor& x) {
  check(is_floating(x.dtype()), "log1pexp: needs a floating type, got ", x.dtype(), "; cast it");
  const Tensor y = empty_like(x);
  if (y.size() > 0) run({"log1pexp"}, log1pexp_rows, x.view(), y.mutate());
  return record("log1pexp", y, {x}, [x](const Tensor& g, const Step&) { return Tensors{g * sigmoid(x)}; });
}
// [test]
TEST(Example, EveryRowAndBothDerivatives) {
  if (test_device() != Device::cpu) GTEST_SKIP() << "the table has rows for the CPU only";
  for (const char* choice : {"", "log1pexp=reference"})
    for (const Lies way : every_way) {
      const dispatch::Forced forced(choice);
      const Tensor x = laid(random({2, 3, 5}, {.dtype = DType::f32, .lo = -5, .hi = 5}), way);
      EXPECT_TRUE(close(log1pexp(x), log(exp(cast(x, DType::f64)) + 1), tolerance(DType::f32))) << choice << name_of(way);
    }
  gradcheck([](const Tensors& in) { return log1pexp(in[0]); }, {random({2, 3, 5})}, {.second_order = true});
}
// [end]

TEST(Example, IsTheOneInTheReadme) {
  const auto lines_of = [](const char* path) {
    std::ifstream file(path);
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    return lines;
  };
  std::string source, wanted;
  for (const auto& line : lines_of("tests/kernels/example.cpp")) source += line + '\n';
  std::int64_t blocks = 0;
  bool inside = false;
  for (const auto& line : lines_of("kernels/README.md")) {
    if (inside && line == "```") {
      EXPECT_NE(source.find(wanted), std::string::npos) << wanted;
      inside = false;
      ++blocks;
    } else if (line == "```cpp") {
      inside = true;
      wanted.clear();
    } else if (inside) {
      wanted += line + '\n';
    }
  }
  EXPECT_EQ(blocks, 4);
}

}  // namespace example
