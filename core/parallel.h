// SPDX-License-Identifier: Apache-2.0
// Data-parallel loops. Work is cut into chunks by size alone, never by the number of threads, so a reduction that
// adds its per-chunk parts in order gives the same bits for any number of threads.
#pragma once
#include <cstdint>
#include <type_traits>

namespace cuboid {

/// Threads that parallel_for may use. Default: OMP_NUM_THREADS, else the processors this process may run on, also where an
/// OpenMP runtime has bound the first thread to one of them.
int thread_count();
void set_thread_count(int threads);

namespace detail {
void parallel_chunks(std::int64_t chunks, void (*body)(const void*, std::int64_t), const void* context);
}

/// Calls f(i) for i in [0, count), in any order, on several threads. The first exception is rethrown.
/// Nested calls run serially.
template <class F>
void parallel_for(std::int64_t count, F&& f) {
  using Fn = std::remove_reference_t<F>;
  detail::parallel_chunks(
      count, [](const void* context, std::int64_t i) { (*const_cast<Fn*>(static_cast<const Fn*>(context)))(i); }, &f);
}

/// While it lives, the loops of this thread run serially: for workers that stand beside the main thread, whose own teams
/// of threads would only be in its way. They may run on all processors of the process.
class SerialScope {
 public:
  SerialScope();
  ~SerialScope();
  SerialScope(const SerialScope&) = delete;
  SerialScope& operator=(const SerialScope&) = delete;

 private:
  bool before_;
};

/// Calls f(begin, end) for pieces of [0, count) that are `grain` long (the last one shorter).
template <class F>
void parallel_ranges(std::int64_t count, std::int64_t grain, F&& f) {
  if (count <= 0) return;
  const std::int64_t chunks = (count + grain - 1) / grain;
  parallel_for(chunks, [&](std::int64_t i) {
    const std::int64_t end = (i + 1) * grain;
    f(i * grain, end < count ? end : count);
  });
}

}  // namespace cuboid
