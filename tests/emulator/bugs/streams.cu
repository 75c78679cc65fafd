// SPDX-License-Identifier: Apache-2.0
// What the host forgets to order or to wait for.
#include "tests/emulator/bugs/bugs.h"

namespace cuboid::test {
namespace {

constexpr std::size_t count = 256;

__global__ void add_kernel(float* x, float value) { x[blockIdx.x * blockDim.x + threadIdx.x] += value; }
__global__ void double_kernel(const float* x, float* y) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  y[i] = 2 * x[i];
}
gpu::LaunchCfg on(gpu::stream_t stream, const char* name) {
  return {.grid = dim3(4), .block = dim3(64), .stream = stream, .name = name};
}

struct Streams {
  gpu::stream_t a = gpu::stream_create(), b = gpu::stream_create();
  gpu::event_t event = gpu::event_create();
  ~Streams() {
    gpu::event_destroy(event);
    gpu::stream_destroy(a);
    gpu::stream_destroy(b);
  }
};
struct Pinned {
  float* p = static_cast<float*>(gpu::host_alloc(count * sizeof(float)));
  ~Pinned() { gpu::host_free(p); }
};
bool all_equal(const float* p, float value) {
  for (std::size_t i = 0; i < count; ++i)
    if (p[i] != value) return false;
  return true;
}

/// y = 2 (x + 1) on two streams: 1 no event, 2 waited for before it is recorded, 3 recorded on the wrong stream, 4 recorded
/// too early, 5 the clearing of x on a stream of its own.
template <int bug>
bool two_streams() {
  Streams s;
  const Buffer<float> x(count), y(count);
  gpu::fill_bytes_async(x, 0, x.bytes(), bug == 5 ? s.b : s.a);
  if (bug == 4) gpu::event_record(s.event, s.a);
  if (bug == 2) gpu::stream_wait(s.b, s.event);
  gpu::launch(add_kernel, on(s.a, "add"), x, 1.f);
  if (bug != 1 && bug != 4) gpu::event_record(s.event, bug == 3 ? s.b : s.a);
  if (bug != 1 && bug != 2) gpu::stream_wait(s.b, s.event);
  gpu::launch(double_kernel, on(s.b, "double"), x, y);
  return all_equal(y.host().data(), 2);
}

/// There and back through pinned memory: 1 the result is read too early, 2 the source is changed too early, 3 the wrong stream
/// is waited for, 4 pinned memory is freed too early.
template <int bug>
bool there_and_back() {
  Streams s;
  const Buffer<float> x(count);
  Pinned from, to;
  for (std::size_t i = 0; i < count; ++i) from.p[i] = 1;
  gpu::copy_async(x, from.p, x.bytes(), gpu::Kind::h2d, s.a);
  if (bug == 2) from.p[7] = 5;
  if (bug == 4) gpu::host_free(std::exchange(from.p, nullptr));
  gpu::launch(add_kernel, on(s.a, "add"), x, 1.f);
  gpu::copy_async(to.p, x, x.bytes(), gpu::Kind::d2h, s.a);
  if (bug != 1) gpu::stream_synchronize(bug == 3 ? s.b : s.a);
  const bool right = all_equal(to.p, 2);
  gpu::synchronize();
  return right;
}

/// A second copy into the buffer while the kernel still reads the first batch: 1 no event back.
template <int bug>
bool prefetch() {
  Streams s;
  const Buffer<float> batch(count), y1(count), y2(count);
  Pinned host[2];
  for (int i = 0; i < 2; ++i)
    for (std::size_t j = 0; j < count; ++j) host[i].p[j] = static_cast<float>(i + 1);
  for (int i = 0; i < 2; ++i) {
    if (bug != 1 && i > 0) gpu::stream_wait(s.a, s.event);
    gpu::copy_async(batch, host[i].p, batch.bytes(), gpu::Kind::h2d, s.a);
    gpu::event_t copied = gpu::event_create();
    gpu::event_record(copied, s.a);
    gpu::stream_wait(s.b, copied);
    gpu::launch(double_kernel, on(s.b, "double"), batch, i == 0 ? y1 : y2);
    gpu::event_record(s.event, s.b);
    gpu::event_destroy(copied);
  }
  return all_equal(y1.host().data(), 2) && all_equal(y2.host().data(), 4);
}

/// A captured step, replayed three times: 1 the host waits inside the capture, 2 an event from outside, 3 never instantiated
/// on the stream that was captured but run while it still is.
template <int bug>
bool captured() {
  Streams s;
  const Buffer<float> x(count, 0), y(count);
  gpu::begin_capture(s.a);
  gpu::graph_t graph = nullptr;
  try {
    if (bug == 2) {
      gpu::event_record(s.event, s.b);
      gpu::stream_wait(s.a, s.event);
    }
    gpu::launch(add_kernel, on(s.a, "add"), x, 1.f);
    if (bug == 1) gpu::stream_synchronize(s.a);
    gpu::launch(double_kernel, on(s.a, "double"), x, y);
    if (bug == 3) gpu::begin_capture(s.a);
    graph = gpu::end_capture(s.a);
  } catch (const Error&) {
    gpu::graph_destroy(gpu::end_capture(s.a));
    throw;
  }
  gpu::graph_exec_t exec = gpu::instantiate(graph);
  for (int i = 0; i < 3; ++i) gpu::launch_graph(exec, s.a);
  gpu::graph_exec_destroy(exec);
  gpu::graph_destroy(graph);
  return all_equal(x.host().data(), 3) && all_equal(y.host().data(), 6);
}

bool elapsed_without_waiting() {
  const gpu::event_t from = gpu::event_create(true), to = gpu::event_create(true);
  Streams s;
  gpu::event_record(from, s.a);
  gpu::event_record(to, s.a);
  const float time = gpu::event_elapsed(from, to);
  gpu::event_destroy(from);
  gpu::event_destroy(to);
  return time >= 0;
}

}  // namespace

Family streams() {
  return {"streams",
          {{"two streams", two_streams<0>},
           {"there and back", there_and_back<0>},
           {"prefetch", prefetch<0>},
           {"captured", captured<0>}},
          {{"no event between two streams", two_streams<1>},
           {"an event waited for before it is recorded", two_streams<2>},
           {"an event recorded on the wrong stream", two_streams<3>},
           {"an event recorded too early", two_streams<4>},
           {"memory cleared on another stream", two_streams<5>},
           {"a result read before it is there", there_and_back<1>},
           {"a source changed before it is copied", there_and_back<2>},
           {"the wrong stream waited for", there_and_back<3>},
           {"pinned memory freed before it is copied", there_and_back<4>},
           {"a batch overwritten while it is used", prefetch<1>},
           {"the host waits inside a capture", captured<1>},
           {"a capture waits for an event from outside", captured<2>},
           {"a capture begun twice", captured<3>},
           {"time between events that nobody waited for", elapsed_without_waiting}}};
}

}  // namespace cuboid::test
