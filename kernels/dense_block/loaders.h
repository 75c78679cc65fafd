// SPDX-License-Identifier: Apache-2.0
// How operands of the dense block's products come from global into shared memory: a step ahead into registers, and from
// there, changed on the way (norm and activation, or a norm's gradient), into a tile. Nothing normalised is ever stored.
#pragma once
#include "kernels/conv/tile.h"

namespace cuboid::dense::device {

/// As it is.
struct Unchanged {
  static constexpr bool second_source = false;
  template <class T, int W>
  __device__ void apply(int, Packet<T, W>&, const Packet<T, W>&) const {}
};

/// act(x * scale + shift), per channel.
struct Activated {
  static constexpr bool second_source = false;
  const float *scale, *shift;
  float slope;

  template <class T, int W>
  __device__ void apply(int channel, Packet<T, W>& x, const Packet<T, W>&) const {
    float a[W], b[W];
    load_floats(scale + channel, a);
    load_floats(shift + channel, b);
    for (int i = 0; i < W; ++i) {
      const float v = static_cast<float>(x.at[i]) * a[i] + b[i];
      x.at[i] = static_cast<T>(v > 0 ? v : v * slope);
    }
  }
  template <int W>
  __device__ static void load_floats(const float* from, float (&to)[W]) {
    for (int i = 0; i < W; i += 4) {
      const auto p = Packet<float, 4>::load(from + i);
      for (int k = 0; k < 4; ++k) to[i + k] = p.at[k];
    }
  }
};

/// scale * da + factor * z + offset: a norm's gradient before the norm. The second source is z.
struct BeforeNorm {
  static constexpr bool second_source = true;
  const float *scale, *factor, *offset;

  template <class T, int W>
  __device__ void apply(int channel, Packet<T, W>& da, const Packet<T, W>& z) const {
    float a[W], b[W], c[W];
    Activated::load_floats(scale + channel, a);
    Activated::load_floats(factor + channel, b);
    Activated::load_floats(offset + channel, c);
    for (int i = 0; i < W; ++i)
      da.at[i] = static_cast<T>(static_cast<float>(da.at[i]) * a[i] + static_cast<float>(z.at[i]) * b[i] + c[i]);
  }
};

/// Where a tap of the 3x3(x3) neighbourhood reads: voxels away, and the bits of within[] that must be set. `sign` -1 mirrors it.
struct Neighbourhood {
  const std::uint16_t* within;
  int height, width, flat;  // flat: no depth, 9 taps

  __device__ int away(int tap, int sign, unsigned& bits) const {
    const int d = flat ? 1 : min(tap / 9, 2), h = tap / 3 % 3, w = tap % 3;  // taps after the last are not read
    const int dd = sign * (d - 1), dh = sign * (h - 1), dw = sign * (w - 1);
    bits = 1u << (dd + 1) | 1u << (dh + 4) | 1u << (dw + 7);
    return (dd * height + dh) * width + dw;
  }
};

/// A matrix of `lines` by columns, `pitch` apart. Lines are rows of the tile (k-major) or steps of k, as M says. With
/// `gathers` lines are voxels read through a tap; k-major: k runs over (tap, channel); else the whole tile has one tap.
template <class M, class Change, bool gathers = false>
class Loader {
  using T = typename M::T;
  static constexpr int W = M::packet;

 public:
  using Map = M;
  static constexpr int tile_size = M::size;
  struct Params {
    const T *data, *second = nullptr;  // second: what Change wants besides, same place and pitch
    std::int64_t pitch;
    int lines, columns;  // limits; for k-major the columns of a tap
    Change change;
    Neighbourhood around = {};
    int sign = 1;
  };

  /// The tile's first row (or column) of the product, its steps of k, and the tap of all of it (not k-major).
  __device__ void open(const Params& p, int first, int k_begin, int k_end, int tap) {
    first_ = first;
    k_ = k_begin;
    k_end_ = k_end;
    if constexpr (gathers && M::k_major)
      for (int i = 0; i < M::count; ++i) {
        const int line = first_ + M::line(i);
        within_[i] = line < p.lines ? p.around.within[line] : 0;
      }
    if constexpr (gathers && !M::k_major) away_ = p.around.away(tap, p.sign, bits_);
  }

  /// The next step, into registers.
  __device__ __forceinline__ void fetch(const Params& p) {
    valid_ = 0;
    if constexpr (M::k_major) {
      const int k = k_ + M::column();
      int away = 0;
      unsigned bits = 0;
      channel_ = k;
      if constexpr (gathers) {
        const int tap = k / p.columns;
        channel_ = k - tap * p.columns;
        away = p.around.away(tap, p.sign, bits);
      }
#pragma unroll
      for (int i = 0; i < M::count; ++i) {
        const int line = first_ + M::line(i);
        bool inside = k < k_end_ && line < p.lines;
        if constexpr (gathers) inside = inside && (within_[i] & bits) == bits;
        take(p, i, inside, line + away, channel_);
      }
    } else {
      channel_ = first_ + M::column();
#pragma unroll
      for (int i = 0; i < M::count; ++i) {
        const int line = k_ + M::line(i);
        bool inside = line < k_end_ && channel_ < p.columns;
        if constexpr (gathers) inside = inside && (p.around.within[line] & bits_) == bits_;
        take(p, i, inside, line + (gathers ? away_ : 0), channel_);
      }
    }
    k_ += M::depth;
  }

  /// What was fetched, into the tile; zeros where there is nothing.
  __device__ __forceinline__ void put(const Params& p, T* tile) {
#pragma unroll
    for (int i = 0; i < M::count; ++i) {
      if (valid_ >> i & 1u) p.change.apply(channel_, first_source_[i], second_source_[Change::second_source ? i : 0]);
      first_source_[i].store(M::at(tile, i));
    }
  }

 private:
  __device__ __forceinline__ void take(const Params& p, int i, bool inside, int line, int column) {
    first_source_[i] = {};
    if constexpr (Change::second_source) second_source_[i] = {};
    if (!inside) return;
    const std::int64_t at = line * p.pitch + column;
    first_source_[i] = Packet<T, W>::load(p.data + at);
    if constexpr (Change::second_source) second_source_[i] = Packet<T, W>::load(p.second + at);
    valid_ |= 1u << i;
  }

  int first_, k_, k_end_, channel_, away_;
  unsigned valid_, bits_;
  unsigned within_[gathers && M::k_major ? M::count : 1];
  Packet<T, W> first_source_[M::count], second_source_[Change::second_source ? M::count : 1];
};

}  // namespace cuboid::dense::device
