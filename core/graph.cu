// SPDX-License-Identifier: Apache-2.0
#include <exception>

#include "core/allocator.h"
#include "core/cuda.h"
#include "core/gpu.h"
#include "core/profiler.h"

namespace cuboid::cuda {
namespace {

thread_local bool recording = false;

/// Memory from the pool and work on the stream, for a scope.
class Inside {
 public:
  Inside(Stream stream, CachingAllocator::Pool pool) : scope_(stream), before_(CachingAllocator::enter_pool(pool)) {}
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
  ~Inside() { CachingAllocator::enter_pool(before_); }

 private:
  StreamScope scope_;
  CachingAllocator::Pool before_;
};

}  // namespace

struct Graph::Impl {
  OwnStream stream;
  CachingAllocator& memory = allocator_of(Device::cuda);
  CachingAllocator::Pool pool = memory.make_pool();
  gpu::graph_exec_t exec = nullptr;

  gpu::stream_t raw() const { return static_cast<gpu::stream_t>(static_cast<Stream>(stream)); }
  /// One stream's work after the other's.
  static void order(Stream first, Stream then) {
    if (first == then) return;
    Event done;
    done.record(first);
    done.wait(then);
  }
  void forget() {
    if (exec) gpu::graph_exec_destroy(std::exchange(exec, nullptr));
  }
};

bool recording_graph() { return recording; }

Graph::Graph() : p_(std::make_unique<Impl>()) { release_cached_memory(Device::cuda); }
Graph::~Graph() {
  try {
    gpu::synchronize();  // a replay may be under way, on any stream
    p_->forget();
  } catch (const Error&) {  // a replay has failed; whoever waits for the device hears of it
  }
  p_->memory.end_pool(p_->pool);
}
bool Graph::recorded() const { return p_->exec != nullptr; }

void Graph::record(const std::function<void()>& body) {
  check<CannotRecord>(!recording, "graph: a recording within a recording");
  Impl& p = *p_;
  p.forget();
  Impl::order(cuda::stream(), p.stream);
  std::exception_ptr thrown;
  gpu::graph_t graph = nullptr;
  {
    const Inside inside(p.stream, p.pool);
    gpu::begin_capture(p.raw());
    recording = true;
    try {
      body();
    } catch (...) {
      thrown = std::current_exception();
    }
    recording = false;
    try {
      graph = gpu::end_capture(p.raw());
    } catch (const DeviceError&) {  // a recording that failed on the way cannot be ended either
      if (!thrown) throw;
    }
  }
  if (!thrown) p.exec = gpu::instantiate(graph);
  if (graph) gpu::graph_destroy(graph);
  if (thrown) std::rethrow_exception(thrown);
}

void Graph::replay() {
  check(p_->exec != nullptr, "graph: nothing is recorded");
  const profiler::Span span(Device::cuda, "graph", "replay", 0, 0);
  gpu::launch_graph(p_->exec, static_cast<gpu::stream_t>(cuda::stream()));
}

void Graph::rehearse(const std::function<void()>& body) {
  const Stream caller = cuda::stream();
  Impl::order(caller, p_->stream);
  {
    const Inside inside(p_->stream, p_->pool);
    body();
  }
  Impl::order(p_->stream, caller);
}

}  // namespace cuboid::cuda
