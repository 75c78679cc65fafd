// SPDX-License-Identifier: Apache-2.0
// cuboid doctor, through the program itself.
#include <gtest/gtest.h>

#include "core/json.h"
#include "tests/apps/program.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

TEST(Doctor, SaysWhatTheMachineIs) {
  const TempFolder folder;
  const Outcome o = run_program(folder / "", {"doctor", "--json"});
  ASSERT_EQ(o.code, 0) << o.err;
  const Json all = Json::parse(o.out);
  const Json& device = all.at("device");
  EXPECT_TRUE(device.at("available").as_bool() != device.contains("problem"));
  EXPECT_TRUE(all.at("features").is_object());
}

TEST(Doctor, ListsTheRowsOfEveryOp) {
  const TempFolder folder;
  const Outcome o = run_program(folder / "", {"doctor", "--kernels"});
  ASSERT_EQ(o.code, 0) << o.err;
  for (const char* op : {"\nconv ", "\nbatch_norm ", "\nmax_pool_backward ", "\nadam ", "\ndense_block "})
    EXPECT_NE(o.out.find(op), std::string::npos) << op;
}

TEST(Doctor, TestsTheRowsOfTheCpu) {
  const TempFolder folder;
  const Outcome o = run_program(folder / "", {"doctor", "--self-test", "--device", "cpu", "--json"});
  ASSERT_EQ(o.code, 0) << o.err << o.out;
  const Json all = Json::parse(o.out);
  EXPECT_EQ(all.at("tested").as_string(), "cpu");
  std::size_t ran = 0;
  for (const Json& row : all.at("rows").as_array()) {
    EXPECT_TRUE(row.at("ok").as_bool()) << row.dump();
    ran += row.at("calls").as_int() > 0;
  }
  EXPECT_GT(ran, 60u);
}

}  // namespace
