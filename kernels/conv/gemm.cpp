// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/gemm.h"

namespace cuboid {
namespace {

struct Matrix {
  bool transposed = false;
  std::int64_t ld = 0;
};

/// A (rows, columns) view of rank 3 as BLAS reads it, column by column: row-major memory is its transpose.
std::optional<Matrix> matrix_of(const View& v) {
  const auto dense = [&](int inner, int outer) {
    return (v.stride(inner) == 1 || v.dim(inner) == 1) && (v.stride(outer) >= v.dim(inner) || v.dim(outer) == 1);
  };
  const auto leading = [&](int inner, int outer) {
    return v.dim(outer) == 1 ? std::max<std::int64_t>(1, v.dim(inner)) : v.stride(outer);
  };
  if (dense(2, 1)) return Matrix{true, leading(2, 1)};
  if (dense(1, 2)) return Matrix{false, leading(1, 2)};
  return {};
}

/// Elements from one voxel to the next when all voxels lie one after the other; nothing otherwise.
std::optional<std::int64_t> voxel_step(const View& v) {
  if (v.dim(1) != 1 && v.stride(1) != 1) return {};
  std::int64_t step = 0, next = 0;  // `next`: what the stride of the next outer dimension must be
  for (int d = v.rank() - 1; d >= 0; --d) {
    if (d == 1 || v.dim(d) == 1) continue;
    if (step == 0) next = step = v.stride(d);
    if (v.stride(d) != next) return {};
    next *= v.dim(d);
  }
  if (step == 0) return v.dim(1);  // a single voxel
  if (step < v.dim(1)) return {};
  return step;
}

bool is_pointwise(const View& w, const ConvSpec& spec) {
  for (int d = 2; d < w.rank(); ++d)
    if (w.dim(d) != 1 || spec.stride[d - 2] != 1 || spec.pad_lo[d - 2] != 0 || spec.pad_hi[d - 2] != 0) return false;
  return spec.groups == 1 && (w.dim(1) == 1 || w.stride(1) == 1) && (w.dim(0) == 1 || w.stride(0) >= w.dim(1));
}
std::int64_t row_step(const View& w) { return w.dim(0) == 1 ? w.dim(1) : w.stride(0); }

std::int64_t voxels(const View& v) { return v.size() / v.dim(1); }

}  // namespace

std::optional<Gemm> gemm_of_matmul(const View& a, const View& b, const View& c) {
  const auto ma = matrix_of(a), mb = matrix_of(b), mc = matrix_of(c);
  if (!ma || !mb || !mc || !mc->transposed || a.dim(2) == 0) return {};
  // column by column, c is its transpose: c' = b' a'
  return Gemm{.dtype = a.dtype,
              .transpose_a = !mb->transposed,
              .transpose_b = !ma->transposed,
              .m = c.dim(2),
              .n = c.dim(1),
              .k = a.dim(2),
              .a = b.data,
              .b = a.data,
              .d = c.data,
              .lda = mb->ld,
              .ldb = ma->ld,
              .ldd = mc->ld,
              .batch = c.dim(0),
              .step_a = b.stride(0),
              .step_b = a.stride(0),
              .step_d = c.stride(0)};
}

std::optional<Gemm> gemm_of_conv(const View& x, const View& w, const View& bias, const View& y, const ConvSpec& spec) {
  const auto from = voxel_step(x), to = voxel_step(y);
  if (!is_pointwise(w, spec) || !from || !to || (bias.data && bias.dim(0) != 1 && bias.stride(0) != 1)) return {};
  return Gemm{.dtype = x.dtype,
              .transpose_a = true,
              .m = y.dim(1),
              .n = voxels(y),
              .k = x.dim(1),
              .a = w.data,
              .b = x.data,
              .d = y.data,
              .lda = row_step(w),
              .ldb = *from,
              .ldd = *to,
              .bias = bias.data};
}

std::optional<Gemm> gemm_of_conv_input(const View& g, const View& w, const View& dx, const ConvSpec& spec) {
  const auto from = voxel_step(g), to = voxel_step(dx);
  if (!is_pointwise(w, spec) || !from || !to) return {};
  return Gemm{.dtype = g.dtype,
              .m = dx.dim(1),
              .n = voxels(dx),
              .k = g.dim(1),
              .a = w.data,
              .b = g.data,
              .d = dx.data,
              .lda = row_step(w),
              .ldb = *from,
              .ldd = *to};
}

std::optional<Gemm> gemm_of_conv_weight(const View& g, const View& x, const View& dw, const ConvSpec& spec) {
  const auto from = voxel_step(g), other = voxel_step(x);
  if (!is_pointwise(dw, spec) || !from || !other) return {};
  return Gemm{.dtype = g.dtype,
              .transpose_b = true,
              .m = dw.dim(1),
              .n = dw.dim(0),
              .k = voxels(g),
              .a = x.data,
              .b = g.data,
              .d = dw.data,
              .lda = *other,
              .ldb = *from,
              .ldd = row_step(dw)};
}

}  // namespace cuboid
