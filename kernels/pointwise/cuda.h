// SPDX-License-Identifier: Apache-2.0
// The rows for Device::cuda in the tables of elementwise ops; compiled for each functor in the .cu files beside.
#pragma once
#include "core/packet_rows.h"
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

/// f32, bf16 and f16 in packets of 16 bytes: rows that lie densely, or one element per row.
template <std::size_t N>
bool rows_of_packets(const std::array<View, N>& views) {
  const DType dtype = views[0].dtype;
  return is_floating(dtype) && dtype != DType::f64 && PacketRows<static_cast<int>(N)>::fit(views, 16 / size_of(dtype));
}
inline bool one_in_packets(const View& x, const Out& y, const Constants&) { return rows_of_packets<2>({y, x}); }
inline bool two_in_packets(const View& a, const View& b, const Out& y, const Constants&) { return rows_of_packets<3>({y, a, b}); }

}  // namespace cuboid::cuda
