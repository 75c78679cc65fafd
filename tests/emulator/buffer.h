// SPDX-License-Identifier: Apache-2.0
// For tests that launch kernels themselves: an array on the device, numbers to put into it. The same under nvcc.
#pragma once
#include <cstdint>
#include <vector>

#include "core/gpu.h"

namespace cuboid::test {

template <class T>
class Buffer {
 public:
  explicit Buffer(std::size_t count) : data_(static_cast<T*>(gpu::malloc_bytes(count * sizeof(T)))), count_(count) {}
  Buffer(std::size_t count, int byte) : Buffer(count) { gpu::fill_bytes(data_, byte, bytes()); }
  explicit Buffer(const std::vector<T>& values) : Buffer(values.size()) { gpu::copy_h2d(data_, values.data(), bytes()); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { gpu::free_bytes(data_); }
  operator T*() const { return data_; }
  std::size_t bytes() const { return count_ * sizeof(T); }
  /// Waits for the whole device.
  std::vector<T> host() const {
    gpu::synchronize();
    std::vector<T> values(count_);
    gpu::copy_d2h(values.data(), data_, bytes());
    return values;
  }

 private:
  T* data_;
  std::size_t count_;
};

/// Small whole numbers, so that sums and products are exact in every type: in [-limit, limit].
inline float small_number(std::size_t i, int limit, unsigned key = 1) {
  const auto h = static_cast<unsigned>(i * 2654435761u + key * 40503u) >> 7;
  return static_cast<float>(static_cast<int>(h % static_cast<unsigned>(2 * limit + 1)) - limit);
}
inline std::vector<float> small_numbers(std::size_t count, int limit = 8, unsigned key = 1) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = small_number(i, limit, key);
  return values;
}
template <class T>
std::vector<T> as(const std::vector<float>& values) {
  std::vector<T> r;
  r.reserve(values.size());
  for (const float v : values) r.push_back(static_cast<T>(v));
  return r;
}

}  // namespace cuboid::test
