// SPDX-License-Identifier: Apache-2.0
// The two products of a dense layer on the device.
#include "kernels/dense_block/products.h"

namespace cuboid::dense::device {
namespace {

Activated activated(const Norm& n, float slope) { return {n.scale, n.shift, slope}; }
Neighbourhood around(const Layer& l) {
  return {l.within, static_cast<int>(l.geometry.h), static_cast<int>(l.geometry.w), l.geometry.depth_taps == 1};
}

}  // namespace

template <class T>
Parts bottleneck(const Layer& l, const T* slab, const T* conv1, T* z, bool statistics) {
  return with_maths<T>(l, [&]<class Maths>() {
    using Math = typename Maths::Wide;
    using A = Loader<RowMap<Math, true>, Activated>;
    using B = Loader<ColumnMap<Math, true>, Unchanged>;
    const int rows = l.voxels(), depth = l.channels();
    Product<A, B, Store<T>> p{};
    p.a = typename A::Params{
        .data = slab, .pitch = l.width(), .lines = rows, .columns = depth, .change = activated(l.norm1, l.slope)};
    p.b = typename B::Params{.data = conv1, .pitch = depth, .lines = l.mid(), .columns = depth, .change = {}};
    p.ending = {z, l.mid()};
    p.cut = Cut::of<Math>(rows, l.mid(), depth, ceil_div(rows, Math::rows));
    return multiply<Math>(p, statistics, "dense_block.conv1");
  });
}

template <class T>
Parts new_features(const Layer& l, const T* z, const T* conv2, T* slab, bool statistics) {
  return with_maths<T>(l, [&]<class Maths>() {
    using Math = typename Maths::Narrow;
    using A = Loader<RowMap<Math, true>, Activated, true>;
    using B = Loader<ColumnMap<Math, true>, Unchanged>;
    const int rows = l.voxels(), depth = l.taps() * l.mid();
    Product<A, B, Store<T>> p{};
    p.a = typename A::Params{.data = z,
                             .pitch = l.mid(),
                             .lines = rows,
                             .columns = l.mid(),
                             .change = activated(l.norm2, l.slope),
                             .around = around(l)};
    p.b = typename B::Params{.data = conv2, .pitch = depth, .lines = l.growth(), .columns = depth, .change = {}};
    p.ending = {slab + l.channels(), l.width()};
    p.cut = Cut::of<Math>(rows, l.growth(), depth, ceil_div(rows, Math::rows));
    return multiply<Math>(p, statistics, "dense_block.conv2");
  });
}

template Parts bottleneck(const Layer&, const float*, const float*, float*, bool);
template Parts bottleneck(const Layer&, const bf16*, const bf16*, bf16*, bool);
template Parts bottleneck(const Layer&, const f16*, const f16*, f16*, bool);
template Parts new_features(const Layer&, const float*, const float*, float*, bool);
template Parts new_features(const Layer&, const bf16*, const bf16*, bf16*, bool);
template Parts new_features(const Layer&, const f16*, const f16*, f16*, bool);

}  // namespace cuboid::dense::device
