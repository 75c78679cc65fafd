// SPDX-License-Identifier: Apache-2.0
// The device's two roofs: chains of multiply-adds on every core, a copy that no cache holds.
#include "core/allocator.h"
#include "core/error.h"
#include "core/launch.h"
#include "core/roofs.h"

namespace cuboid::detail {
namespace {

#if CUBOID_EMULATED  // no roof, only the same way through the code
constexpr int steps = 4, blocks_each = 1;
constexpr std::int64_t stream_bytes = 1 << 12;
#else
constexpr int steps = 1 << 14, blocks_each = 8;
constexpr std::int64_t stream_bytes = 1 << 29;
#endif
constexpr int chains = 8, threads = 256;

__global__ void multiply_adds_kernel(float* out, float seed) {
  float x[chains];
#pragma unroll
  for (int c = 0; c < chains; ++c) x[c] = static_cast<float>(c + static_cast<int>(threadIdx.x));
  for (int i = 0; i < steps; ++i) {
#pragma unroll
    for (int c = 0; c < chains; ++c) x[c] = x[c] * 0.999F + seed;
  }
  float sum = 0;
#pragma unroll
  for (int c = 0; c < chains; ++c) sum += x[c];
  out[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}

__global__ void stream_kernel(const float4* from, float4* to, std::int64_t count) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) to[i] = from[i];
}

/// Straight from the device: the allocator would keep it.
template <class T>
class Buffer {
 public:
  explicit Buffer(std::int64_t count) : bytes_(count * static_cast<std::int64_t>(sizeof(T))) {
    data_ = cuda::device_memory().obtain(bytes_);
    check<OutOfMemory>(data_ != nullptr, "measure_roofs: the device has no ", bytes_, " bytes");
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { cuda::device_memory().give_back(data_, bytes_); }
  T* data() const { return static_cast<T*>(data_); }

 private:
  std::int64_t bytes_;
  void* data_;
};

template <class F>
double seconds_of(F&& launch) {
  cuda::Event start(true), end(true);
  start.record();
  launch();
  end.record();
  end.synchronize();
  return end.ms_since(start) / 1e3;
}

}  // namespace

Sample cuda_multiply_adds() {
  const std::int64_t blocks = std::int64_t{blocks_each} * cuda::device_info().multiprocessors;
  const Buffer<float> out(blocks * threads);
  const double seconds = seconds_of(
      [&] { gpu::launch(multiply_adds_kernel, cuda::blocks_of(blocks, threads, "multiply_adds"), out.data(), 0.001F); });
  return {2.0 * chains * steps * threads * static_cast<double>(blocks), seconds};
}

Sample cuda_stream() {
  const std::int64_t count = stream_bytes / static_cast<std::int64_t>(sizeof(float4));
  const std::int64_t blocks = std::int64_t{blocks_each} * cuda::device_info().multiprocessors;
  const Buffer<float4> from(count), to(count);
  cuda::fill(Out(View{from.data(), DType::f32, Device::cuda, {4 * count}, {1}}), 1);
  const double seconds =
      seconds_of([&] { gpu::launch(stream_kernel, cuda::blocks_of(blocks, threads, "stream"), from.data(), to.data(), count); });
  return {2.0 * static_cast<double>(stream_bytes), seconds};
}

}  // namespace cuboid::detail
