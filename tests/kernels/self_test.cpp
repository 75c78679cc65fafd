// SPDX-License-Identifier: Apache-2.0
#include "kernels/self_test.h"

#include <algorithm>
#include <iostream>

#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

TEST(SelfTest, EveryRowOfThisDevicePasses) {
  int ran = 0;
  for (const auto& row : self_test(test_device())) {
    if (row.device != test_device()) continue;
    EXPECT_TRUE(passed(row)) << row.op << " " << row.name << ": " << row.worst << " of what is allowed, " << row.failure;
    if (row.calls > 0) ++ran;
    else std::cout << "never tried: " << row.op << " " << row.name << '\n';
  }
  EXPECT_GT(ran, 60);
}

TEST(SelfTest, TablesAreListedWithoutTryingThem) {
  const auto rows = kernel_tables();
  const auto has = [&](const char* op, const char* name) {
    return std::any_of(rows.begin(), rows.end(),
                       [&](const auto& r) { return r.op == op && r.name == name && r.device == Device::cpu && r.calls == 0; });
  };
  for (const char* op : {"conv", "conv_input", "conv_weight", "matmul", "batch_norm", "max_pool", "sgd", "add", "softmax"})
    EXPECT_TRUE(has(op, "reference")) << op;
  EXPECT_TRUE(has("dense_block", "fused"));
}

void twice(const View& x, const Out& y) { y.as<float>()[0] = 2 * x.as<float>()[0]; }
void wrong(const View& x, const Out& y) { y.as<float>()[0] = 2.01f * x.as<float>()[0]; }
void throws(const View&, const Out&) { fail("not today"); }

TEST(SelfTest, AWrongRowIsFound) {
  using Fn = void(const View&, const Out&);
  constexpr Impl<Fn> rows[] = {{"right", Device::cpu, always, twice},
                               {"wrong", Device::cpu, always, wrong},
                               {"throws", Device::cpu, always, throws},
                               {"reference", Device::cpu, always, twice}};
  const Tensor x = full({1}, 3), y = empty({1});
  dispatch::Examination examination;
  run({"twice"}, rows, x.view(), y.mutate());
  EXPECT_EQ(y.to_vector()[0], 6);
  ASSERT_EQ(examination.rows().size(), 4u);
  EXPECT_TRUE(passed(examination.rows()[0]));
  EXPECT_FALSE(passed(examination.rows()[1]));
  EXPECT_NEAR(examination.rows()[1].worst_error, 0.005, 1e-4);
  EXPECT_EQ(examination.rows()[2].failure, "not today");
  EXPECT_TRUE(passed(examination.rows()[3]));
}

}  // namespace
