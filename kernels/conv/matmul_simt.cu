// SPDX-License-Identifier: Apache-2.0
// Matrix products by tiles without tensor cores.
#include "kernels/conv/matmul_plan.h"

namespace cuboid::cuda::simt {

bool matmul_fits(const View& a, const View& b, const Out& c) { return matmul_tiles_fit(a, b, c); }

void gemm(const View& a, const View& b, const View& bias, const Out& c) {
  using tiles::Simt;
  if (a.dtype == DType::f32 && matmul_whole(a, b, 4)) matmul_tiles<Simt<float, 64>, 4>(a, b, bias, c);
  else if (a.dtype == DType::f32) matmul_tiles<Simt<float, 64>, 1>(a, b, bias, c);
  else if (a.dtype == DType::bf16) matmul_tiles<Simt<bf16, 64>, 1>(a, b, bias, c);
  else if (a.dtype == DType::f16) matmul_tiles<Simt<f16, 64>, 1>(a, b, bias, c);
  else matmul_tiles<Simt<double, 32>, 1>(a, b, bias, c);
}
void matmul(const View& a, const View& b, const Out& c) { gemm(a, b, View(), c); }

}  // namespace cuboid::cuda::simt
