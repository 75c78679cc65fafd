// SPDX-License-Identifier: Apache-2.0
// Device memory used after it was given back, or beyond its end; blocks of the caching allocator.
#include "core/device.h"
#include "tests/emulator/bugs/bugs.h"

namespace cuboid::test {
namespace {

constexpr std::size_t count = 250;  // not a multiple of the allocator's granularity

__global__ void set_kernel(float* x, std::size_t n, float value) {
  for (std::size_t i = threadIdx.x; i < n; i += blockDim.x) x[i] = value;
}
__global__ void copy_kernel(const float* x, float* y, std::size_t n) {
  for (std::size_t i = threadIdx.x; i < n; i += blockDim.x) y[i] = x[i];
}
gpu::LaunchCfg on(gpu::stream_t stream, const char* name) {
  return {.grid = dim3(1), .block = dim3(64), .stream = stream, .name = name};
}
bool all_equal(const std::vector<float>& got, float value) {
  for (const float v : got)
    if (v != value) return false;
  return true;
}

// ---- memory of the device ----------------------------------------------------------------------

bool used_after_free() {
  const Buffer<float> y(count);
  auto* x = static_cast<float*>(gpu::malloc_bytes(count * sizeof(float)));
  gpu::fill_bytes(x, 0, count * sizeof(float));
  gpu::free_bytes(x);
  gpu::launch(copy_kernel, on(nullptr, "copy"), x, y, count);
  return all_equal(y.host(), 0);
}
bool freed_twice() {
  void* x = gpu::malloc_bytes(100);
  gpu::free_bytes(x);
  gpu::free_bytes(x);
  return true;
}
bool freed_in_the_middle() {
  const Buffer<float> x(count);
  gpu::free_bytes(x + 4);
  return true;
}
bool copy_beyond_the_end() {
  const Buffer<float> x(count);
  const std::vector<float> host(count + 1);
  gpu::copy_h2d(x, host.data(), host.size() * sizeof(float));
  return true;
}
bool fill_beyond_the_end() {
  const Buffer<float> x(count);
  gpu::fill_bytes(x, 0, x.bytes() + 4);
  return true;
}
bool copy_of_the_wrong_kind() {
  const Buffer<float> x(count), y(count);
  gpu::copy_async(y, x, x.bytes(), gpu::Kind::h2d, nullptr);
  gpu::synchronize();
  return true;
}

// ---- the caching allocator ---------------------------------------------------------------------

/// Two tensors beside each other; n elements of the first are written.
bool cached_blocks(std::size_t n) {
  Scratch<float> x(count, Device::cuda), y(count, Device::cuda);
  gpu::launch(set_kernel, on(nullptr, "set"), x.data(), n, 1.f);
  gpu::launch(set_kernel, on(nullptr, "set"), y.data(), count, 2.f);
  std::vector<float> got(count);
  gpu::copy_d2h(got.data(), x.data(), count * sizeof(float));
  return all_equal(got, 1);
}
bool within_the_block() { return cached_blocks(count); }
bool one_beyond_the_block() { return cached_blocks(count + 1); }
bool far_beyond_the_block() { return cached_blocks(count + 10); }

bool cached_block_after_its_end() {
  float* x = nullptr;
  {
    Scratch<float> gone(count, Device::cuda);
    x = gone.data();
    gpu::launch(set_kernel, on(nullptr, "set"), x, count, 1.f);
  }
  const Buffer<float> y(count);
  gpu::launch(copy_kernel, on(nullptr, "copy"), x, y, count);
  return all_equal(y.host(), 1);
}
/// What an earlier owner left must not be mistaken for data.
bool cached_block_not_written() {
  const auto* first = Scratch<float>(count, Device::cuda).data();
  Scratch<float> again(count, Device::cuda);
  const Buffer<float> y(count);
  gpu::launch(copy_kernel, on(nullptr, "copy"), again.data(), y, count);
  return first != again.data() || all_equal(y.host(), 0);
}

/// A workspace of stream a is handed out again to stream b: 1 b does not wait for a.
template <int bug>
bool workspace_of_two_streams() {
  const gpu::stream_t a = gpu::stream_create(), b = gpu::stream_create();
  const gpu::event_t event = gpu::event_create();
  const std::size_t bytes = count * sizeof(float);
  const Buffer<float> workspace(count), ya(count), yb(count);
  gpu::open_block(workspace, bytes, a);
  gpu::launch(set_kernel, on(a, "set"), workspace, count, 1.f);
  gpu::launch(copy_kernel, on(a, "copy"), workspace, ya, count);
  gpu::close_block(workspace, bytes, a);
  if (bug != 1) {
    gpu::event_record(event, a);
    gpu::stream_wait(b, event);
  }
  gpu::open_block(workspace, bytes, b);
  gpu::launch(set_kernel, on(b, "set"), workspace, count, 2.f);
  gpu::launch(copy_kernel, on(b, "copy"), workspace, yb, count);
  const bool right = all_equal(ya.host(), 1) && all_equal(yb.host(), 2);
  gpu::event_destroy(event);
  gpu::stream_destroy(a);
  gpu::stream_destroy(b);
  return right;
}

}  // namespace

Family lifetimes() {
  return {"lifetimes",
          {{"within the block", within_the_block}, {"a workspace of two streams", workspace_of_two_streams<0>}},
          {{"memory used after it is freed", used_after_free, false},
           {"memory freed twice", freed_twice},
           {"a pointer into the middle is freed", freed_in_the_middle},
           {"a copy beyond the end", copy_beyond_the_end},
           {"a fill beyond the end", fill_beyond_the_end},
           {"a copy of the wrong kind", copy_of_the_wrong_kind},
           {"one element beyond a cached block", one_beyond_the_block, false},
           {"some elements beyond a cached block", far_beyond_the_block, false},
           {"a cached block used after its end", cached_block_after_its_end, false},
           {"what an earlier owner left in a cached block", cached_block_not_written},
           {"a workspace handed to another stream too early", workspace_of_two_streams<1>}}};
}

}  // namespace cuboid::test
