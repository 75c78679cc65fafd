// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/matmul.h"

#include <algorithm>

#include "core/autograd.h"
#include "core/parallel.h"
#include "kernels/conv/cublas.h"
#include "kernels/conv/cuda.h"
#include "kernels/conv/tables.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/views/views.h"
#if CUBOID_ONEDNN
#include "kernels/conv/onednn.h"
#endif

namespace cuboid {
namespace {

/// Calls f(batch, first row, end row) in parallel; about 4 MFLOP each.
template <class F>
void each_block(const View& a, const Out& c, F&& f) {
  const std::int64_t m = c.dim(1), row_flops = 2 * a.dim(2) * c.dim(2);
  const std::int64_t rows = std::clamp<std::int64_t>(4'000'000 / std::max<std::int64_t>(1, row_flops) / 16 * 16, 16, 4096);
  const std::int64_t blocks = (m + rows - 1) / rows;
  const std::int64_t block_flops = 1 + row_flops * std::min(m, rows);
  parallel_ranges(c.dim(0) * blocks, 1 + 1'000'000 / block_flops, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t job = first; job < last; ++job) {
      const std::int64_t begin = job % blocks * rows;
      f(job / blocks, begin, std::min(m, begin + rows));
    }
  });
}

void reference(const View& a, const View& b, const Out& c) {
  visit_floating(a.dtype, "matmul", [&]<class T>() {
    each_block(a, c, [&](std::int64_t batch, std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        for (std::int64_t j = 0; j < c.dim(2); ++j) {
          const T* pa = a.as<T>() + batch * a.stride(0) + i * a.stride(1);
          const T* pb = b.as<T>() + batch * b.stride(0) + j * b.stride(2);
          Accum<T> sum = 0;
          for (std::int64_t k = 0; k < a.dim(2); ++k)
            sum += static_cast<Accum<T>>(pa[k * a.stride(2)]) * static_cast<Accum<T>>(pb[k * b.stride(1)]);
          c.as<T>()[batch * c.stride(0) + i * c.stride(1) + j * c.stride(2)] = static_cast<T>(sum);
        }
    });
  });
}

#if CUBOID_ONEDNN
/// How BLAS sees a matrix with strides: rows apart, or transposed. Leading dimension 0: neither.
struct Operand {
  bool transposed = false;
  std::int64_t leading = 0;
  explicit Operand(const View& v) {
    const auto fits = [&](int row, int column) {
      return (v.stride(column) == 1 || v.dim(column) == 1) && (v.stride(row) >= v.dim(column) || v.dim(row) == 1);
    };
    transposed = !fits(1, 2) && fits(2, 1);
    if (transposed || fits(1, 2)) {
      const int row = transposed ? 2 : 1, column = transposed ? 1 : 2;
      leading = v.dim(row) == 1 ? v.dim(column) : v.stride(row);
    }
  }
};

bool sgemm_fits(const View& a, const View& b, const Out& c) {
  return a.dtype == DType::f32 && a.dim(2) > 0 && Operand(a).leading > 0 && Operand(b).leading > 0 && c.is(Layout::contiguous);
}

void sgemm(const View& a, const View& b, const Out& c) {
  const Operand oa(a), ob(b);
  each_block(a, c, [&](std::int64_t batch, std::int64_t begin, std::int64_t end) {
    onednn::sgemm(oa.transposed, ob.transposed, end - begin, c.dim(2), a.dim(2), 1,
                  a.as<float>() + batch * a.stride(0) + begin * a.stride(1), oa.leading, b.as<float>() + batch * b.stride(0),
                  ob.leading, 0, c.as<float>() + (batch * c.dim(1) + begin) * c.dim(2), c.dim(2));
  });
}
#endif

constexpr Impl<Matmul> rows[] = {
#if CUBOID_CUBLAS
    {"cublas", Device::cuda, cublas::matmul_fits, cublas::matmul},
#endif
#if CUBOID_CUDA
    {"wgmma", Device::cuda, cuda::wgmma::matmul_fits, cuda::wgmma::matmul},
    {"mma", Device::cuda, cuda::mma::matmul_fits, cuda::mma::matmul},
    {"simt", Device::cuda, cuda::simt::matmul_fits, cuda::simt::matmul},
    {"reference", Device::cuda, always, cuda::matmul},
#endif
#if CUBOID_ONEDNN
    {"onednn", Device::cpu, sgemm_fits, sgemm},
#endif
    {"reference", Device::cpu, always, reference},
};

View batched(View v) {
  if (v.rank() == 3) return v;
  v.shape = {1, v.shape[0], v.shape[1]};
  v.strides = {0, v.strides[0], v.strides[1]};
  return v;
}

Tensor turned(const Tensor& x) { return transpose(x, x.rank() - 2, x.rank() - 1); }

}  // namespace

std::span<const Impl<Matmul>> matmul_rows() { return rows; }

Tensor matmul(const Tensor& a, const Tensor& b) {
  const int rank = a.rank();
  check((rank == 2 || rank == 3) && b.rank() == rank && a.dim(-1) == b.dim(-2) && (rank == 2 || a.dim(0) == b.dim(0)),
        "matmul: ", a.shape(), " times ", b.shape(), " does not fit");
  check(a.dtype() == b.dtype() && is_floating(a.dtype()), "matmul: needs equal floating types, got ", a.dtype(), " and ",
        b.dtype());
  Shape shape = a.shape();
  shape[-1] = b.dim(-1);
  const Tensor c = empty(shape, {a.dtype(), a.device()});
  if (c.size() > 0)
    run_fastest({"matmul", 2.0 * static_cast<double>(c.size()) * static_cast<double>(a.dim(-1))}, rows, batched(a.view()),
                batched(b.view()), Out(batched(c.mutate())));
  return record("matmul", c, {a, b}, [a, b](const Tensor& g, const Step& step) {
    return Tensors{step.wants(0) ? matmul(g, turned(b)) : Tensor(), step.wants(1) ? matmul(turned(a), g) : Tensor()};
  });
}

Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias) {
  check(w.rank() == 2 && x.rank() >= 1 && x.dim(-1) == w.dim(1), "linear: x is ", x.shape(), ", w ", w.shape(), " expects ",
        w.rank() == 2 ? w.dim(1) : 0, " features");
  Shape shape = x.shape();
  shape[-1] = w.dim(0);
  Tensor y = matmul(x.rank() == 2 ? x : reshape(x, {-1, w.dim(1)}), transpose(w, 0, 1));
  if (bias.defined()) y = y + bias;
  return x.rank() == 2 ? y : reshape(y, shape);
}

}  // namespace cuboid
