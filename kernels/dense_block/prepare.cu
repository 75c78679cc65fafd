// SPDX-License-Identifier: Apache-2.0
// What the products of a dense block need around them: who is whose neighbour, weights in their order, gradients completed.
#include "core/launch.h"
#include "core/packet.h"
#include "kernels/dense_block/cuda.h"
#include "kernels/voxels.h"

namespace cuboid::dense::device {
namespace {

__global__ void neighbours_kernel(int voxels, int depth, int height, int width, std::uint16_t* within) {
  const int step = static_cast<int>(gridDim.x * blockDim.x);
  for (int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); i < voxels; i += step) {
    int rest = i;
    const int w = take(rest, width), h = take(rest, height), d = take(rest, depth);
    const auto bits = [](int at, int size) { return (at > 0 ? 1u : 0u) | 2u | (at + 1 < size ? 4u : 0u); };
    within[i] = static_cast<std::uint16_t>(bits(d, depth) | bits(h, height) << 3 | bits(w, width) << 6);
  }
}

constexpr int list_size = 128;
template <class T>
struct WeightList {
  const T* of[list_size];
};

/// blockIdx.y: which layer. One thread per element of the result.
template <class T>
__global__ void pack_kernel(WeightList<T> list, int growth, int mid, int taps, bool taps_first, T* to) {
  const int size = growth * mid * taps, step = static_cast<int>(gridDim.x * blockDim.x);
  const T* from = list.of[blockIdx.y];
  T* own = to + static_cast<std::int64_t>(blockIdx.y) * size;
  for (int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); i < size; i += step) {
    int rest = i;
    const int m = take(rest, mid), inner = take(rest, taps_first ? growth : taps);
    const int tap = taps_first ? rest : inner, g = taps_first ? inner : rest;
    own[i] = from[(g * mid + m) * taps + tap];
  }
}

/// One thread per packet of channels.
template <class T, int W>
__global__ void complete_kernel(std::int64_t jobs, int packets, std::int64_t width, int channel, Pending pending, const T* slab,
                                const float* gradient, T* to) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < jobs; i += step) {
    const std::int64_t voxel = i / packets;
    const int c = channel + static_cast<int>(i - voxel * packets) * W;
    const auto x = Packet<T, W>::load(slab + voxel * width + c);
    Packet<T, W> p;
    for (int k = 0; k < W; k += 4) {
      const auto g = Packet<float, 4>::load(gradient + voxel * width + c + k);
      for (int e = 0; e < 4; ++e)
        p.at[k + e] =
            static_cast<T>(g.at[e] + pending.offset[c + k + e] + pending.factor[c + k + e] * static_cast<float>(x.at[k + e]));
    }
    p.store(to + i * W);
  }
}

}  // namespace

void neighbours(const Geometry& g, std::uint16_t* within) {
  gpu::launch(neighbours_kernel, cuda::over(g.voxels(), "dense_block.neighbours"), static_cast<int>(g.voxels()),
              static_cast<int>(g.d), static_cast<int>(g.h), static_cast<int>(g.w), within);
}

template <class T>
void pack(const Geometry& g, const std::vector<const T*>& weights, bool taps_first, T* to) {
  const int taps = static_cast<int>(g.depth_taps * 9);
  const std::int64_t size = g.growth * g.mid * taps;
  for (std::size_t first = 0; first < weights.size(); first += list_size) {
    WeightList<T> list{};
    const std::size_t count = std::min<std::size_t>(list_size, weights.size() - first);
    for (std::size_t i = 0; i < count; ++i) list.of[i] = weights[first + i];
    gpu::LaunchCfg grid = cuda::over(size, "dense_block.pack");
    grid.grid.y = static_cast<unsigned>(count);
    gpu::launch(pack_kernel<T>, grid, list, static_cast<int>(g.growth), static_cast<int>(g.mid), taps, taps_first,
                to + static_cast<std::int64_t>(first) * size);
  }
}

template <class T>
void complete(const Geometry& g, int channel, int count, const Pending& pending, const T* slab, const float* gradient, T* to) {
  constexpr int W = packet_width<T>;
  const std::int64_t jobs = g.voxels() * count / W;
  gpu::launch(complete_kernel<T, W>, cuda::over(jobs, "dense_block.gradient"), jobs, count / W, g.width(), channel, pending, slab,
              gradient, to);
}

template void pack(const Geometry&, const std::vector<const float*>&, bool, float*);
template void pack(const Geometry&, const std::vector<const bf16*>&, bool, bf16*);
template void pack(const Geometry&, const std::vector<const f16*>&, bool, f16*);
template void complete(const Geometry&, int, int, const Pending&, const float*, const float*, float*);
template void complete(const Geometry&, int, int, const Pending&, const bf16*, const float*, bf16*);
template void complete(const Geometry&, int, int, const Pending&, const f16*, const float*, f16*);

}  // namespace cuboid::dense::device
