// SPDX-License-Identifier: Apache-2.0
// Our threads beside an OpenMP runtime that binds the process' first thread to one processor before main.
#include "core/parallel.h"

#include <sched.h>

#include <set>
#include <thread>

#include "tests/ranks.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

std::set<std::size_t> processors_of_this_thread() {
  cpu_set_t set;
  std::set<std::size_t> ids;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return ids;
  for (std::size_t i = 0; i < CPU_SETSIZE; ++i)
    if (CPU_ISSET(i, &set)) ids.insert(i);
  return ids;
}

/// For the test below: the threads by default; then, per kind of thread, on how many processors it may run.
TEST(Parallel, DISABLED_Shown) {
  std::cout << "threads " << thread_count() << "; first " << processors_of_this_thread().size();
  set_thread_count(3);
  std::mutex guard;
  std::set<std::thread::id> seen;
  std::size_t helpers = 0;
  const auto first = std::this_thread::get_id();
  parallel_for(3, [&](std::int64_t) {  // each waits for the others, so that three threads take part
    {
      const std::scoped_lock lock(guard);
      seen.insert(std::this_thread::get_id());
      if (std::this_thread::get_id() != first) helpers = processors_of_this_thread().size();
    }
    for (std::size_t here = 0; here < 3; std::this_thread::yield()) {
      const std::scoped_lock lock(guard);
      here = seen.size();
    }
  });
  std::size_t worker = 0;
  std::thread([&] {
    const SerialScope serial;
    worker = processors_of_this_thread().size();
  }).join();
  std::cout << "; helpers " << helpers << "; workers " << worker << std::endl;
}

std::string shown(const Variables& variables) {
  const Folder folder;
  Process process({self(), "--gtest_also_run_disabled_tests", "--gtest_filter=Parallel.DISABLED_Shown"}, variables,
                  folder.path / "out");
  EXPECT_EQ(process.wait(60), 0) << process.output();
  const std::string text = process.output();
  const auto begin = text.find("threads "), end = text.find('\n', begin);
  return begin == text.npos ? text : text.substr(begin, end - begin);
}

#if defined(CUBOID_OPENMP)
TEST(Parallel, LooksPastTheProcessorOpenMPHasBoundTheFirstThreadTo) {
  const std::size_t all = processors_of_this_thread().size();
  if (all < 2) GTEST_SKIP() << "one processor";
  const auto expected = [](std::size_t first, std::size_t others) {
    return join_text("threads ", others, "; first ", first, "; helpers ", others, "; workers ", others);
  };
  EXPECT_EQ(shown({{"OMP_NUM_THREADS", ""}, {"OMP_PROC_BIND", ""}, {"OMP_PLACES", ""}}), expected(all, all));
  EXPECT_EQ(shown({{"OMP_NUM_THREADS", ""}, {"OMP_PROC_BIND", "true"}, {"OMP_PLACES", "threads"}}), expected(1, all));

  // What the process was given at its start is a limit for all of them.
  const auto ids = processors_of_this_thread();
  cpu_set_t one, before;
  CPU_ZERO(&one);
  CPU_SET(*ids.begin(), &one);
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  const std::string bound = shown({{"OMP_NUM_THREADS", ""}, {"OMP_PROC_BIND", "true"}}),
                    free = shown({{"OMP_NUM_THREADS", ""}, {"OMP_PROC_BIND", ""}});
  sched_setaffinity(0, sizeof before, &before);
  EXPECT_EQ(bound, expected(1, 1));
  EXPECT_EQ(free, expected(1, 1));
}
#endif

}  // namespace
