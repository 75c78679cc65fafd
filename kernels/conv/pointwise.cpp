// SPDX-License-Identifier: Apache-2.0
// Convolution with a kernel of one voxel on the device: all voxels of all samples are the rows of one matrix.
#include "kernels/conv/cuda.h"
#include "kernels/conv/geometry.h"

#if CUBOID_CUDA
namespace cuboid::cuda::gemm {
namespace {

bool fits(const View& x, const View& w, const View& y, const ConvSpec& spec) {
  const Geometry g = geometry(x.dtype, x.shape, w.shape, y.shape, spec);
  const Triple one{1, 1, 1};
  return g.kernel == one && g.stride == one && g.pad_lo == Triple{} && g.in == g.out && g.groups == 1 &&
         x.is(Layout::channels_last) && y.is(Layout::channels_last) && w.is(Layout::contiguous);
}

/// (1, rows, columns) of dense rows, or that transposed.
View matrix(const View& v, std::int64_t rows, std::int64_t columns) {
  View m = v;
  m.shape = {1, rows, columns};
  m.strides = {0, columns, 1};
  return m;
}
View turned(View m) {
  std::swap(m.shape[1], m.shape[2]);
  std::swap(m.strides[1], m.strides[2]);
  return m;
}
/// Activations: a row per voxel. Weights: a row per output channel.
View voxels(const View& x) { return matrix(x, x.size() / x.dim(1), x.dim(1)); }
View weights(const View& w) { return matrix(w, w.dim(0), w.dim(1)); }

bool product_fits(const View& a, const View& b, const Out& c) { return mma::matmul_fits(a, b, c) || simt::matmul_fits(a, b, c); }
void product(const View& a, const View& b, const View& bias, const Out& c) {
  if (wgmma::matmul_fits(a, b, c)) wgmma::gemm(a, b, bias, c);
  else if (mma::matmul_fits(a, b, c)) mma::gemm(a, b, bias, c);
  else simt::gemm(a, b, bias, c);
}

}  // namespace

bool forward_fits(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec& spec, Storage*) {
  return fits(x, w, y, spec) && (!bias.data || bias.is(Layout::contiguous)) &&
         product_fits(voxels(x), turned(weights(w)), Out(voxels(y)));
}
bool input_fits(const View& g, const View& w, const Out& dx, const ConvSpec& spec, Storage*) {
  return fits(dx, w, g, spec) && product_fits(voxels(g), weights(w), Out(voxels(dx)));
}
bool weight_fits(const View& g, const View& x, const Out& dw, const ConvSpec& spec) {
  return fits(x, dw, g, spec) && product_fits(turned(voxels(g)), voxels(x), Out(weights(dw)));
}

void conv_forward(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec&, Storage*) {
  product(voxels(x), turned(weights(w)), bias, Out(voxels(y)));
}
void conv_input(const View& g, const View& w, const Out& dx, const ConvSpec&, Storage*) {
  product(voxels(g), weights(w), View(), Out(voxels(dx)));
}
void conv_weight(const View& g, const View& x, const Out& dw, const ConvSpec&) {
  product(turned(voxels(g)), voxels(x), View(), Out(weights(dw)));
}

}  // namespace cuboid::cuda::gemm
#endif
