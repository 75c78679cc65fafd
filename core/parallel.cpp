// SPDX-License-Identifier: Apache-2.0
#include "core/parallel.h"

#include <atomic>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#if defined(CUBOID_OPENMP)
#include <omp.h>
#endif

namespace cuboid {
namespace {

thread_local bool inside = false;  // within a parallel loop: nested loops run serially

std::atomic<int>& chosen_threads() {
  static std::atomic<int> n = [] {
#if defined(CUBOID_OPENMP)
    return omp_get_max_threads();
#else
    const char* env = std::getenv("OMP_NUM_THREADS");
    const int wanted = env ? std::atoi(env) : 0;
    return wanted > 0 ? wanted : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
#endif
  }();
  return n;
}

/// Runs `worker` once on each of `threads` threads, this one included.
template <class F>
void fork_join(int threads, F&& worker) {
#if defined(CUBOID_OPENMP)
#pragma omp parallel num_threads(threads)
  worker();
#else  // checked builds (tsan): plain threads, which the tool understands
  std::vector<std::thread> others;
  for (int i = 1; i < threads; ++i) others.emplace_back(worker);
  worker();
  for (auto& t : others) t.join();
#endif
}

}  // namespace

SerialScope::SerialScope() : before_(inside) { inside = true; }
SerialScope::~SerialScope() { inside = before_; }

int thread_count() { return chosen_threads(); }
void set_thread_count(int threads) { chosen_threads() = threads < 1 ? 1 : threads; }

void detail::parallel_chunks(std::int64_t chunks, void (*body)(const void*, std::int64_t), const void* context) {
  const int threads = static_cast<int>(std::min<std::int64_t>(thread_count(), chunks));
  if (threads <= 1 || inside) {
    for (std::int64_t i = 0; i < chunks; ++i) body(context, i);
    return;
  }
  // Chunks are claimed one by one: a thread whose core is taken away delays one chunk, not its whole share.
  std::atomic<std::int64_t> next{0};
  std::exception_ptr first;
  std::mutex guard;
  fork_join(threads, [&] {
    inside = true;
    for (std::int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < chunks;) {
      try {
        body(context, i);
      } catch (...) {
        const std::scoped_lock lock(guard);
        if (!first) first = std::current_exception();
        next = chunks;
      }
    }
    inside = false;
  });
  if (first) std::rethrow_exception(first);
}

}  // namespace cuboid
