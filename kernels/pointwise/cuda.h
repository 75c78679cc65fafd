// SPDX-License-Identifier: Apache-2.0
// The rows for Device::cuda in the tables of elementwise ops; compiled for each functor in the .cu files beside.
#pragma once
#include "core/indexer.h"
#include "core/packet.h"
#include "kernels/pointwise/functors.h"

namespace cuboid::cuda {

using pointwise::Constants;

/// `reference`: any dtype the functor takes, any strides. `packets`: what fits below.
template <class F>
struct OneOperand {
  static void packets(const View& x, const Out& y, const Constants& c);
  static void reference(const View& x, const Out& y, const Constants& c);
};
template <class F>
struct TwoOperands {
  static void packets(const View& a, const View& b, const Out& y, const Constants& c);
  static void reference(const View& a, const View& b, const Out& y, const Constants& c);
};

/// f32, bf16 and f16 in packets of 16 bytes: the results (the first view) lie in dense rows, one or several with room between
/// them, and an operand has for each of them such a row or a single element. Rows start at multiples of 16 bytes and end
/// anywhere.
template <std::size_t N>
bool rows_of_packets(const std::array<View, N>& views) {
  const DType dtype = views[0].dtype;
  if (!is_floating(dtype) || dtype == DType::f64) return false;
  const auto index = Indexer<static_cast<int>(N)>::of(views);
  const int inner = index.rank - 1;
  const std::int64_t width = 16 / size_of(dtype);
  for (std::size_t k = 0; k < N; ++k) {
    const auto& strides = index.strides[k];
    if (k > 0 && strides[inner] == 0) continue;
    if (strides[inner] != 1 || reinterpret_cast<std::uintptr_t>(views[k].data) % 16 != 0) return false;
    for (int d = 0; d < inner; ++d)
      if (strides[d] % width != 0) return false;
  }
  return inner == 0 || index.dims[inner] >= width;
}
inline bool one_in_packets(const View& x, const Out& y, const Constants&) { return rows_of_packets<2>({y, x}); }
inline bool two_in_packets(const View& a, const View& b, const Out& y, const Constants&) { return rows_of_packets<3>({y, a, b}); }

}  // namespace cuboid::cuda
