// SPDX-License-Identifier: Apache-2.0
#include "core/roofs.h"

#include "tests/test.h"

namespace cuboid {
namespace {

TEST(Roofs, AreRatesThatAMachineCanHave) {
  const Roofs roofs = measure_roofs(test::test_device(), 0.05);
  for (const Rate& rate : {roofs.flops, roofs.bytes}) {
    EXPECT_GE(rate.best, rate.median);
    EXPECT_GT(rate.median, 0);
  }
#if !CUBOID_EMULATED
  EXPECT_GT(roofs.flops.best, 1e8);
  EXPECT_LT(roofs.flops.best, 1e15);
  EXPECT_GT(roofs.bytes.best, 1e8);
  EXPECT_LT(roofs.bytes.best, 1e14);
#endif
}

TEST(Roofs, KeepNoMemory) {
  const auto before = memory_stats(test::test_device());
  measure_roofs(test::test_device(), 0.01);
  const auto after = memory_stats(test::test_device());
  EXPECT_EQ(after.live, before.live);
  EXPECT_EQ(after.reserved, before.reserved);
}

#if !CUBOID_CUDA
TEST(Roofs, OfADeviceThatIsNotThereAreAnError) { EXPECT_THROW(measure_roofs(Device::cuda), DeviceError); }
#endif

}  // namespace
}  // namespace cuboid
