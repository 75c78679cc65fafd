// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "core/parallel.h"

namespace cuboid::test {

/// Scope guard: parallel loops use `count` threads.
class Threads {
 public:
  explicit Threads(int count) { set_thread_count(count); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;
  ~Threads() { set_thread_count(before_); }

 private:
  int before_ = thread_count();
};

}  // namespace cuboid::test
