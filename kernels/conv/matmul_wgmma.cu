// SPDX-License-Identifier: Apache-2.0
// Matrix products on Hopper's tensor cores (compute capability 9.0), operands by TMA: lines of k as they are, or lines of rows
// (columns, for b), of which wgmma takes strips of 64.
#include "kernels/conv/matmul_plan.h"
#include "kernels/conv/wgmma.h"
#include "kernels/conv/wgmma_plan.h"

namespace cuboid::cuda {
namespace {

using tiles::Wgmma;

/// blockIdx: x rows, y columns, z splits of k within the batch.
template <class T>
struct Params {
  gpu::TensorMap a, b;
  tiles::Result<T> result;
  std::int64_t part, batch_pitch, row_pitch;  // elements of the result, of a matrix, of a row
  int rows, depth, columns, splits, split_steps;
};

/// A stage of an operand of `count` rows or columns.
template <int count, int strip, bool k_major>
__device__ void copy_stage(unsigned char* to, const gpu::TensorMap* map, std::uint64_t* bar, int first, int k, int batch) {
#if GPU_HAS_SM90A
  if constexpr (k_major) ptx::tma_load_3d(to, map, bar, k, first, batch);
  else
    for (int n = 0; n < count; n += strip) ptx::tma_load_3d(to + n * 64 * 2, map, bar, first + n, k, batch);
#endif
}

template <class W, bool a_k_major, bool b_k_major>
__global__ void __launch_bounds__(W::all_threads, W::blocks)
    wgmma_matmul_kernel(const __grid_constant__ Params<typename W::T> p) {
#if GPU_HAS_SM90A
  const tiles::Ring<W> ring;
  const int batch = static_cast<int>(blockIdx.z) / p.splits, split = static_cast<int>(blockIdx.z) % p.splits;
  const int first_row = static_cast<int>(blockIdx.x) * W::rows, first_column = static_cast<int>(blockIdx.y) * W::columns;
  const int first_k = split * p.split_steps * W::depth, left = p.depth - first_k;
  const int all_steps = left > 0 ? (left + W::depth - 1) / W::depth : 0;
  const int steps = all_steps < p.split_steps ? all_steps : p.split_steps;
  if (threadIdx.x >= W::threads) {
    if (ptx::elect_one())
      for (int step = 0; step < steps; ++step) {
        std::uint64_t* bar = ring.begin_fill(step);
        const int k = first_k + step * W::depth;
        copy_stage<W::rows, 64, a_k_major>(ring.a(step), &p.a, bar, first_row, k, batch);
        copy_stage<W::columns, W::strip, b_k_major>(ring.b(step), &p.b, bar, first_column, k, batch);
      }
  } else {
    float sum[W::columns / 2];
    // 64 rows of 128 bytes, or the group's strip, are half of the stage either way.
    const unsigned char* half = ring.a_room + threadIdx.x / 128 * (W::a_bytes / 2);
    const std::uint64_t a = ptx::wgmma_desc_sw128(half);
    const std::uint64_t b = b_k_major ? ptx::wgmma_desc_sw128(ring.b_room)
                                      : ptx::wgmma_desc(ring.b_room, W::strip_swizzle, 16 * W::strip, W::depth * W::strip * 2);
    tiles::multiply_steps<W, a_k_major ? 0 : 1, b_k_major ? 0 : 1>(
        ring, steps, sum, [&](int k) { return a + static_cast<std::uint64_t>(k * (a_k_major ? 2 : 128)); },
        [&](int k) { return b + static_cast<std::uint64_t>(k * (b_k_major ? 2 : 2 * W::strip)); });
    tiles::write_sums<W>(ring, sum, p.result, first_column, p.columns, [&](int r) -> std::int64_t {
      const int m = first_row + r;
      return m < p.rows ? batch * p.batch_pitch + m * p.row_pitch + (p.result.parts ? split * p.part : 0) : -1;
    });
  }
#endif
}

/// What TMA knows of an operand: lines of k or of rows, and the batch.
struct Described {
  bool fits, k_major;
  gpu::TensorLayout layout;

  /// `row` and `k` are axes of v, (B, ., .).
  Described(const View& v, int row, int k) {
    const Lines lines(v, row, k, 8);
    k_major = lines.k_major;
    const int inner = k_major ? k : row, outer = k_major ? row : k;
    const auto whole = [](std::int64_t n) { return (n + 7) / 8 * 8; };
    const std::int64_t line = v.dim(outer) > 1 ? lines.stride : whole(v.dim(inner));
    const std::int64_t matrix = v.dim(0) > 1 ? v.stride(0) : line * v.dim(outer);
    layout = {v.data, v.dtype, 3, {v.dim(inner), v.dim(outer), v.dim(0)}, {1, line, matrix}};
    fits = lines.usable && lines.whole && v.size() > 0 && line >= v.dim(inner) && matrix >= line && matrix % line == 0;
  }
  gpu::TensorMap map(int count, int strip, ptx::Swizzle swizzle) {
    layout.swizzle = k_major ? ptx::Swizzle::b128 : swizzle;
    return gpu::tiled_map(layout, k_major ? std::array{64, count, 1, 1, 1} : std::array{strip, 64, 1, 1, 1});
  }
};

/// As matmul_tiles of matmul_plan.h.
template <class W>
void matmul_wgmma(const View& a, const View& b, const View& bias, const Out& c) {
  using T = typename W::T;
  Described da(a, 1, 2), db(b, 2, 1);
  const std::int64_t rows = ceil_div(c.dim(1), W::rows), columns = ceil_div(c.dim(2), W::columns), batch = c.dim(0);
  const int all_steps = ceil_div(a.dim(2), W::depth);
  const Split split(rows * columns * batch, all_steps);
  const bool cut = split.splits > 1 && batch * split.splits <= 65535;
  const Scratch<float> parts(cut ? split.splits * c.size() : 0, Device::cuda);
  Params<T> p{.a = da.map(W::rows, 64, ptx::Swizzle::b128),
              .b = db.map(W::columns, W::strip, W::strip_swizzle),
              .part = c.size(),
              .batch_pitch = c.dim(1) * c.dim(2),
              .row_pitch = c.dim(2),
              .rows = static_cast<int>(c.dim(1)),
              .depth = static_cast<int>(a.dim(2)),
              .columns = static_cast<int>(c.dim(2)),
              .splits = cut ? split.splits : 1,
              .split_steps = cut ? split.steps : all_steps};
  p.result = tiles::Result<T>{
      .to = c.as<T>(), .parts = cut ? parts.data() : nullptr, .bias = bias.as<T>(), .packets = c.dim(2) % packet_width<T> == 0};
  const auto run = [&]<bool a_k_major, bool b_k_major>() {
    gpu::launch(wgmma_matmul_kernel<W, a_k_major, b_k_major>, wgmma::blocks_for<W>(rows, columns, batch * p.splits, "matmul"), p);
  };
  if (da.k_major && db.k_major) run.template operator()<true, true>();
  else if (da.k_major) run.template operator()<true, false>();
  else if (db.k_major) run.template operator()<false, true>();
  else run.template operator()<false, false>();
  if (cut) add_parts<T>(parts.data(), split.splits, c.size(), bias.as<T>(), static_cast<int>(c.dim(2)), c.as<T>());
}

}  // namespace

namespace wgmma {

bool matmul_fits(const View& a, const View& b, const Out& c) {
  return device_fits() && (a.dtype == DType::bf16 || a.dtype == DType::f16) && matmul_tiles_fit(a, b, c) &&
         Described(a, 1, 2).fits && Described(b, 2, 1).fits;
}
void gemm(const View& a, const View& b, const View& bias, const Out& c) {
  chosen(a.dtype, c.dim(2), [&]<class W>() { matmul_wgmma<W>(a, b, bias, c); });
}
void matmul(const View& a, const View& b, const Out& c) { gemm(a, b, View(), c); }

}  // namespace wgmma
}  // namespace cuboid::cuda
