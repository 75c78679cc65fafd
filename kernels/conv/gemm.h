// SPDX-License-Identifier: Apache-2.0
// Which matrix product a matmul or a 1x1x1 convolution is, in the words of BLAS. Numbers and pointers only.
#pragma once
#include <optional>

#include "kernels/conv/conv.h"

namespace cuboid {

/// All matrices column by column: D (m x n) = op(A) (m x k) op(B) (k x n); ld = elements between columns. Transposed operands
/// are stored the other way round.
struct Gemm {
  DType dtype = DType::f32;
  bool transpose_a = false, transpose_b = false;
  std::int64_t m = 0, n = 0, k = 0;
  const void *a = nullptr, *b = nullptr;
  void* d = nullptr;
  std::int64_t lda = 0, ldb = 0, ldd = 0;
  std::int64_t batch = 1, step_a = 0, step_b = 0, step_d = 0;  // elements from one product to the next
  const void* bias = nullptr;                                  // m values, one for each row of D
};

/// (B, M, K) x (B, K, N) -> (B, M, N); nothing when a matrix is neither row- nor column-major.
std::optional<Gemm> gemm_of_matmul(const View& a, const View& b, const View& c);

/// Kernel 1, stride 1, no padding, one group; activations whose voxels lie one after the other with their channels dense (also
/// a slice of the channels of such a tensor). Nothing for any other convolution.
std::optional<Gemm> gemm_of_conv(const View& x, const View& w, const View& bias, const View& y, const ConvSpec& spec);
std::optional<Gemm> gemm_of_conv_input(const View& g, const View& w, const View& dx, const ConvSpec& spec);
std::optional<Gemm> gemm_of_conv_weight(const View& g, const View& x, const View& dw, const ConvSpec& spec);

}  // namespace cuboid
