// SPDX-License-Identifier: Apache-2.0
// wgmma: every n, operands K-major and MN-major in every swizzle, a from registers, sequences and groups.
#include "core/dtype.h"
#include "tests/emulator/conformance/conformance.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

/// How the test lays an operand of `rows` rows and `depth` k into shared memory, 16-bit or f32 elements.
struct Lay {
  ptx::Swizzle swizzle;
  bool mn_major;
};

__host__ __device__ constexpr int width_of(ptx::Swizzle s) { return s == ptx::Swizzle::none ? 16 : 256 >> static_cast<int>(s); }

/// Byte offset of element (row, k). K-major: rows of `width` bytes, 8 of them are a piece; pieces of further k follow after all
/// rows. MN-major: the same with the roles of row and k exchanged.
[[maybe_unused]] __host__ __device__ inline int offset_of(Lay lay, int row, int k, int rows, int depth, int element) {
  const int width = width_of(lay.swizzle), per_row = width / element;
  if (lay.mn_major) {
    const int t = row;
    row = k, k = t;
    const int u = rows;
    rows = depth, depth = u;
  }
  const int piece = k / per_row * (rows * width) + row * width + k % per_row * element;
  if (lay.swizzle == ptx::Swizzle::none) return piece;
  const int mask = width / 16 - 1, shift = lay.swizzle == ptx::Swizzle::b128 ? 0 : lay.swizzle == ptx::Swizzle::b64 ? 1 : 2;
  return piece ^ ((row >> shift & mask) << 4);
}

#if GPU_HAS_SM90A
/// Descriptor for k from `k` on.
__device__ inline std::uint64_t descriptor(const unsigned char* p, Lay lay, int k, int rows, int depth, int element) {
  const int width = width_of(lay.swizzle), per_row = width / element;
  if (!lay.mn_major) {  // within a swizzled row, then on to the next pieces
    const int at = k / per_row * (rows * width) + (lay.swizzle == ptx::Swizzle::none ? 0 : k % per_row * element);
    return ptx::wgmma_desc(p + at, lay.swizzle, 8 * width, rows * width);
  }
  // Eight k are a piece; the next swizzle width along m or n comes after all k. Without swizzle the two trade places.
  const int along_k = 8 * width, along_mn = depth * width;
  if (lay.swizzle == ptx::Swizzle::none) return ptx::wgmma_desc(p + k * width, lay.swizzle, along_mn, along_k);
  return ptx::wgmma_desc(p + k * width, lay.swizzle, along_k, along_mn);
}
#endif

/// d (64 x N) = a (64 x 64) b (64 x N); a and b are row-major with k last.
template <int N, class T, bool a_mn, bool b_mn, bool from_registers>
__global__ void product(const T* a, const T* b, float* d, ptx::Swizzle swizzle_a, ptx::Swizzle swizzle_b) {
#if GPU_HAS_SM90A
  constexpr int depth = 64, element = sizeof(T), k_step = 32 / element;
  const Lay lay_a{swizzle_a, a_mn}, lay_b{swizzle_b, b_mn};
  gpu::SmemAlloc shared;
  auto* sa = shared.take<unsigned char>(64 * depth * element, 1024);
  auto* sb = shared.take<unsigned char>(N * depth * element, 1024);
  const int t = static_cast<int>(threadIdx.x);
  for (int i = t; i < 64 * depth; i += 128)
    *reinterpret_cast<T*>(sa + offset_of(lay_a, i / depth, i % depth, 64, depth, element)) = a[i];
  for (int i = t; i < N * depth; i += 128)
    *reinterpret_cast<T*>(sb + offset_of(lay_b, i / depth, i % depth, N, depth, element)) = b[i];
  ptx::fence_proxy_async();
  __syncthreads();
  float sum[N / 2];
  for (float& v : sum) v = 1000;
  const int row = t / 32 * 16 + t % 32 / 4;
  ptx::wgmma_fence();
  for (int k = 0; k < depth; k += k_step) {
    const bool more = k > 0;
    const auto db = descriptor(sb, lay_b, k, N, depth, element);
    if constexpr (from_registers) {
      std::uint32_t fragment[4];
      for (int i = 0; i < 4; ++i) {
        const T* p = a + (row + i % 2 * 8) * depth + k + t % 4 * 2 + i / 2 * 8;
        fragment[i] = pack(p[0], p[1]);
      }
      ptx::wgmma_fence();
      if constexpr (std::is_same_v<T, bf16>) ptx::wgmma_m64k16_bf16<N, b_mn>(sum, fragment, db, more);
      else ptx::wgmma_m64k16_f16<N, b_mn>(sum, fragment, db, more);
      ptx::wgmma_commit();
      ptx::wgmma_wait<0>();
    } else {
      const auto da = descriptor(sa, lay_a, k, 64, depth, element);
      if constexpr (std::is_same_v<T, bf16>) ptx::wgmma_m64k16_bf16<N, a_mn, b_mn>(sum, da, db, more);
      else if constexpr (std::is_same_v<T, f16>) ptx::wgmma_m64k16_f16<N, a_mn, b_mn>(sum, da, db, more);
      else ptx::wgmma_m64k8_tf32<N>(sum, da, db, more);
    }
  }
  if constexpr (!from_registers) {
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
  }
  for (int i = 0; i < N / 2; ++i) d[(row + i / 2 % 2 * 8) * N + i / 4 * 8 + t % 4 * 2 + i % 2] = sum[i];
#endif
}

std::vector<float> product_of(const std::vector<float>& a, const std::vector<float>& b, std::size_t n) {
  std::vector<float> d(64 * n);
  for (std::size_t i = 0; i < 64; ++i)
    for (std::size_t j = 0; j < n; ++j)
      for (std::size_t k = 0; k < 64; ++k) d[i * n + j] += a[i * 64 + k] * b[j * 64 + k];
  return d;
}

template <int N, class T, bool a_mn = false, bool b_mn = false, bool from_registers = false>
void multiplies(ptx::Swizzle swizzle_a, ptx::Swizzle swizzle_b) {
  const auto a = small_numbers(64 * 64), b = small_numbers(N * 64, 8, 2);
  const Buffer<T> da(as<T>(a)), db(as<T>(b));
  const Buffer<float> d(64 * N);
  gpu::launch(product<N, T, a_mn, b_mn, from_registers>,
              {.grid = dim3(1), .block = dim3(128), .smem = (64 + N) * 64 * sizeof(T) + 1024}, da, db, d, swizzle_a, swizzle_b);
  EXPECT_EQ(d.host(), product_of(a, b, N)) << "n " << N << " swizzles " << static_cast<int>(swizzle_a) << " and "
                                           << static_cast<int>(swizzle_b) << (a_mn ? " a MN-major" : "")
                                           << (b_mn ? " b MN-major" : "");
}

using enum ptx::Swizzle;

TEST(Ptx, WgmmaEveryN) {
  NEEDS(90);
  multiplies<8, bf16>(b128, b128);
  multiplies<16, bf16>(b128, b128);
  multiplies<32, bf16>(b128, b128);
  multiplies<64, bf16>(b128, b128);
  multiplies<96, bf16>(b128, b128);
  multiplies<128, bf16>(b128, b128);
  multiplies<192, bf16>(b128, b128);
  multiplies<256, bf16>(b128, b128);
}

TEST(Ptx, WgmmaEveryTypeAndSwizzle) {
  NEEDS(90);
  for (const auto swizzle : {none, b128, b64, b32}) {
    multiplies<32, bf16>(swizzle, b128);
    multiplies<32, f16>(b128, swizzle);
    multiplies<32, float>(swizzle, swizzle);
  }
}

TEST(Ptx, WgmmaMnMajor) {
  NEEDS(90);
  for (const auto swizzle : {b128, b64, b32, none}) {
    multiplies<64, bf16, true, false>(swizzle, b128);
    multiplies<64, bf16, false, true>(b128, swizzle);
    multiplies<128, f16, true, true>(swizzle, swizzle);
  }
}

TEST(Ptx, WgmmaFromRegisters) {
  NEEDS(90);
  multiplies<32, bf16, false, false, true>(b128, b128);
  multiplies<128, f16, false, true, true>(b128, b128);
}

/// Two groups in flight: the first is complete after wait<1>.
__global__ void two_groups(const bf16* a, const bf16* b, float* d) {
#if GPU_HAS_SM90A
  constexpr Lay lay{b128, false};
  gpu::SmemAlloc shared;
  auto* sa = shared.take<unsigned char>(8192, 1024);
  auto* sb = shared.take<unsigned char>(1024, 1024);
  const int t = static_cast<int>(threadIdx.x);
  for (int i = t; i < 64 * 64; i += 128) *reinterpret_cast<bf16*>(sa + offset_of(lay, i / 64, i % 64, 64, 64, 2)) = a[i];
  for (int i = t; i < 8 * 64; i += 128) *reinterpret_cast<bf16*>(sb + offset_of(lay, i / 64, i % 64, 8, 64, 2)) = b[i];
  ptx::fence_proxy_async();
  __syncthreads();
  float first[4] = {}, second[4] = {};
  const auto da = ptx::wgmma_desc_sw128(sa), db = ptx::wgmma_desc_sw128(sb);
  ptx::wgmma_fence();
  for (std::uint64_t k = 0; k < 4; ++k) ptx::wgmma_m64k16_bf16<8>(first, da + k * 2, db + k * 2);
  ptx::wgmma_commit();
  for (std::uint64_t k = 0; k < 2; ++k) ptx::wgmma_m64k16_bf16<8>(second, da + k * 2, db + k * 2, k > 0);
  ptx::wgmma_commit();
  ptx::wgmma_wait<1>();
  const int row = t / 32 * 16 + t % 32 / 4;
  for (int i = 0; i < 4; ++i) d[(row + i / 2 * 8) * 8 + t % 4 * 2 + i % 2] = first[i];
  ptx::wgmma_wait<0>();
  for (int i = 0; i < 4; ++i) d[512 + (row + i / 2 * 8) * 8 + t % 4 * 2 + i % 2] = second[i];
#endif
}

TEST(Ptx, WgmmaGroupsCompleteInOrder) {
  NEEDS(90);
  const auto a = small_numbers(64 * 64), b = small_numbers(8 * 64, 8, 2);
  const Buffer<bf16> da(as<bf16>(a)), db(as<bf16>(b));
  const Buffer<float> d(1024);
  gpu::launch(two_groups, {.grid = dim3(1), .block = dim3(128), .smem = 9216}, da, db, d);
  auto half_a = a;
  for (std::size_t i = 0; i < half_a.size(); ++i)
    if (i % 64 >= 32) half_a[i] = 0;
  auto expected = product_of(a, b, 8);
  const auto half = product_of(half_a, b, 8);
  expected.insert(expected.end(), half.begin(), half.end());
  EXPECT_EQ(d.host(), expected);
}

}  // namespace
