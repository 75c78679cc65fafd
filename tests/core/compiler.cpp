// SPDX-License-Identifier: Apache-2.0
// What a compiler has been seen to get wrong in this code; cmake/CuboidOptions.cmake has the flags against it.
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace cuboid {
namespace {

template <class T>
[[gnu::noinline]] std::vector<T> copy_of(const std::vector<T>& list) {
  return list;
}

template <class T>
void lists_keep_their_last_element() {
  const std::vector<T> ones = copy_of<T>({1, 1, 1, 0}), sevens = copy_of<T>({7, 7, 7, 0}), pairs = copy_of<T>({3, 3, 0, 0});
  EXPECT_EQ(ones[0] + ones[1] + ones[2], 3);
  EXPECT_EQ(ones[3], 0);
  EXPECT_EQ(sevens[3], 0);
  EXPECT_EQ(pairs[2] + pairs[3], 0);
}

TEST(Compiler, ListsKeepTheirLastElement) {
  lists_keep_their_last_element<std::int64_t>();
  lists_keep_their_last_element<double>();
  lists_keep_their_last_element<std::uint64_t>();
}

}  // namespace
}  // namespace cuboid
