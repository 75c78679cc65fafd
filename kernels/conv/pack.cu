// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/pack.h"

#include <memory>

#include "core/launch.h"
#include "kernels/packed_copies.h"

namespace cuboid::cuda {
namespace {

template <class T>
__global__ void pack_kernel(const T* w, T* to, int channels, int taps, int pitch, std::int64_t size) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < size; i += step) {
    const std::int64_t k = i / (taps * pitch);
    const int rest = static_cast<int>(i - k * (taps * pitch)), tap = rest / pitch, c = rest % pitch;
    to[i] = c < channels ? w[(k * channels + c) * taps + tap] : T{};
  }
}

template <class T>
__global__ void add_parts_kernel(const Accum<T>* parts, int splits, std::int64_t count, const T* bias, int channels, T* to) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
    Accum<T> sum = 0;
    for (int s = 0; s < splits; ++s) sum += parts[s * count + i];
    to[i] = static_cast<T>(bias ? sum + static_cast<Accum<T>>(bias[i % channels]) : sum);
  }
}

template <class T>
__global__ void add_weight_parts_kernel(const Accum<T>* parts, int splits, int taps, int inputs, int outputs, T* dw) {
  const std::int64_t count = static_cast<std::int64_t>(taps) * inputs * outputs;
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
    Accum<T> sum = 0;
    for (int s = 0; s < splits; ++s) sum += parts[s * count + i];
    const std::int64_t row = i / outputs, k = i - row * outputs, tap = row / inputs, c = row - tap * inputs;
    dw[(k * inputs + c) * taps + tap] = static_cast<T>(sum);
  }
}

struct PaddedOrder {
  int pitch;
  Stream stream;
  bool operator==(const PaddedOrder&) const = default;
};

}  // namespace

std::shared_ptr<const void> packed_weights(const View& w, int pitch, Storage* home) {
  const int channels = static_cast<int>(w.dim(1));
  const std::int64_t taps = w.size() / (w.dim(0) * channels);
  if (taps == 1 && channels == pitch) return {std::shared_ptr<void>(), w.data};
  return PackedCopies::get(home, w.data, PaddedOrder{pitch, stream()}, [&] {
    const std::int64_t size = w.dim(0) * taps * pitch;
    const auto memory = std::make_shared<Scratch<char>>(size * size_of(w.dtype), Device::cuda);
    visit_floating(w.dtype, "conv", [&]<class T>() {
      gpu::launch(pack_kernel<T>, over(size, "pack_weights"), w.as<T>(), reinterpret_cast<T*>(memory->data()), channels,
                  static_cast<int>(taps), pitch, size);
    });
    return std::shared_ptr<const void>(memory, memory->data());
  });
}

template <class T>
void add_parts(const Accum<T>* parts, int splits, std::int64_t count, const T* bias, int channels, T* to) {
  gpu::launch(add_parts_kernel<T>, over(count, "add_parts"), parts, splits, count, bias, channels, to);
}
template <class T>
void add_weight_parts(const Accum<T>* parts, int splits, int taps, int inputs, int outputs, T* dw) {
  gpu::launch(add_weight_parts_kernel<T>, over(static_cast<std::int64_t>(taps) * inputs * outputs, "add_weight_parts"), parts,
              splits, taps, inputs, outputs, dw);
}
template void add_parts(const float*, int, std::int64_t, const float*, int, float*);
template void add_parts(const double*, int, std::int64_t, const double*, int, double*);
template void add_parts(const float*, int, std::int64_t, const bf16*, int, bf16*);
template void add_parts(const float*, int, std::int64_t, const f16*, int, f16*);
template void add_weight_parts(const float*, int, int, int, int, float*);
template void add_weight_parts(const double*, int, int, int, int, double*);
template void add_weight_parts(const float*, int, int, int, int, bf16*);
template void add_weight_parts(const float*, int, int, int, int, f16*);

}  // namespace cuboid::cuda
