// SPDX-License-Identifier: Apache-2.0
// The four products of a dense layer's backward pass on the device. What lies behind a norm is computed again from the slab
// and from z, as the operands are loaded.
#include "kernels/dense_block/products.h"

namespace cuboid::dense::device {
namespace {

NormView view(const Norm& n, float slope) { return {n.mean, n.scale, n.shift, slope}; }
Activated activated(const Norm& n, float slope) { return {n.scale, n.shift, slope}; }
BeforeNorm before(const Norm& n, const Pending& terms) { return {n.scale, terms.factor, terms.offset}; }
Neighbourhood around(const Layer& l) {
  return {l.within, static_cast<int>(l.geometry.h), static_cast<int>(l.geometry.w), l.geometry.depth_taps == 1};
}

/// raw [splits][taps][rows][columns] summed over the splits -> dw; element (tap, r, c) lies at r * row + c * column + tap.
template <class T>
__global__ void add_weights_kernel(const float* raw, int splits, int taps, int rows, int columns, int row, int column, T* dw) {
  const int size = taps * rows * columns, step = static_cast<int>(gridDim.x * blockDim.x);
  for (int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); i < size; i += step) {
    float sum = 0;
    for (int s = 0; s < splits; ++s) sum += raw[static_cast<std::int64_t>(s) * size + i];
    const int c = i % columns, r = i / columns % rows, tap = i / columns / rows;
    dw[r * row + c * column + tap] = static_cast<T>(sum);
  }
}

struct NoEnding {
  template <int W>
  struct Column {};
  template <int W>
  __device__ Column<W> column(int, const float*) const {
    return {};
  }
  template <int W>
  __device__ void row(const Column<W>&, std::int64_t, int, const float*, float (&)[W], float (&)[W]) const {}
  template <int W>
  __device__ void sums(const Column<W>&, float, float (&)[W], float (&)[W]) const {}
};

}  // namespace

template <class T>
Parts features_input(const Layer& l, const T* dy, const T* conv2, const T* z, T* da) {
  return with_maths<T>(l, [&]<class Maths>() {
    using Math = typename Maths::Wide;
    using A = Loader<RowMap<Math, true>, Unchanged, true>;
    using B = Loader<ColumnMap<Math, false>, Unchanged>;
    const int rows = l.voxels(), depth = l.taps() * l.growth();
    Product<A, B, StoreBehindNorm<T>> p{};
    p.a = typename A::Params{
        .data = dy, .pitch = l.growth(), .lines = rows, .columns = l.growth(), .change = {}, .around = around(l), .sign = -1};
    p.b = typename B::Params{.data = conv2, .pitch = l.mid(), .lines = depth, .columns = l.mid(), .change = {}};
    p.ending = {{z, l.mid(), view(l.norm2, l.slope)}, da};
    p.cut = Cut::of<Math>(rows, l.mid(), depth, ceil_div(rows, Math::rows));
    return multiply<Math>(p, true, "dense_block.conv2_input");
  });
}

template <class T>
void features_weight(const Layer& l, const T* dy, const T* z, T* dw) {
  return with_maths<T>(l, [&]<class Maths>() {
    using Math = typename Maths::Narrow;
    using A = Loader<RowMap<Math, false>, Activated, true>;
    using B = Loader<ColumnMap<Math, false>, Unchanged>;
    const int depth = l.voxels(), rows = l.taps() * l.mid();
    Product<A, B, NoEnding> p{};
    p.a = typename A::Params{.data = z,
                             .pitch = l.mid(),
                             .lines = depth,
                             .columns = l.mid(),
                             .change = activated(l.norm2, l.slope),
                             .around = around(l)};
    p.b = typename B::Params{.data = dy, .pitch = l.growth(), .lines = depth, .columns = l.growth(), .change = {}};
    p.cut = Cut::of<Math>(rows, l.growth(), depth, l.taps() * ceil_div(l.mid(), Math::rows));
    p.tap_rows = l.mid();
    const Scratch<float> raw(std::int64_t{p.cut.splits} * rows * l.growth(), Device::cuda);
    p.raw = raw.data();
    launch_product<Math>(p, "dense_block.conv2_weight");
    gpu::launch(add_weights_kernel<T>, cuda::over(std::int64_t{rows} * l.growth(), "dense_block.conv2_weight"),
                static_cast<const float*>(raw.data()), p.cut.splits, l.taps(), l.mid(), l.growth(), l.taps(), l.mid() * l.taps(),
                dw);
  });
}

template <class T>
Parts bottleneck_input(const Layer& l, const T* da, const T* z, Pending terms, const T* conv1, const T* slab, float* gradient) {
  return with_maths<T>(l, [&]<class Maths>() {
    using Math = typename Maths::Wide;
    using A = Loader<RowMap<Math, true>, BeforeNorm>;
    using B = Loader<ColumnMap<Math, false>, Unchanged>;
    const int rows = l.voxels();
    Product<A, B, AddBehindNorm<T>> p{};
    p.a = typename A::Params{
        .data = da, .second = z, .pitch = l.mid(), .lines = rows, .columns = l.mid(), .change = before(l.norm2, terms)};
    p.b = typename B::Params{.data = conv1, .pitch = l.channels(), .lines = l.mid(), .columns = l.channels(), .change = {}};
    p.ending = {{slab, l.width(), view(l.norm1, l.slope)}, gradient};
    p.cut = Cut::of<Math>(rows, l.channels(), l.mid(), ceil_div(rows, Math::rows));
    return multiply<Math>(p, true, "dense_block.conv1_input");
  });
}

template <class T>
void bottleneck_weight(const Layer& l, const T* da, const T* z, Pending terms, const T* slab, T* dw) {
  return with_maths<T>(l, [&]<class Maths>() {
    using Math = typename Maths::Wide;
    using A = Loader<RowMap<Math, false>, BeforeNorm>;
    using B = Loader<ColumnMap<Math, false>, Activated>;
    const int depth = l.voxels(), rows = l.mid(), columns = l.channels();
    Product<A, B, NoEnding> p{};
    p.a = typename A::Params{
        .data = da, .second = z, .pitch = rows, .lines = depth, .columns = rows, .change = before(l.norm2, terms)};
    p.b = typename B::Params{
        .data = slab, .pitch = l.width(), .lines = depth, .columns = columns, .change = activated(l.norm1, l.slope)};
    p.cut = Cut::of<Math>(rows, columns, depth, ceil_div(rows, Math::rows));
    const Scratch<float> raw(std::int64_t{p.cut.splits} * rows * columns, Device::cuda);
    p.raw = raw.data();
    launch_product<Math>(p, "dense_block.conv1_weight");
    gpu::launch(add_weights_kernel<T>, cuda::over(std::int64_t{rows} * columns, "dense_block.conv1_weight"),
                static_cast<const float*>(raw.data()), p.cut.splits, 1, rows, columns, columns, 1, dw);
  });
}

template Parts features_input(const Layer&, const float*, const float*, const float*, float*);
template Parts features_input(const Layer&, const bf16*, const bf16*, const bf16*, bf16*);
template Parts features_input(const Layer&, const f16*, const f16*, const f16*, f16*);
template void features_weight(const Layer&, const float*, const float*, float*);
template void features_weight(const Layer&, const bf16*, const bf16*, bf16*);
template void features_weight(const Layer&, const f16*, const f16*, f16*);
template Parts bottleneck_input(const Layer&, const float*, const float*, Pending, const float*, const float*, float*);
template Parts bottleneck_input(const Layer&, const bf16*, const bf16*, Pending, const bf16*, const bf16*, float*);
template Parts bottleneck_input(const Layer&, const f16*, const f16*, Pending, const f16*, const f16*, float*);
template void bottleneck_weight(const Layer&, const float*, const float*, Pending, const float*, float*);
template void bottleneck_weight(const Layer&, const bf16*, const bf16*, Pending, const bf16*, bf16*);
template void bottleneck_weight(const Layer&, const f16*, const f16*, Pending, const f16*, f16*);

}  // namespace cuboid::dense::device
