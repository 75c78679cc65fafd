// SPDX-License-Identifier: Apache-2.0
// mbarriers and TMA.
#include "core/tensor_map.h"
#include "tests/emulator/conformance/conformance.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

// ---- mbarriers: a producer warp and a consumer warp over a ring of three slots ------------------

__global__ void ring(const float* from, float* to, int steps) {
#if GPU_HAS_SM90
  constexpr int slots = 3;
  gpu::SmemAlloc shared;
  auto* slot = shared.take<float>(slots * 32);
  auto* full = shared.take<std::uint64_t>(slots, 8);
  auto* empty = shared.take<std::uint64_t>(slots, 8);
  if (threadIdx.x == 0) {
    for (int i = 0; i < slots; ++i) {
      ptx::mbar_init(&full[i], 32);
      ptx::mbar_init(&empty[i], 1);
    }
    ptx::mbar_fence_init();
  }
  __syncthreads();
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int step = 0; step < steps; ++step) {
    const int i = step % slots;
    const auto phase = static_cast<std::uint32_t>(step / slots) & 1u;
    if (threadIdx.x < 32) {
      ptx::mbar_wait(&empty[i], phase ^ 1u);
      if (step % 2) {
        ptx::cp_async<4>(&slot[i * 32 + lane], &from[step * 32 + lane]);
        ptx::mbar_arrive_after_cp_async(&full[i]);
      } else {
        slot[i * 32 + lane] = from[step * 32 + lane];
        ptx::mbar_arrive(&full[i]);
      }
    } else {
      while (!ptx::mbar_test(&full[i], phase)) ptx::mbar_wait(&full[i], phase);
      to[step * 32 + lane] = slot[i * 32 + 31 - lane];
      __syncwarp();
      if (lane == 0) ptx::mbar_arrive(&empty[i]);
    }
  }
  ptx::cp_async_wait<0>();
#endif
}

TEST(Ptx, MbarriersPassARingOfSlots) {
  NEEDS(90);
  constexpr int steps = 11;
  const auto x = small_numbers(steps * 32, 1000);
  const Buffer<float> from(x), to(x.size());
  gpu::launch(ring, {.grid = dim3(1), .block = dim3(64), .smem = 1024}, from, to, steps);
  const auto y = to.host();
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_EQ(y[i], x[i / 32 * 32 + 31 - i % 32]);
}

__global__ void one_lane_per_warp(int* count) {
#if GPU_HAS_SM90
  if (ptx::elect_one()) atomicAdd(&count[threadIdx.x / 32], 1);
#endif
}

TEST(Ptx, ElectOneChoosesOneLane) {
  NEEDS(90);
  const Buffer<int> count(4, 0);
  gpu::launch(one_lane_per_warp, {.grid = dim3(1), .block = dim3(128)}, count);
  EXPECT_EQ(count.host(), std::vector<int>(4, 1));
}

__global__ void bulk(const float* from, float* to) {
#if GPU_HAS_SM90
  gpu::SmemAlloc shared;
  auto* s = shared.take<float>(256, 128);
  auto* bar = shared.take<std::uint64_t>(1, 8);
  if (threadIdx.x == 0) {
    ptx::mbar_init(bar, 1);
    ptx::mbar_fence_init();
    ptx::mbar_expect_tx(bar, 512);
    ptx::bulk_load(s, from, 512, bar);
    ptx::mbar_arrive_expect_tx(bar, 512);
    ptx::bulk_load(s + 128, from + 128, 512, bar);
  }
  __syncthreads();
  ptx::mbar_wait(bar, 0);
  for (int i = static_cast<int>(threadIdx.x); i < 256; i += 32) to[i] = s[i];
#endif
}

TEST(Ptx, BulkLoadMovesBytes) {
  NEEDS(90);
  const auto x = small_numbers(256, 1000);
  const Buffer<float> from(x), to(256);
  gpu::launch(bulk, {.grid = dim3(1), .block = dim3(32), .smem = 1152}, from, to);
  EXPECT_EQ(to.host(), x);
}

// ---- tiled boxes -------------------------------------------------------------------------------

struct Box {
  int rank, bytes;
  int at[5];
};

/// What TMA put into shared memory, as it lies there.
__global__ void load_box(const __grid_constant__ gpu::TensorMap map, Box box, unsigned char* out) {
#if GPU_HAS_SM90
  gpu::SmemAlloc shared;
  auto* s = shared.take<unsigned char>(static_cast<std::size_t>(box.bytes), 1024);
  auto* bar = shared.take<std::uint64_t>(1, 8);
  if (threadIdx.x == 0) {
    ptx::mbar_init(bar, 1);
    ptx::mbar_fence_init();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    const int* c = box.at;
    ptx::mbar_arrive_expect_tx(bar, static_cast<std::uint32_t>(box.bytes));
    if (box.rank == 1) ptx::tma_load_1d(s, &map, bar, c[0]);
    if (box.rank == 2) ptx::tma_load_2d(s, &map, bar, c[0], c[1]);
    if (box.rank == 3) ptx::tma_load_3d(s, &map, bar, c[0], c[1], c[2]);
    if (box.rank == 4) ptx::tma_load_4d(s, &map, bar, c[0], c[1], c[2], c[3]);
    if (box.rank == 5) ptx::tma_load_5d(s, &map, bar, c[0], c[1], c[2], c[3], c[4]);
  }
  ptx::mbar_wait(bar, 0);
  for (int i = static_cast<int>(threadIdx.x); i < box.bytes; i += 64) out[i] = s[i];
#endif
}

/// Byte `i` of a box row `row` of `width` bytes, where the swizzle puts it.
std::size_t place(std::size_t row, std::size_t i, std::size_t width, ptx::Swizzle swizzle) {
  const std::size_t chunks = width / 16;
  std::size_t chunk = i / 16;
  if (swizzle == ptx::Swizzle::b128) chunk ^= row % 8;
  if (swizzle == ptx::Swizzle::b64) chunk ^= row / 2 % 4;
  if (swizzle == ptx::Swizzle::b32) chunk ^= row / 4 % 2;
  return (row * chunks + chunk) * 16 + i % 16;
}

std::vector<std::uint16_t> numbered(std::size_t count) {
  std::vector<std::uint16_t> x(count);
  for (std::size_t i = 0; i < count; ++i) x[i] = static_cast<std::uint16_t>((i * 2654435761u >> 13) | 1);
  return x;
}

struct Tensor16 {
  std::array<std::int64_t, 5> dims{}, strides{};
  std::vector<std::uint16_t> values;
  Tensor16(int rank, std::array<std::int64_t, 5> d) : dims(d) {
    std::int64_t step = 1;
    for (std::size_t i = 0; i < 5; ++i) {
      if (static_cast<int>(i) >= rank) dims[i] = 1;
      strides[i] = step;
      step *= dims[i];
    }
    values = numbered(static_cast<std::size_t>(step));
  }
  /// Zero outside.
  std::uint16_t at(const std::array<std::int64_t, 5>& p) const {
    std::int64_t i = 0;
    for (std::size_t d = 0; d < 5; ++d) {
      if (p[d] < 0 || p[d] >= dims[d]) return 0;
      i += p[d] * strides[d];
    }
    return values[static_cast<std::size_t>(i)];
  }
};

void loads_tiles(int rank, std::array<std::int64_t, 5> dims, std::array<int, 5> box, std::array<int, 5> at, ptx::Swizzle swizzle,
                 std::array<int, 5> steps = {1, 1, 1, 1, 1}) {
  const Tensor16 x(rank, dims);
  const Buffer<std::uint16_t> data(x.values);
  std::size_t counts[5], total = 1;
  for (std::size_t d = 0; d < 5; ++d) {
    counts[d] = static_cast<int>(d) < rank ? static_cast<std::size_t>((box[d] + steps[d] - 1) / steps[d]) : 1;
    total *= counts[d];
  }
  const Buffer<unsigned char> out(total * 2);
  const auto map = gpu::tiled_map({data, DType::bf16, rank, x.dims, x.strides, swizzle}, box, steps);
  Box where{rank, static_cast<int>(total * 2), {at[0], at[1], at[2], at[3], at[4]}};
  gpu::launch(load_box, {.grid = dim3(1), .block = dim3(64), .smem = total * 2 + 64}, map, where, out);
  const auto got = out.host();
  const std::size_t width = counts[0] * 2;
  for (std::size_t row = 0; row < total / counts[0]; ++row)
    for (std::size_t c = 0; c < counts[0]; ++c) {
      std::array<std::int64_t, 5> p{};
      std::size_t rest = row;
      p[0] = at[0] + static_cast<std::int64_t>(c);
      for (std::size_t d = 1; d < 5; ++d) {
        p[d] = at[d] + static_cast<std::int64_t>(rest % counts[d]) * steps[d];
        rest /= counts[d];
      }
      const std::size_t lies = place(row, c * 2, width, swizzle);
      ASSERT_EQ(got[lies] | got[lies + 1] << 8, x.at(p)) << "rank " << rank << " row " << row << " element " << c;
    }
}

TEST(Ptx, TmaLoadsTilesWithZerosOutside) {
  NEEDS(90);
  using enum ptx::Swizzle;
  loads_tiles(1, {100}, {64}, {-8}, none);
  loads_tiles(1, {104}, {64}, {80}, none);
  loads_tiles(2, {72, 10}, {64, 8}, {16, 5}, b128);
  loads_tiles(2, {72, 30}, {32, 16}, {-8, -3}, b64);
  loads_tiles(2, {72, 30}, {16, 16}, {64, 20}, b32);
  loads_tiles(3, {16, 7, 5}, {16, 5, 3}, {0, 4, -1}, b32);
  loads_tiles(4, {64, 6, 5, 4}, {64, 4, 2, 2}, {0, -1, 4, 3}, b128);
  for (const auto& [w, h, d] : {std::array{-1, -1, 0}, std::array{0, 0, 1}, std::array{5, 4, 2}, std::array{-3, 2, 3}})
    loads_tiles(5, {64, 10, 6, 3, 2}, {64, 8, 4, 1, 1}, {0, w, h, d, 1}, b128);
}

TEST(Ptx, TmaSkipsElements) {
  NEEDS(90);
  loads_tiles(3, {64, 20, 9}, {64, 16, 4}, {0, 3, 1}, ptx::Swizzle::b128, {1, 2, 3, 1, 1});
}

// ---- im2col: rows of a convolution's operand ---------------------------------------------------

struct Pixels {
  int rank, bytes;
  int c, w, h, d, n;
  std::uint16_t ow, oh, od;
};

__global__ void load_pixels(const __grid_constant__ gpu::TensorMap map, Pixels p, unsigned char* out) {
#if GPU_HAS_SM90
  gpu::SmemAlloc shared;
  auto* s = shared.take<unsigned char>(static_cast<std::size_t>(p.bytes), 1024);
  auto* bar = shared.take<std::uint64_t>(1, 8);
  if (threadIdx.x == 0) {
    ptx::mbar_init(bar, 1);
    ptx::mbar_fence_init();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    ptx::mbar_arrive_expect_tx(bar, static_cast<std::uint32_t>(p.bytes));
    if (p.rank == 5) ptx::tma_load_im2col_5d(s, &map, bar, p.c, p.w, p.h, p.d, p.n, p.ow, p.oh, p.od);
    else ptx::tma_load_im2col_4d(s, &map, bar, p.c, p.w, p.h, p.n, p.ow, p.oh);
  }
  ptx::mbar_wait(bar, 0);
  for (int i = static_cast<int>(threadIdx.x); i < p.bytes; i += 64) out[i] = s[i];
#endif
}

/// The tap (kw, kh, kd) of `pixels` outputs from number `first` on, of a convolution with `kernel`, `pad`, `stride`, `dilation`.
void loads_pixels(int rank, std::array<std::int64_t, 5> dims, int kernel, int pad, int stride, int dilation, std::int64_t first,
                  std::array<int, 3> tap) {
  constexpr int channels = 64, pixels = 32;
  const Tensor16 x(rank, dims);
  const Buffer<std::uint16_t> data(x.values);
  const Buffer<unsigned char> out(pixels * channels * 2);
  const int upper = pad - (kernel - 1) * dilation;
  const auto map = gpu::im2col_map({data, DType::bf16, rank, x.dims, x.strides, ptx::Swizzle::b128}, channels, pixels,
                                   {-pad, -pad, -pad}, {upper, upper, upper}, {stride, stride, stride});
  const int spatial = rank - 2;
  std::int64_t sizes[3], at[4] = {}, rest = first;
  for (int d = 0; d < spatial; ++d) {
    sizes[d] = (dims[static_cast<std::size_t>(d) + 1] + 2 * pad - (kernel - 1) * dilation - 1) / stride + 1;
    at[d] = rest % sizes[d] * stride - pad;
    rest /= sizes[d];
  }
  const auto part = [](std::int64_t v) { return static_cast<int>(v); };
  const auto offset = [&](std::size_t d) { return static_cast<std::uint16_t>(tap[d] * dilation); };
  const Pixels p{rank,     pixels * channels * 2, 0, part(at[0]), part(at[1]), part(at[2]), part(rest), offset(0), offset(1),
                 offset(2)};
  gpu::launch(load_pixels, {.grid = dim3(1), .block = dim3(64), .smem = pixels * channels * 2 + 64}, map, p, out);
  const auto got = out.host();
  for (std::size_t row = 0; row < pixels; ++row) {
    std::int64_t number = first + static_cast<std::int64_t>(row);
    std::array<std::int64_t, 5> position{};
    for (int d = 0; d < spatial; ++d) {
      position[static_cast<std::size_t>(d) + 1] = number % sizes[d] * stride - pad + tap[static_cast<std::size_t>(d)] * dilation;
      number /= sizes[d];
    }
    position[static_cast<std::size_t>(spatial) + 1] = number;
    for (std::size_t c = 0; c < channels; ++c) {
      position[0] = static_cast<std::int64_t>(c);
      const std::size_t lies = place(row, c * 2, channels * 2, ptx::Swizzle::b128);
      ASSERT_EQ(got[lies] | got[lies + 1] << 8, x.at(position)) << "pixel " << row << " channel " << c << " from " << first;
    }
  }
}

TEST(Ptx, TmaIm2colFollowsAConvolution) {
  NEEDS(90);
  for (const std::int64_t first : {0, 7, 50}) {
    loads_pixels(5, {64, 5, 4, 3, 2}, 3, 1, 1, 1, first, {0, 2, 1});
    loads_pixels(5, {64, 5, 4, 3, 2}, 3, 1, 1, 1, first, {2, 0, 2});
    loads_pixels(4, {64, 9, 7, 3}, 3, 1, 2, 1, first, {0, 1, 0});
    loads_pixels(4, {64, 9, 7, 3}, 3, 2, 1, 2, first, {2, 2, 0});
    loads_pixels(5, {64, 8, 6, 4, 1}, 1, 0, 1, 1, first, {0, 0, 0});
  }
}

// ---- stores ------------------------------------------------------------------------------------

__global__ void store_boxes(const __grid_constant__ gpu::TensorMap two, const __grid_constant__ gpu::TensorMap five) {
#if GPU_HAS_SM90
  gpu::SmemAlloc shared;
  auto* s = shared.take<std::uint16_t>(8 * 64, 1024);
  for (int i = static_cast<int>(threadIdx.x); i < 512; i += 32) s[i] = static_cast<std::uint16_t>(i + 1);
  ptx::fence_proxy_async();
  __syncthreads();
  if (threadIdx.x == 0) {
    ptx::tma_store_2d(&two, s, 32, 5);
    ptx::bulk_commit();
    ptx::tma_store_5d(&five, s, 0, -1, 1, 0, 1);
    ptx::bulk_commit();
    ptx::bulk_wait_read<1>();
    ptx::bulk_wait<0>();
  }
#endif
}

TEST(Ptx, TmaStoresWhatLiesInside) {
  NEEDS(90);
  const Buffer<std::uint16_t> a(72 * 10, 0), b(64 * 4 * 3 * 2 * 2, 0);
  const auto two = gpu::tiled_map({a, DType::bf16, 2, {72, 10}, {1, 72}}, {64, 8, 1, 1, 1});
  const auto five =
      gpu::tiled_map({b, DType::bf16, 5, {64, 4, 3, 2, 2}, {1, 64, 256, 768, 1536}, ptx::Swizzle::b128}, {64, 4, 2, 1, 1});
  gpu::launch(store_boxes, {.grid = dim3(1), .block = dim3(32), .smem = 1024}, two, five);
  const auto x = a.host(), y = b.host();
  for (std::size_t r = 0; r < 10; ++r)
    for (std::size_t c = 0; c < 72; ++c)
      ASSERT_EQ(x[r * 72 + c], r >= 5 && c >= 32 ? (r - 5) * 64 + c - 32 + 1 : 0u) << r << " " << c;
  for (std::size_t i = 0; i < y.size(); ++i) {
    const std::size_t c = i % 64, w = i / 64 % 4, h = i / 256 % 3, d = i / 768 % 2, n = i / 1536;
    const bool inside = w < 3 && h >= 1 && d == 0 && n == 1;
    const std::size_t row = w + 1 + (h - 1) * 4;
    ASSERT_EQ(y[i], inside ? place(row, c * 2, 128, ptx::Swizzle::b128) / 2 + 1 : 0u) << i;
  }
}

}  // namespace
