// SPDX-License-Identifier: Apache-2.0
// What becomes of a tile of a product, rows by columns of f32 in shared memory: it is changed, written where it belongs, and
// two numbers per column are summed over its rows.
#pragma once
#include "kernels/dense_block/loaders.h"

namespace cuboid::dense::device {

/// Rounded into a matrix; the two numbers are mean and squared deviations of what was written.
template <class T>
struct Store {
  T* to;
  std::int64_t pitch;

  template <int W>
  struct Column {
    float origin[W];  // deviations from it: sound however far the mean is from zero
  };
  template <int W>
  __device__ Column<W> column(int, const float* top) const {
    Column<W> c;
    for (int i = 0; i < W; ++i) c.origin[i] = static_cast<float>(static_cast<T>(top[i]));
    return c;
  }
  template <int W>
  __device__ void row(const Column<W>& c, std::int64_t row, int column, const float* v, float (&first)[W],
                      float (&second)[W]) const {
    Packet<T, W> p;
    for (int i = 0; i < W; ++i) {
      p.at[i] = static_cast<T>(v[i]);
      const float d = static_cast<float>(p.at[i]) - c.origin[i];
      first[i] += d;
      second[i] += d * d;
    }
    p.store(to + row * pitch + column);
  }
  template <int W>
  __device__ void sums(const Column<W>& c, float rows, float (&first)[W], float (&second)[W]) const {
    for (int i = 0; i < W; ++i) {
      second[i] -= first[i] * first[i] / rows;
      first[i] = c.origin[i] + first[i] / rows;
    }
  }
};

/// A norm's numbers for a packet of channels.
template <int W>
struct NormColumn {
  float mean[W], scale[W], shift[W];
};
struct NormView {
  const float *mean, *scale, *shift;
  float slope;

  template <int W>
  __device__ NormColumn<W> at(int column) const {
    NormColumn<W> c;
    Activated::load_floats(mean + column, c.mean);
    Activated::load_floats(scale + column, c.scale);
    Activated::load_floats(shift + column, c.shift);
    return c;
  }
};

/// What both endings behind a norm know: the norm, its input, and how far apart rows of it and of the result lie.
template <class T>
struct BehindNorm {
  const T* x;
  std::int64_t pitch;
  NormView norm;

  template <int W>
  using Column = NormColumn<W>;
  template <int W>
  __device__ Column<W> column(int column, const float*) const {
    return norm.at<W>(column);
  }
  template <int W>
  __device__ void sums(const Column<W>&, float, float (&)[W], float (&)[W]) const {}
};

/// The gradient behind a norm from that behind the activation, rounded into a matrix. Sums of it and of it * (x - mean).
template <class T>
struct StoreBehindNorm : BehindNorm<T> {
  T* to;

  template <int W>
  using Column = NormColumn<W>;
  template <int W>
  __device__ void row(const Column<W>& c, std::int64_t row, int column, const float* v, float (&first)[W],
                      float (&second)[W]) const {
    const auto px = Packet<T, W>::load(this->x + row * this->pitch + column);
    Packet<T, W> p;
    for (int i = 0; i < W; ++i) {
      const float value = static_cast<float>(px.at[i]);
      p.at[i] = static_cast<T>(value * c.scale[i] + c.shift[i] > 0 ? v[i] : v[i] * this->norm.slope);
      first[i] += static_cast<float>(p.at[i]);
      second[i] += static_cast<float>(p.at[i]) * (value - c.mean[i]);
    }
    p.store(to + row * this->pitch + column);
  }
};

/// The same gradient times the norm's scale, added to the slab's.
template <class T>
struct AddBehindNorm : BehindNorm<T> {
  float* to;

  template <int W>
  using Column = NormColumn<W>;
  template <int W>
  __device__ void row(const Column<W>& c, std::int64_t row, int column, const float* v, float (&first)[W],
                      float (&second)[W]) const {
    const auto px = Packet<T, W>::load(this->x + row * this->pitch + column);
    float* at = to + row * this->pitch + column;
    for (int k = 0; k < W; k += 4) {
      auto sum = Packet<float, 4>::load(at + k);
      for (int e = 0; e < 4; ++e) {
        const int i = k + e;
        const float value = static_cast<float>(px.at[i]);
        const float da = value * c.scale[i] + c.shift[i] > 0 ? v[i] : v[i] * this->norm.slope;
        first[i] += da;
        second[i] += da * (value - c.mean[i]);
        sum.at[e] += da * c.scale[i];
      }
      sum.store(at + k);
    }
  }
};

/// One tile of `rows` (its first is `first_row` of the result) by at most `columns` columns from `first_column`, ending at
/// `end`. The tile is used up. parts[2][channels] of this tile, or null.
template <class T, int threads, int columns, class Ending>
__device__ void finish_tile(const Ending& ending, float* tile, int pitch, int rows, std::int64_t first_row, int first_column,
                            int end, float* parts, int channels) {
  constexpr int W = packet_width<T>, line = columns / W, height = threads / line;
  const int across = static_cast<int>(threadIdx.x) % line, down = static_cast<int>(threadIdx.x) / line;
  const int column = first_column + across * W;
  const bool inside = column < end;
  float first[W] = {}, second[W] = {};
  typename Ending::template Column<W> c = {};
  if (inside) {
    c = ending.template column<W>(column, tile + across * W);
    for (int r = down; r < rows; r += height)
      ending.template row<W>(c, first_row + r, column, tile + r * pitch + across * W, first, second);
  }
  if (!parts) return;  // for all threads alike
  __syncthreads();
  for (int i = 0; i < W; ++i) {
    tile[i * threads + threadIdx.x] = first[i];
    tile[(W + i) * threads + threadIdx.x] = second[i];
  }
  __syncthreads();
  for (int half = height / 2; half > 0; half /= 2) {
    if (down < half)
      for (int i = 0; i < 2 * W; ++i) tile[i * threads + threadIdx.x] += tile[i * threads + threadIdx.x + half * line];
    __syncthreads();
  }
  if (down > 0 || !inside) return;
  for (int i = 0; i < W; ++i) {
    first[i] = tile[i * threads + across];
    second[i] = tile[(W + i) * threads + across];
  }
  ending.template sums<W>(c, static_cast<float>(rows), first, second);
  for (int i = 0; i < W; ++i) {
    parts[column + i] = first[i];
    parts[channels + column + i] = second[i];
  }
}
/// Floats of shared memory that finish_tile needs.
template <class T, int threads>
constexpr int finish_floats = 2 * packet_width<T>* threads;

}  // namespace cuboid::dense::device
