// SPDX-License-Identifier: Apache-2.0
#include "apps/bench/statistics.h"

#include <gtest/gtest.h>

#include "apps/bench/compare.h"
#include "apps/bench/lean.h"

using namespace cuboid;
using namespace cuboid::bench;

namespace {

Row two_sides(std::vector<double> ours, std::vector<double> theirs, std::vector<bool> kept) {
  Row row{.id = "net/train", .title = "Net", .mode = "train"};
  row.sides = {{.id = "cuboid/f32", .library = "cuboid", .dtype = "f32", .rounds = std::move(ours)},
               {.id = "libtorch/contiguous/tuned", .library = "libtorch", .malloc = "tuned", .rounds = std::move(theirs)}};
  row.kept.kept = std::move(kept);
  return row;
}
const double out = std::nan("");

}  // namespace

TEST(BenchStatistics, QuantilesAreLinearBetweenOrderStatistics) {
  EXPECT_DOUBLE_EQ(median({3, 1, 2}), 2);
  EXPECT_DOUBLE_EQ(median({4, 1, 3, 2}), 2.5);
  EXPECT_DOUBLE_EQ(quantile({10, 20, 30, 40, 50}, 0.25), 20);
  EXPECT_DOUBLE_EQ(quantile({10, 20, 30, 40}, 0.75), 32.5);  // numpy.quantile
  EXPECT_DOUBLE_EQ(quantile({7}, 0.9), 7);
  EXPECT_TRUE(std::isnan(median({})));
}

// The median of a resample of {1, ..., 5} is at most k when at least three of five draws are; its 2.5 % quantile is 1 when
// P(median = 1) = P(Binomial(5, 1/5) >= 3) = 0.058 exceeds 0.025, and so by symmetry the upper end is 5.
TEST(BenchStatistics, BootstrapOfTheMedianIsTheBinomialOne) {
  const Interval five = bootstrap_median({1, 2, 3, 4, 5});
  EXPECT_DOUBLE_EQ(five.median, 3);
  EXPECT_DOUBLE_EQ(five.low, 1);
  EXPECT_DOUBLE_EQ(five.high, 5);
  // Of nine: P(median <= 2) = P(Binomial(9, 2/9) >= 5) = 0.028, P(median = 1) = 0.0014.
  const Interval nine = bootstrap_median({1, 2, 3, 4, 5, 6, 7, 8, 9});
  EXPECT_DOUBLE_EQ(nine.low, 2);
  EXPECT_DOUBLE_EQ(nine.high, 8);
  const Interval same = bootstrap_median({0.5, 0.5, 0.5});
  EXPECT_DOUBLE_EQ(same.low, 0.5);
  EXPECT_DOUBLE_EQ(same.high, 0.5);
  const Interval again = bootstrap_median({1, 2, 3, 4, 5, 6, 7, 8, 9});
  EXPECT_EQ(again.low, nine.low);
}

TEST(BenchStatistics, RatioOfIndependentMedians) {
  const Interval r = bootstrap_ratio({20, 20, 20}, {10, 10, 10});
  EXPECT_DOUBLE_EQ(r.median, 2);
  EXPECT_DOUBLE_EQ(r.low, 2);
  EXPECT_DOUBLE_EQ(r.high, 2);
  const Interval wide = bootstrap_ratio({9, 10, 11}, {9, 10, 11});
  EXPECT_DOUBLE_EQ(wide.median, 1);
  EXPECT_LT(wide.low, 1);
  EXPECT_GT(wide.high, 1);
}

TEST(BenchStatistics, RoundsBetweenDisturbedCalibrationsAreDropped) {
  const Calibration good{100, 50}, slow{94, 50}, starved{100, 47};
  KeptRounds k = keep_rounds({good, good, slow, good, good, good}, good, 0.95, 3);
  EXPECT_EQ(k.kept, (std::vector<bool>{true, false, false, true, true}));
  EXPECT_TRUE(k.enough);
  k = keep_rounds({good, starved, good, good, good, good}, good, 0.95, 3);
  EXPECT_EQ(k.kept, (std::vector<bool>{false, false, true, true, true}));
  // A better calibration elsewhere in the run decides, not the row's own best.
  k = keep_rounds({good, good, good, good}, {200, 50}, 0.95, 3);
  EXPECT_FALSE(k.enough);
  EXPECT_EQ(k.count(), 3u);
}

TEST(BenchStatistics, WhenTooFewStayTheLeastDisturbedCount) {
  const auto c = [](double flops) { return Calibration{flops, 1}; };
  const KeptRounds k = keep_rounds({c(100), c(90), c(80), c(90), c(91), c(92)}, {100, 1}, 0.95, 3);
  EXPECT_FALSE(k.enough);
  EXPECT_EQ(k.kept, (std::vector<bool>{true, false, false, true, true}));
  EXPECT_TRUE(keep_rounds({c(1)}, {1, 1}, 0.95).kept.empty());
  EXPECT_TRUE(keep_rounds({}, {1, 1}, 0.95).kept.empty());
}

TEST(BenchStatistics, RatiosArePairedByRoundAndSkipWhoSatOut) {
  const Row row = two_sides({10, 20, 30, 40}, {20, 40, 60, 400}, {true, true, true, false});
  const Interval r = row.ratio(row.sides[0], row.sides[1]);
  EXPECT_DOUBLE_EQ(r.median, 0.5);
  EXPECT_DOUBLE_EQ(r.low, 0.5);
  EXPECT_DOUBLE_EQ(r.high, 0.5);
  const Row retired = two_sides({10, 20, 30}, {40, out, out}, {true, true, true});
  EXPECT_DOUBLE_EQ(retired.ratio(retired.sides[0], retired.sides[1]).median, 0.25);
  EXPECT_EQ(retired.times(retired.sides[1]), std::vector<double>{40});
  EXPECT_EQ(retired.best(), nullptr) << "it did not run to the end";
  const Row spoilt = two_sides({10, 20}, {40, out}, {false, true});
  EXPECT_DOUBLE_EQ(spoilt.ratio(spoilt.sides[0], spoilt.sides[1]).median, 0.25) << "its only round counts, disturbed or not";
}

TEST(BenchStatistics, SlowerMeansTheIntervalLeavesNoDoubt) {
  Change c{.ratio = {1.10, 1.06, 1.2}};
  EXPECT_TRUE(c.slower(0.05));
  c.ratio = {1.10, 1.04, 1.2};
  EXPECT_FALSE(c.slower(0.05));
  c.ratio = {0.8, 0.7, 0.9};
  EXPECT_FALSE(c.slower(0.05));
  EXPECT_TRUE(c.faster(0.05));
}

TEST(BenchStatistics, Thresholds) {
  EXPECT_DOUBLE_EQ(threshold_of("5%"), 0.05);
  EXPECT_DOUBLE_EQ(threshold_of("2.5 %"), 0.025);
  EXPECT_DOUBLE_EQ(threshold_of("0.1"), 0.1);
  for (const char* wrong : {"", "x", "5x", "-1%", "5%%", "2000%"}) EXPECT_THROW(threshold_of(wrong), Error) << wrong;
}

TEST(BenchLean, ClosureLeavesTheCLibraryOut) {
  const std::string ldd =
      "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibdnnl.so.2 => /lib/x86/libdnnl.so.2 (0x00007f)\n\tlibm.so.6 => /lib/x86/libm.so.6 "
      "(0x0)\n"
      "\tlibmagic.so.1 => /lib/x86/libmagic.so.1 (0x0)\n\tlibgone.so => not found\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
  EXPECT_EQ(closure(ldd), (std::vector<std::string>{"/lib/x86/libdnnl.so.2", "/lib/x86/libmagic.so.1"}));
}

TEST(BenchLean, CompileCommandWithoutCcacheAndElsewhere) {
  const Json commands = Json::parse(R"([
    {"directory": "/build", "command": "/usr/bin/ccache /usr/bin/c++ -O3 -o a/densenet.o -c /src/nets/densenet.cpp", "file": "/src/nets/densenet.cpp"},
    {"directory": "/build", "command": "/usr/bin/c++ -o b.o -c /src/other.cpp", "file": "/src/other.cpp"}])");
  EXPECT_EQ(compile_command(commands, "nets/densenet.cpp", "/tmp/x.o"),
            "cd '/build' && /usr/bin/c++ -O3 -o '/tmp/x.o' -c /src/nets/densenet.cpp");
  EXPECT_EQ(compile_command(commands, "nets/unet.cpp", "/tmp/x.o"), "");
}
