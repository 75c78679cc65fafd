// SPDX-License-Identifier: Apache-2.0
// A pool of threads in which nobody waits for a thread that has not begun to help: when another program takes a core away,
// a loop loses that core's share of the speed and no more. An OpenMP barrier would wait for the lost thread in every loop.
#include "core/parallel.h"

#include <dlfcn.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace cuboid {
namespace {

/// The processors this process may run on. An OpenMP runtime that was told to bind threads (OMP_PROC_BIND, OMP_PLACES) has bound
/// the first one to one of its places before main, and every thread made since has inherited that. Such a place is looked past:
/// all places together are what the process was given at its start, or what the user chose of it. The runtime need not be there.
bool allowed_processors(cpu_set_t& allowed) {
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return false;
  const auto count = reinterpret_cast<int (*)()>(dlsym(RTLD_DEFAULT, "omp_get_num_places"));
  const auto size = reinterpret_cast<int (*)(int)>(dlsym(RTLD_DEFAULT, "omp_get_place_num_procs"));
  const auto list = reinterpret_cast<void (*)(int, int*)>(dlsym(RTLD_DEFAULT, "omp_get_place_proc_ids"));
  if (!count || !size || !list) return true;
  cpu_set_t all;
  CPU_ZERO(&all);
  bool bound = false;  // to one of them
  for (int place = 0; place < count(); ++place) {
    std::vector<int> ids(static_cast<std::size_t>(std::max(0, size(place))));
    list(place, ids.data());
    cpu_set_t own;
    CPU_ZERO(&own);
    for (const int id : ids)
      if (id >= 0 && id < CPU_SETSIZE) CPU_SET(static_cast<std::size_t>(id), &own);
    CPU_OR(&all, &all, &own);
    bound = bound || CPU_EQUAL(&own, &allowed);
  }
  if (bound) allowed = all;
  return true;
}

/// Lets this thread, which the library has made, run on all of them.
void run_anywhere() {
  cpu_set_t allowed;
  if (allowed_processors(allowed)) sched_setaffinity(0, sizeof allowed, &allowed);  // if it may not, it runs where it is
}

thread_local bool inside = false;  // within a parallel loop: nested loops run serially

using Body = void (*)(const void*, std::int64_t);
using Clock = std::chrono::steady_clock;
constexpr auto patience = std::chrono::microseconds(50);  // of busy waiting, about the gap between two loops

/// One loop. A thread that arrives late finds no chunk left and touches neither body nor context.
struct Loop {
  Body body;
  const void* context;
  std::int64_t chunks;
  std::atomic<std::int64_t> next{0}, finished{0};
  std::atomic<bool> failed{false};
  std::mutex guard;
  std::exception_ptr first;

  Loop(Body b, const void* c, std::int64_t n) : body(b), context(c), chunks(n) {}

  void help() {
    inside = true;
    for (std::int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < chunks;) {
      try {
        if (!failed.load(std::memory_order_relaxed)) body(context, i);
      } catch (...) {
        const std::scoped_lock lock(guard);
        if (!first) first = std::current_exception();
        failed = true;
      }
      if (finished.fetch_add(1, std::memory_order_acq_rel) + 1 == chunks) finished.notify_all();
    }
    inside = false;
  }
  /// Until every claimed chunk is done.
  void wait() {
    const auto deadline = Clock::now() + patience;
    for (std::int64_t done; (done = finished.load(std::memory_order_acquire)) < chunks;)
      if (Clock::now() > deadline) finished.wait(done, std::memory_order_acquire);
  }
};

class Pool {
 public:
  ~Pool() {
    {
      const std::scoped_lock lock(guard_);
      stop_ = true;
    }
    wake_.notify_all();
    for (auto& t : threads_) t.join();
  }

  /// False when another thread's loop has the pool.
  bool run(const std::shared_ptr<Loop>& loop, int threads) {
    const std::unique_lock turn(turn_, std::try_to_lock);
    if (!turn) return false;
    while (static_cast<int>(threads_.size()) < threads - 1) {
      const int rank = static_cast<int>(threads_.size()) + 1;
      threads_.emplace_back([this, rank] { serve(rank); });
    }
    {
      const std::scoped_lock lock(guard_);
      loop_ = loop;
      helpers_ = threads - 1;
      posted_.fetch_add(1, std::memory_order_release);
    }
    if (sleeping_.load() > 0) wake_.notify_all();
    loop->help();
    loop->wait();
    return true;
  }

 private:
  void serve(int rank) {
    run_anywhere();
    std::uint64_t seen = 0;
    for (;;) {
      const auto deadline = Clock::now() + patience;
      while (posted_.load(std::memory_order_acquire) == seen && Clock::now() < deadline) std::this_thread::yield();
      std::shared_ptr<Loop> loop;
      {
        std::unique_lock lock(guard_);
        ++sleeping_;
        wake_.wait(lock, [&] { return stop_ || posted_.load(std::memory_order_relaxed) != seen; });
        --sleeping_;
        if (stop_) return;
        seen = posted_.load(std::memory_order_relaxed);
        if (rank <= helpers_) loop = loop_;
      }
      if (loop) loop->help();
    }
  }

  std::mutex turn_;   // one loop at a time
  std::mutex guard_;  // of what follows
  std::condition_variable wake_;
  std::shared_ptr<Loop> loop_;
  int helpers_ = 0;
  bool stop_ = false;
  std::atomic<std::uint64_t> posted_{0};
  std::atomic<int> sleeping_{0};
  std::vector<std::thread> threads_;
};

std::atomic<int>& chosen_threads() {
  static std::atomic<int> n = [] {
    const char* env = std::getenv("OMP_NUM_THREADS");
    if (const int wanted = env ? std::atoi(env) : 0; wanted > 0) return wanted;
    cpu_set_t allowed;
    if (allowed_processors(allowed)) return std::max(1, CPU_COUNT(&allowed));
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  }();
  return n;
}

}  // namespace

int thread_count() { return chosen_threads(); }
void set_thread_count(int threads) { chosen_threads() = threads < 1 ? 1 : threads; }

SerialScope::SerialScope() : before_(inside) {
  inside = true;
  run_anywhere();
}
SerialScope::~SerialScope() { inside = before_; }

void detail::parallel_chunks(std::int64_t chunks, Body body, const void* context) {
  const int threads = static_cast<int>(std::min<std::int64_t>(thread_count(), chunks));
  if (threads > 1 && !inside) {
    static Pool pool;
    const auto loop = std::make_shared<Loop>(body, context, chunks);
    if (pool.run(loop, threads)) {
      if (loop->first) std::rethrow_exception(loop->first);
      return;
    }
  }
  for (std::int64_t i = 0; i < chunks; ++i) body(context, i);
}

}  // namespace cuboid
