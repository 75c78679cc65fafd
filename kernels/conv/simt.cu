// SPDX-License-Identifier: Apache-2.0
// Convolution by tiles without tensor cores: f32 at its full precision, and whatever the faster rows do not take.
#include "kernels/conv/plan.h"

namespace cuboid::cuda {
namespace {

using tiles::Simt;

/// f.operator()<Math, packet>() for an element type, whole packets of it or not, and the width of the result.
template <class F>
void chosen(DType dtype, bool whole, std::int64_t columns, F&& f) {
  if (dtype == DType::f32 && whole && columns <= 32) f.template operator()<Simt<float, 32>, 4>();
  else if (dtype == DType::f32 && whole) f.template operator()<Simt<float, 64>, 4>();
  else if (dtype == DType::f32) f.template operator()<Simt<float, 64>, 1>();
  else if (dtype == DType::bf16) f.template operator()<Simt<bf16, 64>, 1>();
  else if (dtype == DType::f16) f.template operator()<Simt<f16, 64>, 1>();
  else f.template operator()<Simt<double, 32>, 1>();
}

}  // namespace

namespace simt {

bool forward_fits(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec& spec, Storage*) {
  return tiles_fit(x, w, y, spec) && (!bias.data || bias.is(Layout::contiguous)) &&
         Gather::forward(geometry(x.dtype, x.shape, w.shape, y.shape, spec)).fits();
}
bool input_fits(const View& g, const View& w, const Out& dx, const ConvSpec& spec, Storage*) {
  return tiles_fit(dx, w, g, spec) && Gather::backward(geometry(g.dtype, dx.shape, w.shape, g.shape, spec)).fits();
}
bool weight_fits(const View& g, const View& x, const Out& dw, const ConvSpec& spec) { return tiles_fit(x, dw, g, spec); }

void conv_forward(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec& spec, Storage* home) {
  const Geometry s = geometry(x.dtype, x.shape, w.shape, y.shape, spec);
  chosen(x.dtype, whole_packets(x, spec, 4), s.out_channels / s.groups,
         [&]<class Math, int packet>() { conv_tiles<Math, packet, false>(s, x, w, bias, y, home); });
}
void conv_input(const View& g, const View& w, const Out& dx, const ConvSpec& spec, Storage* home) {
  const Geometry s = geometry(g.dtype, dx.shape, w.shape, g.shape, spec);
  chosen(g.dtype, whole_packets(g, spec, 4), s.in_channels / s.groups,
         [&]<class Math, int packet>() { conv_tiles<Math, packet, true>(s, g, w, View(), dx, home); });
}
void conv_weight(const View& g, const View& x, const Out& dw, const ConvSpec& spec) {
  const Geometry s = geometry(x.dtype, x.shape, dw.shape, g.shape, spec);
  chosen(x.dtype, whole_packets(x, spec, 4) && whole_packets(g, spec, 4), s.out_channels / s.groups,
         [&]<class Math, int packet>() { weight_tiles<Math, packet>(s, g, x, dw); });
}

}  // namespace simt
}  // namespace cuboid::cuda
