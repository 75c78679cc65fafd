// SPDX-License-Identifier: Apache-2.0
#include "kernels/dispatch.h"

#include <gtest/gtest.h>

using namespace cuboid;

namespace {

void twice(const View& x, const Out& y) {
  for (std::int64_t i = 0; i < x.size(); ++i) y.as<float>()[i] = 2 * x.as<float>()[i];
}
void twice_by_adding(const View& x, const Out& y) {
  for (std::int64_t i = 0; i < x.size(); ++i) y.as<float>()[i] = x.as<float>()[i] + x.as<float>()[i];
}
using Twice = void(const View&, const Out&);
constexpr Impl<Twice> rows[] = {
    {"adding", Device::cpu, [](const View& x, const Out&) { return x.size() > 1; }, twice_by_adding},
    {"reference", Device::cpu, always, twice},
};

// Rows of the CPU: these tests are about the choice, which is the same on every device.
std::string chosen(std::int64_t size) {
  profiler::enable(true);
  profiler::clear();
  const Tensor x = full({size}, 3), y = empty({size});
  run({"twice"}, rows, x.view(), y.mutate());
  profiler::enable(false);
  EXPECT_EQ(y.to_vector()[0], 6);
  return profiler::events().back().impl;
}

TEST(Dispatch, FirstRowThatFitsWins) {
  EXPECT_EQ(chosen(4), "adding");
  EXPECT_EQ(chosen(1), "reference");
}

TEST(Dispatch, ARowCanBeForced) {
  const dispatch::Forced forced("other=x,twice=reference");
  EXPECT_EQ(chosen(4), "reference");
}

}  // namespace
