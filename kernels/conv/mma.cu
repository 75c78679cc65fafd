// SPDX-License-Identifier: Apache-2.0
// Convolution on tensor cores (mma.sync, compute capability 8.0 and up): bf16, f16, and f32 through TF32 where that is allowed.
#include "kernels/conv/plan.h"
#include "kernels/dispatch.h"

namespace cuboid::cuda {
namespace {

/// f.operator()<Math, packet>() for an element type and the width of the result.
template <class F>
void chosen(DType dtype, std::int64_t columns, F&& f) {
  const auto with = [&]<class T>() {
    if (columns <= 32) f.template operator()<tiles::Mma<T, 32>, packet_width<T>>();
    else if (columns <= 64) f.template operator()<tiles::Mma<T, 64>, packet_width<T>>();
    else f.template operator()<tiles::Mma<T, 128>, packet_width<T>>();
  };
  if (dtype == DType::bf16) with.template operator()<bf16>();
  else if (dtype == DType::f16) with.template operator()<f16>();
  else with.template operator()<float>();
}

bool type_fits(const View& x, const ConvSpec& spec) {
  if (x.dtype == DType::f64 || (x.dtype == DType::f32 && !dispatch::tf32())) return false;
  return whole_packets(x, spec, static_cast<int>(16 / size_of(x.dtype)));
}

}  // namespace

namespace mma {

bool forward_fits(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec& spec, Storage* home) {
  return type_fits(x, spec) && simt::forward_fits(x, w, bias, y, spec, home);
}
bool input_fits(const View& g, const View& w, const Out& dx, const ConvSpec& spec, Storage* home) {
  return type_fits(g, spec) && simt::input_fits(g, w, dx, spec, home);
}
bool weight_fits(const View& g, const View& x, const Out& dw, const ConvSpec& spec) {
  return type_fits(x, spec) && type_fits(g, spec) && simt::weight_fits(g, x, dw, spec);
}

void conv_forward(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec& spec, Storage* home) {
  const Geometry s = geometry(x.dtype, x.shape, w.shape, y.shape, spec);
  chosen(x.dtype, s.out_channels / s.groups,
         [&]<class Math, int packet>() { conv_tiles<Math, packet, false>(s, x, w, bias, y, home); });
}
void conv_input(const View& g, const View& w, const Out& dx, const ConvSpec& spec, Storage* home) {
  const Geometry s = geometry(g.dtype, dx.shape, w.shape, g.shape, spec);
  chosen(g.dtype, s.in_channels / s.groups,
         [&]<class Math, int packet>() { conv_tiles<Math, packet, true>(s, g, w, View(), dx, home); });
}
void conv_weight(const View& g, const View& x, const Out& dw, const ConvSpec& spec) {
  const Geometry s = geometry(x.dtype, x.shape, dw.shape, g.shape, spec);
  chosen(x.dtype, s.out_channels / s.groups, [&]<class Math, int packet>() { weight_tiles<Math, packet>(s, g, x, dw); });
}

}  // namespace mma
}  // namespace cuboid::cuda
