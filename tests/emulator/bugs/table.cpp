// SPDX-License-Identifier: Apache-2.0
// The table of seeded bugs: each must be caught, each sound version must pass, under several seeds.
#include <gtest/gtest.h>

#include <cstdio>
#include <map>

#include "tests/emulator/bugs/bugs.h"
#include "tests/emulator/options.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

std::vector<Family> families() {
  return {reductions(), copies(), tensor_cores(), pipelines(), scatters(), memories(), configurations(), streams(), lifetimes()};
}

/// Seeds and ways to run that a build tries.
std::vector<emulator::Options> ways() {
  std::vector<emulator::Options> all;
  const std::uint64_t seeds = 32;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    emulator::Options o = emulator::options();
    o.seed = o.seed * 1000 + seed;
    all.push_back(o);
  }
  return all;
}

/// Nothing, or how the emulator noticed.
std::string outcome(const Bug& bug) {
  std::string found;
  try {
    if (!bug.run()) found = "wrong result";
  } catch (const emulator::Error& e) {
    found = e.kind == "race" ? e.what() : e.kind;
    if (e.kind == "race")
      for (const char* what : {"read after write", "write after write", "write after read", "uninitialised", "fence.proxy.async",
                               "asynchronous copy", "atomic after plain", "with no event"})
        if (found.find(what) != std::string::npos) found = std::string("race: ") + what;
  }
  try {
    gpu::synchronize();  // what a failed run left behind
  } catch (const Error& e) {
    if (found.empty()) found = e.what();
  }
  return found;
}

TEST(SeededBugs, SoundKernelsPass) {
  for (const Family& family : families())
    for (const emulator::Options& way : ways()) {
      const emulator::WithOptions with(way);
      for (const Bug& sound : family.sound)
        EXPECT_EQ(outcome(sound), "") << family.name << ": " << sound.name << ", seed " << way.seed;
    }
}

TEST(SeededBugs, EveryOneIsCaught) {
  int tried = 0, caught = 0;
  std::printf("| seeded bug | %s build |\n|---|---|\n", emulator::checking() ? "check" : "plain");
  for (const Family& family : families())
    for (const Bug& bug : family.bugs) {
      std::map<std::string, int> how;
      for (const emulator::Options& way : ways()) {
        const emulator::WithOptions with(way);
        ++how[outcome(bug)];
      }
      std::string text;
      for (const auto& [what, times] : how)
        text += (text.empty() ? "" : ", ") + (what.empty() ? "-" : what) + " x" + std::to_string(times);
      std::printf("| %s: %s | %s |\n", family.name, bug.name, text.c_str());
      const bool found = how.size() > 1 || how.begin()->first != "";
      ++tried;
      caught += found;
      EXPECT_TRUE(found || !(bug.plain_finds || emulator::checking())) << family.name << ": " << bug.name << " was not caught";
    }
  std::printf("caught %d of %d\n", caught, tried);
}

}  // namespace
