// SPDX-License-Identifier: Apache-2.0
// From the strides of two matrices to launches of `contract`, for any Math.
#pragma once
#include "kernels/conv/plan.h"

namespace cuboid::cuda {

/// How an operand is read: lines of k, one for each of its `rows` (k_major), or lines of rows, one for each k.
struct Lines {
  bool usable = false, k_major = true, whole = false;  // whole: every line is made of packets
  std::int64_t stride = 0;

  /// `row` and `k` are axes of v, (B, ., .); in packets of `packet` if that is possible.
  Lines(const View& v, int row, int k, int packet) {
    const auto along = [&](int across, int inner) {  // lines of `inner`
      if (v.stride(inner) != 1 && v.dim(inner) != 1) return false;
      const bool fine = (v.dim(across) == 1 || v.stride(across) % packet == 0) && (v.dim(0) == 1 || v.stride(0) % packet == 0) &&
                        reinterpret_cast<std::uintptr_t>(v.data) % 16 == 0;
      if (usable && (whole || !fine)) return true;  // what was found before is as good
      usable = true;
      whole = fine;
      k_major = inner == k;
      stride = v.stride(across);
      return true;
    };
    along(row, k);
    along(k, row);
  }
};

inline bool matmul_tiles_fit(const View& a, const View& b, const Out& c) {
  constexpr std::int64_t most = 1 << 30;
  return is_floating(a.dtype) && Lines(a, 1, 2, 1).usable && Lines(b, 2, 1, 1).usable && c.is(Layout::contiguous) &&
         a.dim(1) < most && a.dim(2) < most && c.dim(2) < 32 * 65535 && a.dim(0) <= 65535;
}
inline bool matmul_whole(const View& a, const View& b, int packet) {
  return Lines(a, 1, 2, packet).whole && Lines(b, 2, 1, packet).whole;
}

/// c = a b, plus bias (one per column, or none).
template <class Math, int packet>
void matmul_tiles(const View& a, const View& b, const View& bias, const Out& c) {
  using T = typename Math::T;
  const Lines la(a, 1, 2, packet), lb(b, 2, 1, packet);
  const std::int64_t rows = ceil_div(c.dim(1), Math::rows), columns = ceil_div(c.dim(2), Math::columns), batch = c.dim(0);
  const Split split(rows * columns * batch, ceil_div(a.dim(2), Math::depth));
  const bool cut = split.splits > 1 && batch * split.splits <= 65535;
  const Scratch<Accum<T>> parts(cut ? split.splits * c.size() : 0, Device::cuda);
  const auto run = [&]<bool a_k_major, bool b_k_major>() {
    using Task = tiles::MatmulTask<Math, packet, a_k_major, b_k_major>;
    typename Task::Params p{.a = {a.as<T>(), a.stride(0), la.stride},
                            .b = {b.as<T>(), b.stride(0), lb.stride},
                            .part = c.size(),
                            .batch_pitch = c.dim(1) * c.dim(2),
                            .row_pitch = c.dim(2),
                            .rows = static_cast<int>(c.dim(1)),
                            .columns = static_cast<int>(c.dim(2)),
                            .depth = static_cast<int>(a.dim(2)),
                            .splits = cut ? split.splits : 1,
                            .split_steps = cut ? split.steps : ceil_div(a.dim(2), Math::depth)};
    p.result = tiles::Result<T>{
        .to = c.as<T>(), .parts = cut ? parts.data() : nullptr, .bias = bias.as<T>(), .packets = c.dim(2) % packet_width<T> == 0};
    launch_tiles<Math, Task>(p, grid_of(rows, columns, batch * p.splits), "matmul");
  };
  if (la.k_major && lb.k_major) run.template operator()<true, true>();
  else if (la.k_major) run.template operator()<true, false>();
  else if (lb.k_major) run.template operator()<false, true>();
  else run.template operator()<false, false>();
  if (cut) add_parts<T>(parts.data(), split.splits, c.size(), bias.as<T>(), static_cast<int>(c.dim(2)), c.as<T>());
}

}  // namespace cuboid::cuda
