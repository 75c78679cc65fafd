// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/winograd_maps.h"

#include <algorithm>
#include <type_traits>

#include "core/parallel.h"
#include "kernels/simd.h"

namespace cuboid::winograd {

using namespace simd;

namespace {

// ---- the maps -------------------------------------------------------------------------------------

template <int R, int C>
struct Matrix {
  static constexpr int rows = R, cols = C;
  float v[R][C];
  constexpr Matrix<C, R> transposed() const {
    Matrix<C, R> t{};
    for (int i = 0; i < R; ++i)
      for (int j = 0; j < C; ++j) t.v[j][i] = v[i][j];
    return t;
  }
};

/// F(m, 3): `input` is B^T, `weight` is G, `output` is A^T.
template <int M>
struct Filter;
template <>
struct Filter<2> {
  static constexpr Matrix<4, 4> input{{{1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, 1, 0, -1}}};
  static constexpr Matrix<4, 3> weight{{{1, 0, 0}, {0.5f, 0.5f, 0.5f}, {0.5f, -0.5f, 0.5f}, {0, 0, 1}}};
  static constexpr Matrix<2, 4> output{{{1, 1, 1, 0}, {0, 1, -1, -1}}};
};
template <>
struct Filter<4> {
  static constexpr Matrix<6, 6> input{{{4, 0, -5, 0, 1, 0},
                                       {0, -4, -4, 1, 1, 0},
                                       {0, 4, -4, -1, 1, 0},
                                       {0, -2, -1, 2, 1, 0},
                                       {0, 2, -1, -2, 1, 0},
                                       {0, 4, 0, -5, 0, 1}}};
  static constexpr Matrix<6, 3> weight{{{1.f / 4, 0, 0},
                                        {-1.f / 6, -1.f / 6, -1.f / 6},
                                        {-1.f / 6, 1.f / 6, -1.f / 6},
                                        {1.f / 24, 1.f / 12, 1.f / 6},
                                        {1.f / 24, -1.f / 12, 1.f / 6},
                                        {0, 0, 1}}};
  static constexpr Matrix<4, 6> output{{{1, 1, 1, 1, 1, 0}, {0, 1, -1, 2, -2, 0}, {0, 1, 1, 4, 4, 0}, {0, 1, -1, 8, -8, 1}}};
};

// A product with one of these matrices is written out when the code is made: no zeros, no ones, and what two rows or two columns
// have in common but for signs is computed once.

enum class Signs : std::uint8_t { all, same, opposite };

/// True for the columns of a row, or of those in which the next row has the same or the opposite sign.
template <const auto& m, int row, Signs signs>
constexpr bool counts(int col) {
  if (m.v[row][col] == 0) return false;
  if constexpr (signs == Signs::all) return true;
  else return (m.v[row][col] == m.v[row + 1][col]) == (signs == Signs::same);
}
template <const auto& m, int row, Signs signs>
constexpr bool counts_from(int col) {
  for (; col < std::remove_cvref_t<decltype(m)>::cols; ++col)
    if (counts<m, row, signs>(col)) return true;
  return false;
}

template <const auto& m, int row, Signs signs, int col = 0>
[[gnu::always_inline]] inline Vec sum_of(const Vec* x, int step) {
  constexpr float factor = m.v[row][col];
  if constexpr (!counts<m, row, signs>(col)) {
    return sum_of<m, row, signs, col + 1>(x, step);
  } else if constexpr (!counts_from<m, row, signs>(col + 1)) {
    return factor == 1 ? x[col * step] : factor == -1 ? -x[col * step] : x[col * step] * factor;
  } else {
    const Vec rest = sum_of<m, row, signs, col + 1>(x, step);
    if constexpr (factor == 1) return rest + x[col * step];
    else if constexpr (factor == -1) return rest - x[col * step];
    else return rest + x[col * step] * factor;
  }
}

/// Rows `row` and `row + 1` are equal but for signs.
template <const auto& m>
constexpr bool twins(int row) {
  if (row + 1 >= std::remove_cvref_t<decltype(m)>::rows) return false;
  bool same = true;
  for (int col = 0; col < std::remove_cvref_t<decltype(m)>::cols; ++col) {
    const float a = m.v[row][col], b = m.v[row + 1][col];
    if (a != b && a != -b) return false;
    same = same && a == b;
  }
  return !same;
}

/// y = m x.
template <const auto& m, int row = 0>
[[gnu::always_inline]] inline void times(const Vec* x, int x_step, Vec* y, int y_step) {
  if constexpr (row < std::remove_cvref_t<decltype(m)>::rows) {
    if constexpr (twins<m>(row)) {
      const Vec even = sum_of<m, row, Signs::same>(x, x_step), odd = sum_of<m, row, Signs::opposite>(x, x_step);
      y[row * y_step] = even + odd;
      y[(row + 1) * y_step] = even - odd;
      times<m, row + 2>(x, x_step, y, y_step);
    } else {
      y[row * y_step] = sum_of<m, row, Signs::all>(x, x_step);
      times<m, row + 1>(x, x_step, y, y_step);
    }
  }
}

/// to = down * from * across^T, all in registers.
template <const auto& down, const auto& across>
[[gnu::always_inline]] inline void both_ways(const Vec* from, Vec* to) {
  using Down = std::remove_cvref_t<decltype(down)>;
  using Across = std::remove_cvref_t<decltype(across)>;
  Vec half[Down::rows * Across::cols];
#pragma GCC unroll 8
  for (int j = 0; j < Across::cols; ++j) times<down>(from + j, Across::cols, half + j, Across::cols);
#pragma GCC unroll 8
  for (int i = 0; i < Down::rows; ++i) times<across>(half + i * Across::cols, 1, to + i * Across::rows, 1);
}

template <int M>
constexpr auto output_transposed = Filter<M>::output.transposed();
template <int M>
constexpr auto weight_transposed = Filter<M>::weight.transposed();

template <int D, int M>
struct Tile {};
/// f(Tile<down, across>) with the size of the tiles as constants.
template <class F>
void with_tile(const Tiling& t, F&& f) {
  if (t.down == 4) f(Tile<4, 4>{});
  else if (t.across() == 4) f(Tile<2, 4>{});
  else f(Tile<2, 2>{});
}

/// f(line, column) of each tile's first pixel, tile by tile.
template <class F>
void each_tile(const Tiling& t, F&& f) {
  for (std::int64_t y = 0; y < t.tall(); ++y)
    for (std::int64_t x = 0; x < t.wide(); ++x) f(t.down * y, t.across() * x);
}

}  // namespace

// ---- activations ----------------------------------------------------------------------------------

void input_points(const Tiling& t, std::int64_t channels, const float* padded, float* to, std::int64_t to_point) {
  with_tile(t, [&]<int D, int M>(Tile<D, M>) {
    each_tile(t, [&](std::int64_t y, std::int64_t x) {
      const float* corner = padded + (y * t.padded_w() + x) * channels;
      for (std::int64_t c = 0; c < channels; c += lanes) {
        Vec in[(D + 2) * (M + 2)], out[(D + 2) * (M + 2)];
#pragma GCC unroll 6
        for (int i = 0; i < D + 2; ++i)
#pragma GCC unroll 6
          for (int j = 0; j < M + 2; ++j) in[i * (M + 2) + j] = load(corner + (i * t.padded_w() + j) * channels + c);
        both_ways<Filter<D>::input, Filter<M>::input>(in, out);
#pragma GCC unroll 36
        for (int i = 0; i < (D + 2) * (M + 2); ++i) store(to + i * to_point + c, out[i]);
      }
      to += channels;
    });
  });
}

void output_plane(const Tiling& t, std::int64_t channels, const float* from, std::int64_t from_point, float* plane,
                  std::int64_t pixel) {
  with_tile(t, [&]<int D, int M>(Tile<D, M>) {
    each_tile(t, [&](std::int64_t y, std::int64_t x) {
      for (std::int64_t c = 0; c < channels; c += lanes) {
        Vec in[(D + 2) * (M + 2)], out[D * M];
#pragma GCC unroll 36
        for (int i = 0; i < (D + 2) * (M + 2); ++i) in[i] = load(from + i * from_point + c);
        both_ways<Filter<D>::output, Filter<M>::output>(in, out);
#pragma GCC unroll 4
        for (int i = 0; i < D; ++i)
#pragma GCC unroll 4
          for (int j = 0; j < M; ++j)
            if (y + i < t.h && x + j < t.w) store(plane + ((y + i) * t.w + x + j) * pixel + c, out[i * M + j]);
      }
      from += channels;
    });
  });
}

void output_plane_transposed(const Tiling& t, std::int64_t channels, const float* plane, std::int64_t line, float* to,
                             std::int64_t to_point) {
  with_tile(t, [&]<int D, int M>(Tile<D, M>) {
    each_tile(t, [&](std::int64_t y, std::int64_t x) {
      for (std::int64_t c = 0; c < channels; c += lanes) {
        Vec in[D * M], out[(D + 2) * (M + 2)];
#pragma GCC unroll 4
        for (int i = 0; i < D; ++i)
#pragma GCC unroll 4
          for (int j = 0; j < M; ++j)
            in[i * M + j] = y + i < t.h && x + j < t.w ? load(plane + ((y + i) * line + x + j) * channels + c) : Vec{};
        both_ways<output_transposed<D>, output_transposed<M>>(in, out);
#pragma GCC unroll 36
        for (int i = 0; i < (D + 2) * (M + 2); ++i) store(to + i * to_point + c, out[i]);
      }
      to += channels;
    });
  });
}

// ---- weights --------------------------------------------------------------------------------------

namespace {

/// `fast` channels become the columns of panels, `slow` ones their rows; the strides are those of w.
void points_of_weights(const Tiling& t, const float* w, std::int64_t fast, std::int64_t fast_stride, std::int64_t slow,
                       std::int64_t slow_stride, std::int64_t depth_taps, bool turned, float* to) {
  const std::int64_t taps = depth_taps * 9, to_tap = fast * slow, to_point = depth_taps * to_tap;
  with_tile(t, [&]<int D, int M>(Tile<D, M>) {
    parallel_ranges(slow, 8, [&](std::int64_t begin, std::int64_t end) {
      float block[27 * lanes];
      for (std::int64_t s = begin; s < end; ++s)
        for (std::int64_t f = 0; f < fast; f += lanes) {
          for (int lane = 0; lane < lanes; ++lane) {
            const float* from = w + (f + lane) * fast_stride + s * slow_stride;
            for (std::int64_t k = 0; k < taps; ++k) block[k * lanes + lane] = from[k];
          }
          float* panel = to + f / panel_width * panel_width * slow + s * panel_width + f % panel_width;
          for (std::int64_t d = 0; d < depth_taps; ++d) {
            Vec in[9], out[(D + 2) * (M + 2)];
            for (int k = 0; k < 9; ++k) in[k] = load(block + (d * 9 + (turned ? 8 - k : k)) * lanes);
            both_ways<Filter<D>::weight, Filter<M>::weight>(in, out);
            for (int i = 0; i < (D + 2) * (M + 2); ++i) store(panel + d * to_tap + i * to_point, out[i]);
          }
        }
    });
  });
}

}  // namespace

void weight_points(const Tiling& t, const float* w, std::int64_t out, std::int64_t in, std::int64_t depth_taps, float* to) {
  points_of_weights(t, w, out, in * depth_taps * 9, in, depth_taps * 9, depth_taps, false, to);
}
void weight_points_turned(const Tiling& t, const float* w, std::int64_t out, std::int64_t in, std::int64_t depth_taps,
                          float* to) {
  points_of_weights(t, w, in, depth_taps * 9, out, in * depth_taps * 9, depth_taps, true, to);
}

void weight_points_transposed(const Tiling& t, const float* from, std::int64_t parts, std::int64_t out, std::int64_t in,
                              std::int64_t depth_taps, float* dw) {
  const std::int64_t tap = in * out, point = depth_taps * tap, part = t.points() * point, taps = depth_taps * 9;
  with_tile(t, [&]<int D, int M>(Tile<D, M>) {
    parallel_ranges(in, 8, [&](std::int64_t begin, std::int64_t end) {
      float block[27 * lanes];
      for (std::int64_t i = begin; i < end; ++i)
        for (std::int64_t o = 0; o < out; o += lanes) {
          for (std::int64_t d = 0; d < depth_taps; ++d) {
            Vec sums[(D + 2) * (M + 2)], nine[9];
            for (int k = 0; k < (D + 2) * (M + 2); ++k) {
              const float* at = from + k * point + d * tap + i * out + o;
              sums[k] = load(at);
              for (std::int64_t q = 1; q < parts; ++q) sums[k] += load(at + q * part);
            }
            both_ways<weight_transposed<D>, weight_transposed<M>>(sums, nine);
            for (int k = 0; k < 9; ++k) store(block + (d * 9 + k) * lanes, nine[k]);
          }
          for (int lane = 0; lane < lanes; ++lane) {
            float* to = dw + ((o + lane) * in + i) * taps;
            for (std::int64_t k = 0; k < taps; ++k) to[k] = block[k * lanes + lane];
          }
        }
    });
  });
}

}  // namespace cuboid::winograd
