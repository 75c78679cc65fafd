// SPDX-License-Identifier: Apache-2.0
// Matrix products on tensor cores (mma.sync, compute capability 8.0 and up).
#include "kernels/conv/matmul_plan.h"
#include "kernels/dispatch.h"

namespace cuboid::cuda::mma {

bool matmul_fits(const View& a, const View& b, const Out& c) {
  if (a.dtype == DType::f64 || (a.dtype == DType::f32 && !dispatch::tf32())) return false;
  return matmul_tiles_fit(a, b, c) && matmul_whole(a, b, static_cast<int>(16 / size_of(a.dtype)));
}

void gemm(const View& a, const View& b, const View& bias, const Out& c) {
  const auto with = [&]<class T>() {
    if (c.dim(2) <= 32) matmul_tiles<tiles::Mma<T, 32>, packet_width<T>>(a, b, bias, c);
    else if (c.dim(2) <= 64) matmul_tiles<tiles::Mma<T, 64>, packet_width<T>>(a, b, bias, c);
    else matmul_tiles<tiles::Mma<T, 128>, packet_width<T>>(a, b, bias, c);
  };
  if (a.dtype == DType::bf16) with.template operator()<bf16>();
  else if (a.dtype == DType::f16) with.template operator()<f16>();
  else with.template operator()<float>();
}
void matmul(const View& a, const View& b, const Out& c) { gemm(a, b, View(), c); }

}  // namespace cuboid::cuda::mma
