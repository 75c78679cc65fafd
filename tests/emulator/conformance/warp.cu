// SPDX-License-Identifier: Apache-2.0
// Compute capability 8.0: cp.async, ldmatrix, mma, named barriers; and stmatrix of 9.0.
#include "core/dtype.h"
#include "tests/emulator/conformance/conformance.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

// ---- cp.async ----------------------------------------------------------------------------------

template <int N>
__global__ void copy_pieces(const unsigned char* from, unsigned char* to, int bytes) {
  gpu::SmemAlloc shared;
  auto* s = shared.take<unsigned char>(64 * N);
  const int t = static_cast<int>(threadIdx.x);
  for (int i = 0; i < N; ++i) s[t * N + i] = 99;
  ptx::cp_async<N>(s + t * N, from + t * N, t % 2 ? bytes : N);
  ptx::cp_async_commit();
  ptx::cp_async_wait<0>();
  __syncthreads();
  const int other = 63 - t;
  for (int i = 0; i < N; ++i) to[other * N + i] = s[other * N + i];
}

template <int N>
void copies_with_zero_fill() {
  std::vector<unsigned char> x(64 * N);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<unsigned char>(i * 7 + 1);
  for (const int bytes : {0, N / 2, N}) {
    const Buffer<unsigned char> from(x), to(x.size());
    gpu::launch(copy_pieces<N>, {.grid = dim3(1), .block = dim3(64), .smem = 64 * N}, from, to, bytes);
    auto expected = x;
    for (int t = 1; t < 64; t += 2)
      for (int i = bytes; i < N; ++i) expected[static_cast<std::size_t>(t * N + i)] = 0;
    EXPECT_EQ(to.host(), expected) << N << " " << bytes;
  }
}

TEST(Ptx, CpAsyncCopiesAndFillsWithZeros) {
  NEEDS(80);
  copies_with_zero_fill<4>();
  copies_with_zero_fill<8>();
  copies_with_zero_fill<16>();
}

/// Stage i of four is waited for while the later ones fly.
__global__ void copy_in_stages(const float* from, float* to) {
  gpu::SmemAlloc shared;
  auto* s = shared.take<float>(4 * 32);
  const int t = static_cast<int>(threadIdx.x);
  for (int stage = 0; stage < 4; ++stage) {
    ptx::cp_async<4>(s + stage * 32 + t, from + stage * 32 + t);
    ptx::cp_async_commit();
  }
  ptx::cp_async_wait<3>();
  to[t] = s[t];
  ptx::cp_async_wait<1>();
  to[32 + t] = s[32 + t];
  to[64 + t] = s[64 + t];
  ptx::cp_async_wait<0>();
  to[96 + t] = s[96 + t];
}

TEST(Ptx, CpAsyncGroupsCompleteInOrder) {
  NEEDS(80);
  const auto x = small_numbers(128, 1000);
  const Buffer<float> from(x), to(x.size());
  gpu::launch(copy_in_stages, {.grid = dim3(1), .block = dim3(32), .smem = 512}, from, to);
  EXPECT_EQ(to.host(), x);
}

// ---- ldmatrix, stmatrix: 16 rows of 16 elements, element (r, c) is 16 r + c ---------------------

template <int count, bool transposed>
__global__ void load_fragments(std::uint32_t* out) {
  GPU_SHARED(std::uint16_t, s, [16 * 16]);
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 256; i += 32) s[i] = static_cast<std::uint16_t>(i);
  __syncwarp();
  // Matrices 0 to 3: upper left, lower left, upper right, lower right.
  const std::uint16_t* row = &s[(lane % 8 + lane / 8 % 2 * 8) * 16 + lane / 16 * 8];
  std::uint32_t r[count];
  if constexpr (count == 1 && !transposed) ptx::ldmatrix_x1(r, row);
  if constexpr (count == 1 && transposed) ptx::ldmatrix_x1_trans(r, row);
  if constexpr (count == 2 && !transposed) ptx::ldmatrix_x2(r, row);
  if constexpr (count == 2 && transposed) ptx::ldmatrix_x2_trans(r, row);
  if constexpr (count == 4 && !transposed) ptx::ldmatrix_x4(r, row);
  if constexpr (count == 4 && transposed) ptx::ldmatrix_x4_trans(r, row);
  for (int i = 0; i < count; ++i) out[lane * count + i] = r[i];
}

template <int count, bool transposed>
void loads_fragments() {
  const Buffer<std::uint32_t> out(32 * count);
  gpu::launch(load_fragments<count, transposed>, {.grid = dim3(1), .block = dim3(32)}, out);
  const auto r = out.host();
  for (unsigned lane = 0; lane < 32; ++lane)
    for (unsigned i = 0; i < count; ++i) {
      unsigned row = lane / 4, column = lane % 4 * 2, next = 1;
      if (transposed) std::swap(row, column), next = 16;
      const unsigned first = (i % 2 * 8 + row) * 16 + i / 2 * 8 + column;
      EXPECT_EQ(r[lane * count + i], first | (first + next) << 16) << "lane " << lane << " matrix " << i << " of " << count;
    }
}

TEST(Ptx, LdmatrixGivesFragments) {
  NEEDS(80);
  loads_fragments<1, false>();
  loads_fragments<1, true>();
  loads_fragments<2, false>();
  loads_fragments<2, true>();
  loads_fragments<4, false>();
  loads_fragments<4, true>();
}

template <int kind>
__global__ void store_fragments(std::uint16_t* out) {
#if GPU_HAS_SM90
  GPU_SHARED(std::uint16_t, s, [16 * 16]);
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 256; i += 32) s[i] = 0;
  __syncwarp();
  void* row = &s[(lane % 8 + lane / 8 % 2 * 8) * 16 + lane / 16 * 8];
  std::uint32_t r[4];
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned first = (i % 2 * 8 + threadIdx.x / 4) * 16 + i / 2 * 8 + threadIdx.x % 4 * 2;
    r[i] = first | (first + 1) << 16;
  }
  const std::uint32_t half[2] = {r[0], r[1]};
  if constexpr (kind == 0) ptx::stmatrix_x2(row, half);
  if constexpr (kind == 1) ptx::stmatrix_x4(row, r);
  if constexpr (kind == 2) ptx::stmatrix_x4_trans(row, r);
  __syncwarp();
  for (int i = lane; i < 256; i += 32) out[i] = s[i];
#endif
}

TEST(Ptx, StmatrixIsTheReverse) {
  NEEDS(90);
  const Buffer<std::uint16_t> two(256), four(256), transposed(256);
  gpu::launch(store_fragments<0>, {.grid = dim3(1), .block = dim3(32)}, two);
  gpu::launch(store_fragments<1>, {.grid = dim3(1), .block = dim3(32)}, four);
  gpu::launch(store_fragments<2>, {.grid = dim3(1), .block = dim3(32)}, transposed);
  const auto a = two.host(), b = four.host(), c = transposed.host();
  for (unsigned i = 0; i < 256; ++i) {
    const unsigned row = i / 16, column = i % 16;
    EXPECT_EQ(a[i], column < 8 ? i : 0u);
    EXPECT_EQ(b[i], i);
    EXPECT_EQ(c[i], (row / 8 * 8 + column % 8) * 16 + column / 8 * 8 + row % 8) << "each 8x8 matrix on its own";
  }
}

// ---- mma: a 16xk row-major, b kx8 row-major, d starts as 1, 2, 3, 4 ------------------------------

template <class T>
__global__ void multiply_16(const T* a, const T* b, float* d) {
  const int lane = static_cast<int>(threadIdx.x), row = lane / 4, pair = lane % 4 * 2;
  std::uint32_t fa[4], fb[2];
  for (int i = 0; i < 4; ++i) {
    const T* p = a + (row + i % 2 * 8) * 16 + pair + i / 2 * 8;
    fa[i] = pack(p[0], p[1]);
  }
  for (int i = 0; i < 2; ++i) fb[i] = pack(b[(pair + i * 8) * 8 + row], b[(pair + i * 8 + 1) * 8 + row]);
  float sum[4] = {1, 2, 3, 4};
  if constexpr (std::is_same_v<T, bf16>) ptx::mma_m16n8k16_bf16(sum, fa, fb);
  else ptx::mma_m16n8k16_f16(sum, fa, fb);
  for (int i = 0; i < 4; ++i) d[(row + i / 2 * 8) * 8 + pair + i % 2] = sum[i];
}

__global__ void multiply_8(const float* a, const float* b, float* d) {
  const int lane = static_cast<int>(threadIdx.x), row = lane / 4, quad = lane % 4;
  std::uint32_t fa[4], fb[2];
  for (int i = 0; i < 4; ++i) fa[i] = ptx::to_tf32(a[(row + i % 2 * 8) * 8 + quad + i / 2 * 4]);
  for (int i = 0; i < 2; ++i) fb[i] = ptx::to_tf32(b[(quad + i * 4) * 8 + row]);
  float sum[4] = {1, 2, 3, 4};
  ptx::mma_m16n8k8_tf32(sum, fa, fb);
  for (int i = 0; i < 4; ++i) d[(row + i / 2 * 8) * 8 + quad * 2 + i % 2] = sum[i];
}

std::vector<float> product_16x8(const std::vector<float>& a, const std::vector<float>& b, std::size_t k_size) {
  std::vector<float> d(128);
  for (std::size_t i = 0; i < 16; ++i)
    for (std::size_t j = 0; j < 8; ++j) {
      float sum = static_cast<float>(1 + i / 8 * 2 + j % 2);
      for (std::size_t k = 0; k < k_size; ++k) sum += a[i * k_size + k] * b[k * 8 + j];
      d[i * 8 + j] = sum;
    }
  return d;
}

template <class T>
void multiplies_16() {
  const auto a = small_numbers(256), b = small_numbers(128, 8, 2);
  const Buffer<T> da(as<T>(a)), db(as<T>(b));
  const Buffer<float> d(128);
  gpu::launch(multiply_16<T>, {.grid = dim3(1), .block = dim3(32)}, da, db, d);
  EXPECT_EQ(d.host(), product_16x8(a, b, 16));
}

TEST(Ptx, MmaMultipliesEveryType) {
  NEEDS(80);
  multiplies_16<bf16>();
  multiplies_16<f16>();
  const auto a = small_numbers(128), b = small_numbers(64, 8, 2);
  const Buffer<float> da(a), db(b), d(128);
  gpu::launch(multiply_8, {.grid = dim3(1), .block = dim3(32)}, da, db, d);
  EXPECT_EQ(d.host(), product_16x8(a, b, 8));
}

__global__ void round_tf32(const float* x, std::uint32_t* y) { y[threadIdx.x] = ptx::to_tf32(x[threadIdx.x]); }

TEST(Ptx, Tf32RoundsTiesAway) {
  NEEDS(80);
  const std::vector<float> x = {1.f, 1.f + 0x1p-11f, 1.f + 0x1p-12f, 1.f + 3 * 0x1p-11f, -1.f - 0x1p-11f,
                                0.f, 1e30f,          3.14159265f};
  const Buffer<float> from(x);
  const Buffer<std::uint32_t> to(x.size());
  gpu::launch(round_tf32, {.grid = dim3(1), .block = dim3(8)}, from, to);
  const auto y = to.host();
  const float expected[] = {1.f, 1.f + 0x1p-10f, 1.f, 1.f + 2 * 0x1p-10f, -1.f - 0x1p-10f, 0.f};
  for (std::size_t i = 0; i < 6; ++i) EXPECT_EQ(std::bit_cast<float>(y[i] & 0xffffe000u), expected[i]) << i;
  for (std::size_t i = 0; i < x.size(); ++i)
    EXPECT_NEAR(std::bit_cast<float>(y[i] & 0xffffe000u), x[i], std::abs(x[i]) * 0x1p-11f);
}

// ---- named barriers: two warps hand 32 numbers at a time to two others --------------------------

__global__ void hand_over(const float* from, float* to, int steps) {
  GPU_SHARED(float, slot, [64]);
  const int t = static_cast<int>(threadIdx.x) % 64;
  for (int step = 0; step < steps; ++step) {
    if (threadIdx.x < 64) {
      if (step > 0) ptx::named_bar_sync(2, 128);
      slot[t] = from[step * 64 + t];
      ptx::named_bar_arrive(1, 128);
    } else {
      ptx::named_bar_sync(1, 128);
      to[step * 64 + t] = slot[63 - t];
      if (step + 1 < steps) ptx::named_bar_arrive(2, 128);
    }
  }
}

TEST(Ptx, NamedBarriersOrderPartsOfABlock) {
  NEEDS(80);
  const auto x = small_numbers(64 * 5, 1000);
  const Buffer<float> from(x), to(x.size());
  gpu::launch(hand_over, {.grid = dim3(1), .block = dim3(128)}, from, to, 5);
  const auto y = to.host();
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_EQ(y[i], x[i / 64 * 64 + 63 - i % 64]);
}

}  // namespace
