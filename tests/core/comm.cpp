// SPDX-License-Identifier: Apache-2.0
// Groups of processes on one machine: sums, copies, orders.
#include "core/comm/group.h"

#include "tests/ranks.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

RUN_WORKERS()

namespace {

/// What rank `rank` brings: numbers whose sum depends on the order of adding.
Tensor brought(int rank, std::int64_t count, DType dtype) {
  Random r(static_cast<std::uint64_t>(rank) * 7919 + 1);
  std::vector<double> values;
  for (std::int64_t i = 0; i < count; ++i) {
    const double v = r.uniform(-1, 1) * std::pow(10., static_cast<double>(i % 7) - 3);
    values.push_back(is_floating(dtype) ? v : std::floor(std::abs(v) * 10));
  }
  const Tensor t = empty({count}, {.dtype = dtype, .device = test_device()});
  copy(from_values(values, {count}), t);
  return t;
}

/// ((x0 + x1) + x2) ..., in the accumulator's type.
Tensor sum_in_order(int ranks, std::int64_t count, DType dtype) {
  const Tensor total = empty({count}, {.dtype = dtype});
  visit(dtype, [&]<class T>() {
    std::vector<Accum<T>> sums(static_cast<std::size_t>(count));
    for (int r = 0; r < ranks; ++r) {
      const Tensor x = to(brought(r, count, dtype), Device::cpu);
      for (std::int64_t i = 0; i < count; ++i) {
        const auto v = static_cast<Accum<T>>(x.data<T>()[i]);
        auto& sum = sums[static_cast<std::size_t>(i)];
        sum = r == 0 ? v : static_cast<Accum<T>>(sum + v);
      }
    }
    for (std::int64_t i = 0; i < count; ++i) total.mutable_data<T>()[i] = static_cast<T>(sums[static_cast<std::size_t>(i)]);
  });
  return total;
}

}  // namespace

WORKER(adds) {
  const Group group(launch_of_environment());
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::f16, DType::i64, DType::i32, DType::u8})
    for (const std::int64_t count : {1, 3, 1000, 70001}) {
      const Tensor x = brought(group.rank(), count, dtype), all = sum_in_order(group.size(), count, dtype);
      group.all_reduce(x);
      EXPECT_TRUE(equal(x, all)) << dtype << ' ' << count;
    }
  const Tensor none = empty({0});
  group.all_reduce(none);
  const Tensor volume = full({2, 3, 4, 5, 6}, group.rank() + 1., on_device({.layout = Layout::channels_last}));
  group.all_reduce(volume);
  EXPECT_TRUE(equal(volume, full({2, 3, 4, 5, 6}, group.size() * (group.size() + 1) / 2.)));
  EXPECT_NE(error_of([&] { group.all_reduce(laid(full({4, 4}, 1), Lies::view)); }), "");
}

WORKER(copies_and_gathers) {
  const Group group(launch_of_environment());
  const int n = group.size();
  for (int root = 0; root < n; ++root) {
    const Tensor x = full({257, 3}, group.rank(), on_device({.dtype = DType::f64}));
    group.broadcast(x, root);
    EXPECT_TRUE(equal(x, full({257, 3}, root)));
    EXPECT_EQ(group.broadcast("rank " + std::string(static_cast<std::size_t>(group.rank()), '+'), root),
              "rank " + std::string(static_cast<std::size_t>(root), '+'));
  }
  EXPECT_EQ(group.broadcast(std::string()), "");
  const Tensor all = group.all_gather(full({2}, group.rank(), on_device()));
  ASSERT_EQ(all.shape(), (Shape{n, 2}));
  for (int r = 0; r < n; ++r)
    for (int i = 0; i < 2; ++i) EXPECT_EQ(all.to_vector()[static_cast<std::size_t>(2 * r + i)], r);
  group.barrier();
}

WORKER(works_behind) {
  const Group group(launch_of_environment());
  const auto behind = group.another();
  std::vector<Tensor> tensors;
  std::vector<std::unique_ptr<Pending>> pending;
  for (int i = 0; i < 20; ++i) {
    tensors.push_back(full({1 + 5000 * i}, (group.rank() + 1) * (i + 1), on_device()));
    pending.push_back(behind->start_all_reduce(tensors.back()));
    const Tensor small = full({3}, group.rank() + 1., on_device());  // in between, in another order
    group.all_reduce(small);
    EXPECT_EQ(small.to_vector()[1], group.size() * (group.size() + 1) / 2.);
  }
  const Tensor last = full({2}, 1, on_device());
  behind->all_reduce(last);  // waits its turn
  EXPECT_EQ(last.to_vector()[0], group.size());
  for (int i = 0; i < 20; ++i) {
    pending[static_cast<std::size_t>(i)]->wait();
    for (const double v : tensors[static_cast<std::size_t>(i)].to_vector())
      ASSERT_EQ(v, (i + 1) * group.size() * (group.size() + 1) / 2.);
  }
}

WORKER(different_steps) {
  const Group group(launch_of_environment());
  const Tensor x = zeros({group.rank() == 1 ? 5 : 4});
  const std::string error = error_of([&] { group.all_reduce(x); });
  EXPECT_NE(error.find("bytes in exchange 1"), std::string::npos) << error;
  EXPECT_NE(error.find("hint: all ranks must do the same"), std::string::npos) << error;
}

TEST(Group, Alone) {
  const Group group;
  EXPECT_EQ(group.rank(), 0);
  EXPECT_EQ(group.size(), 1);
  EXPECT_EQ(group.transport(), "none");
  const Tensor x = full({3}, 2);
  group.all_reduce(x);
  group.start_all_reduce(x)->wait();
  group.broadcast(x);
  group.barrier();
  EXPECT_EQ(group.all_gather(x).shape(), (Shape{1, 3}));
  EXPECT_EQ(group.all_gather(x).to_vector()[2], 2);
  EXPECT_EQ(group.broadcast("text"), "text");
  EXPECT_EQ(group.another()->size(), 1);
}

TEST(Group, AddsInTheOrderOfTheRanks) {
  for (const int n : {2, 3}) EXPECT_TRUE(Ranks(n, "adds").all_well());
}
TEST(Group, CopiesAndGathers) {
  for (const int n : {2, 4}) EXPECT_TRUE(Ranks(n, "copies_and_gathers").all_well());
}
TEST(Group, WorksBehindTheCaller) { EXPECT_TRUE(Ranks(3, "works_behind").all_well()); }
#if CUBOID_MPI
TEST(Group, TheSameOverMpi) {
  if (!mpirun_there()) GTEST_SKIP() << "no mpirun on this machine";
  const Folder folder;
  for (const char* worker : {"adds", "copies_and_gathers", "works_behind"}) {
    Process mpi(under_mpirun(3, worker_command()), {{"CUBOID_WORKER", worker}, {"OMP_NUM_THREADS", "1"}}, folder.path / worker);
    EXPECT_EQ(mpi.wait(120), 0) << mpi.output();
  }
}
#endif
TEST(Group, DifferentStepsAreFound) { EXPECT_TRUE(Ranks(2, "different_steps").all_well()); }
