// SPDX-License-Identifier: Apache-2.0
// Ranks that die, hang, fail, or never come.
#include "core/comm/group.h"
#include "tests/ranks.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

/// Sums without end; some large ones behind the caller's back.
WORKER(sums_for_ever) {
  const Launch launch = launch_of_environment();
  const Group group(launch);
  const auto behind = group.another();
  mark("ready" + std::to_string(group.rank()));
  for (;;) {
    const Tensor large = zeros({300000}), small = zeros({10});
    const auto pending = behind->start_all_reduce(large);
    group.all_reduce(small);
    pending->wait();
  }
}

WORKER(one_fails) {
  const Group group(launch_of_environment());
  const Tensor x = zeros({10});
  group.all_reduce(x);
  check(group.rank() != 1, "a file of rank 1 is broken");
  group.all_reduce(x);
}

WORKER(one_leaves) {
  const Group group(launch_of_environment());
  const Tensor x = zeros({10});
  group.all_reduce(x);
  if (group.rank() != 1) group.all_reduce(x);
}

WORKER(joins) { const Group group(launch_of_environment()); }

namespace {

/// What each of the others says; each must end by itself in time, not with 0.
void expect_named(Ranks& ranks, int size, int lost, const std::string& how, double seconds) {
  for (int r = 0; r < size; ++r) {
    if (r == lost) continue;
    const int code = ranks[r].wait(seconds);
    EXPECT_TRUE(code > 0 && code < 128) << "rank " << r << " ends with " << code << '\n' << ranks[r].output();
    const std::string text = ranks[r].output(), name = join_text("rank ", lost, " (pid ", ranks[lost].pid(), ", ");
    EXPECT_NE(text.find(name), std::string::npos) << "rank " << r << " does not say " << name << '\n' << text;
    EXPECT_NE(text.find(how), std::string::npos) << "rank " << r << " does not say " << how << '\n' << text;
  }
}

/// Runs one process of a group that never comes to be.
std::string said_alone(const Variables& variables) {
  const Folder folder;
  Variables v = variables;
  v["CUBOID_WORKER"] = "joins";
  Process process(worker_command(), v, folder.path / "out");
  EXPECT_EQ(process.wait(20), 1) << process.output();
  return process.output();
}

}  // namespace

TEST(RankLost, AKilledRankIsNamedByAllOthers) {
  Random random(static_cast<std::uint64_t>(getpid()));
  for (int round = 0; round < 6; ++round) {
    const int lost = round % 3;
    Ranks ranks(3, "sums_for_ever");
    for (int r = 0; r < 3; ++r) ASSERT_TRUE(ranks.reached("ready" + std::to_string(r))) << ranks[r].output();
    std::this_thread::sleep_for(std::chrono::microseconds(random.integer(0, 100000)));
    ranks[lost].send(SIGKILL);
    expect_named(ranks, 3, lost, "was lost", 15);
  }
}

TEST(RankLost, AStoppedRankIsNamedByAllOthers) {
  for (const int lost : {0, 2}) {
    Ranks ranks(3, "sums_for_ever", {{"CUBOID_SILENCE_SECONDS", "1.5"}});
    for (int r = 0; r < 3; ++r) ASSERT_TRUE(ranks.reached("ready" + std::to_string(r))) << ranks[r].output();
    ranks[lost].send(SIGSTOP);
    expect_named(ranks, 3, lost, "no sign of life for 1.5 s", 15);
    ranks[lost].send(SIGCONT);  // it learns that the others went on without it
    EXPECT_EQ(ranks[lost].wait(15), 1) << ranks[lost].output();
  }
}

TEST(RankLost, AllStoppedTogetherIsNoLoss) {
  Ranks ranks(2, "sums_for_ever", {{"CUBOID_SILENCE_SECONDS", "1"}});
  for (int r = 0; r < 2; ++r) ASSERT_TRUE(ranks.reached("ready" + std::to_string(r))) << ranks[r].output();
  for (int r = 0; r < 2; ++r) ranks[r].send(SIGSTOP);
  std::this_thread::sleep_for(std::chrono::milliseconds(2500));
  for (int r = 0; r < 2; ++r) ranks[r].send(SIGCONT);
  for (int r = 0; r < 2; ++r) EXPECT_EQ(ranks[r].wait(1), -1) << ranks[r].output();
}

TEST(RankLost, ARankThatFailsOrLeavesIsNamed) {
  Ranks failing(3, "one_fails");
  expect_named(failing, 3, 1, "failed; its own message says why", 15);
  EXPECT_NE(failing[1].output().find("a file of rank 1 is broken"), std::string::npos);
  Ranks leaving(2, "one_leaves");
  expect_named(leaving, 2, 1, "has ended while this one still waits for it", 15);
  EXPECT_EQ(leaving[1].wait(1), 0);
}

#if CUBOID_MPI
TEST(RankLost, AFailingRankUnderMpirun) {
  if (!mpirun_there()) GTEST_SKIP() << "no mpirun on this machine";
  const Folder folder;
  Process mpi(under_mpirun(3, worker_command()), {{"CUBOID_WORKER", "one_fails"}, {"OMP_NUM_THREADS", "1"}}, folder.path / "out");
  EXPECT_GT(mpi.wait(15), 0) << mpi.output();
  EXPECT_NE(mpi.output().find("a file of rank 1 is broken"), std::string::npos) << mpi.output();
}
#endif

TEST(Rendezvous, SaysWhatIsMissing) {
  const Variables good = launch_variables(0, 2, free_port());
  const auto without = [&](const std::string& name, const std::string& value = "") {
    Variables v = good;
    v[name] = value;
    v["CUBOID_JOIN_SECONDS"] = "0.3";
    return said_alone(v);
  };
  EXPECT_NE(without("MASTER_ADDR").find("the variable MASTER_ADDR is missing"), std::string::npos);
  EXPECT_NE(without("MASTER_PORT").find("the variable MASTER_PORT is missing"), std::string::npos);
  EXPECT_NE(without("WORLD_SIZE").find("the variable WORLD_SIZE is missing"), std::string::npos);
  EXPECT_NE(without("RANK").find("the variable RANK is missing"), std::string::npos);
  EXPECT_NE(without("RANK", "2").find("RANK is '2', must be a number from 0 to 1"), std::string::npos);
  EXPECT_NE(without("MASTER_PORT", "x").find("MASTER_PORT is 'x'"), std::string::npos);
  EXPECT_NE(without("MASTER_ADDR", "no.such.host.invalid").find("means nothing here"), std::string::npos);
  EXPECT_NE(without("OMP_NUM_THREADS").find("rank 1 of 2 did not come to 127.0.0.1"), std::string::npos);
  EXPECT_NE(without("RANK", "1").find("rank 1 finds nobody at 127.0.0.1"), std::string::npos);
}

TEST(Rendezvous, DisagreementsAreNamedByBoth) {
  const Folder folder;
  const int port = free_port();
  const auto start = [&](int rank, int size, const std::string& out) {
    Variables v = launch_variables(rank, size, port);
    v["CUBOID_WORKER"] = "joins";
    return std::make_unique<Process>(worker_command(), v, folder.path / out);
  };
  {
    const auto first = start(0, 2, "a0"), second = start(1, 3, "a1");
    for (const auto* p : {&first, &second}) {
      EXPECT_EQ((*p)->wait(20), 1);
      EXPECT_NE((*p)->output().find("was told of 3 processes, rank 0 of 2"), std::string::npos) << (*p)->output();
    }
  }
  const auto first = start(0, 3, "b0"), second = start(1, 3, "b1"), again = start(1, 3, "b2");
  for (const auto* p : {&first, &second, &again}) {
    EXPECT_EQ((*p)->wait(20), 1);
    EXPECT_NE((*p)->output().find("two processes say they are rank 1"), std::string::npos) << (*p)->output();
  }
}

TEST(Rendezvous, APortInUse) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof a;
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&a), length), 0);
  ASSERT_EQ(listen(listener, 5), 0);
  getsockname(listener, reinterpret_cast<sockaddr*>(&a), &length);
  Variables v = launch_variables(0, 2, ntohs(a.sin_port));
  EXPECT_NE(said_alone(v).find("Address already in use"), std::string::npos);
  v["RANK"] = "1";  // somebody is there who is not rank 0
  v["CUBOID_JOIN_SECONDS"] = "0.5";
  EXPECT_NE(said_alone(v).find("said nothing in time"), std::string::npos);
  ::close(listener);
}
