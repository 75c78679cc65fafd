// SPDX-License-Identifier: Apache-2.0
#include "kernels/dense_block/winograd.h"

#include <algorithm>
#include <vector>

#include "core/parallel.h"
#include "kernels/dense_block/simd.h"

namespace cuboid::dense {
namespace {

// The 1D maps, on whatever can be added: vectors here.
template <class T>
struct Four {
  T v[4];
};
template <class T>
Four<T> input_map(T a, T b, T c, T d) {  // B^T
  return {{a - c, b + c, c - b, b - d}};
}
template <class T>
Four<T> input_map_transposed(T a, T b, T c, T d) {  // B
  return {{a, b - c + d, b + c - a, -d}};
}
template <class T>
Four<T> weight_map(T a, T b, T c) {  // G
  const T half = (a + c) * 0.5f, middle = b * 0.5f;
  return {{a, half + middle, half - middle, c}};
}

// 4x4 points in registers, first along the columns, then along the rows.
template <class Map>
void both_ways(Vec (&p)[4][4], Map map) {
  for (int j = 0; j < 4; ++j) {
    const Four<Vec> r = map(p[0][j], p[1][j], p[2][j], p[3][j]);
    for (int i = 0; i < 4; ++i) p[i][j] = r.v[i];
  }
  for (auto& row : p) {
    const Four<Vec> r = map(row[0], row[1], row[2], row[3]);
    for (int i = 0; i < 4; ++i) row[i] = r.v[i];
  }
}

}  // namespace

void input_points(const Tiling& t, std::int64_t channels, const float* padded, float* to, std::int64_t to_point) {
  const std::int64_t line = t.padded_w() * channels;
  for (std::int64_t y = 0; y < t.tall(); ++y)
    for (std::int64_t x = 0; x < t.wide(); ++x, to += channels) {
      const float* corner = padded + 2 * y * line + 2 * x * channels;
      for (std::int64_t c = 0; c < channels; c += lanes) {
        Vec p[4][4];
        for (int i = 0; i < 4; ++i)
          for (int j = 0; j < 4; ++j) p[i][j] = load(corner + i * line + j * channels + c);
        both_ways(p, input_map<Vec>);
        for (int i = 0; i < points; ++i) store(to + i * to_point + c, p[i / 4][i % 4]);
      }
    }
}

void input_points_transposed(const Tiling& t, std::int64_t channels, const float* from, std::int64_t from_point, float* padded) {
  const std::int64_t line = t.padded_w() * channels;
  std::fill_n(padded, t.padded_count() * channels, 0.f);
  for (std::int64_t y = 0; y < t.tall(); ++y)
    for (std::int64_t x = 0; x < t.wide(); ++x, from += channels) {
      float* corner = padded + 2 * y * line + 2 * x * channels;
      for (std::int64_t c = 0; c < channels; c += lanes) {
        Vec p[4][4];
        for (int i = 0; i < points; ++i) p[i / 4][i % 4] = load(from + i * from_point + c);
        both_ways(p, input_map_transposed<Vec>);
        for (int i = 0; i < 4; ++i)
          for (int j = 0; j < 4; ++j) {
            float* at = corner + i * line + j * channels + c;
            store(at, load(at) + p[i][j]);
          }
      }
    }
}

void output_plane(const Tiling& t, std::int64_t channels, const float* from, std::int64_t from_point, float* plane,
                  std::int64_t pixel) {
  for (std::int64_t y = 0; y < t.tall(); ++y)
    for (std::int64_t x = 0; x < t.wide(); ++x, from += channels)
      for (std::int64_t c = 0; c < channels; c += lanes) {
        Vec half[2][4];
        for (int j = 0; j < 4; ++j) {
          Vec p[4];
          for (int i = 0; i < 4; ++i) p[i] = load(from + (4 * i + j) * from_point + c);
          half[0][j] = p[0] + p[1] + p[2];
          half[1][j] = p[1] - p[2] - p[3];
        }
        for (std::int64_t i = 0; i < std::min<std::int64_t>(2, t.h - 2 * y); ++i) {
          const auto& r = half[i];
          float* at = plane + ((2 * y + i) * t.w + 2 * x) * pixel + c;
          store(at, r[0] + r[1] + r[2]);
          if (2 * x + 1 < t.w) store(at + pixel, r[1] - r[2] - r[3]);
        }
      }
}

void output_plane_transposed(const Tiling& t, std::int64_t channels, const float* plane, float* to, std::int64_t to_point) {
  for (std::int64_t y = 0; y < t.tall(); ++y)
    for (std::int64_t x = 0; x < t.wide(); ++x, to += channels)
      for (std::int64_t c = 0; c < channels; c += lanes) {
        const float* at = plane + (2 * y * t.w + 2 * x) * channels + c;
        const bool right = 2 * x + 1 < t.w, below = 2 * y + 1 < t.h;
        const Vec q00 = load(at), q01 = right ? load(at + channels) : Vec{};
        const Vec q10 = below ? load(at + t.w * channels) : Vec{};
        const Vec q11 = right && below ? load(at + (t.w + 1) * channels) : Vec{};
        const Vec half[4][2] = {{q00, q01}, {q00 + q10, q01 + q11}, {q00 - q10, q01 - q11}, {-q10, -q11}};
        for (int i = 0; i < 4; ++i) {
          const Vec a = half[i][0], b = half[i][1];
          const Vec row[4] = {a, a + b, a - b, -b};
          for (int j = 0; j < 4; ++j) store(to + (4 * i + j) * to_point + c, row[j]);
        }
      }
}

namespace {

/// taps[9][lanes] of one depth tap -> 16 points.
void points_of_taps(const float* taps, float* to, std::int64_t to_point) {
  Vec columns[4][3];
  for (int j = 0; j < 3; ++j) {
    const Four<Vec> r = weight_map(load(taps + j * lanes), load(taps + (3 + j) * lanes), load(taps + (6 + j) * lanes));
    for (int i = 0; i < 4; ++i) columns[i][j] = r.v[i];
  }
  for (int i = 0; i < 4; ++i) {
    const Four<Vec> r = weight_map(columns[i][0], columns[i][1], columns[i][2]);
    for (int j = 0; j < 4; ++j) store(to + (4 * i + j) * to_point, r.v[j]);
  }
}

/// `fast` channels become the columns of panels, `slow` ones their rows; the strides are those of w.
void points_of_weights(const float* w, std::int64_t fast, std::int64_t fast_stride, std::int64_t slow, std::int64_t slow_stride,
                       std::int64_t depth_taps, float* to) {
  const std::int64_t taps = depth_taps * 9, to_tap = fast * slow, to_point = depth_taps * to_tap;
  parallel_ranges(slow, 8, [&](std::int64_t begin, std::int64_t end) {
    float block[27 * lanes];
    for (std::int64_t s = begin; s < end; ++s)
      for (std::int64_t f = 0; f < fast; f += lanes) {
        for (int lane = 0; lane < lanes; ++lane) {
          const float* from = w + (f + lane) * fast_stride + s * slow_stride;
          for (std::int64_t k = 0; k < taps; ++k) block[k * lanes + lane] = from[k];
        }
        for (std::int64_t d = 0; d < depth_taps; ++d)
          points_of_taps(block + d * 9 * lanes,
                         to + d * to_tap + f / panel_width * panel_width * slow + s * panel_width + f % panel_width, to_point);
      }
  });
}

}  // namespace

void weight_points(const float* w, std::int64_t out, std::int64_t in, std::int64_t depth_taps, float* to) {
  points_of_weights(w, out, in * depth_taps * 9, in, depth_taps * 9, depth_taps, to);
}
void weight_points_swapped(const float* w, std::int64_t out, std::int64_t in, std::int64_t depth_taps, float* to) {
  points_of_weights(w, in, depth_taps * 9, out, in * depth_taps * 9, depth_taps, to);
}

void weight_points_transposed(const float* from, std::int64_t parts, std::int64_t out, std::int64_t in, std::int64_t depth_taps,
                              float* dw) {
  const std::int64_t tap = in * out, point = depth_taps * tap, part = points * point, taps = depth_taps * 9;
  parallel_ranges(in, 8, [&](std::int64_t begin, std::int64_t end) {
    float block[27 * lanes];
    for (std::int64_t i = begin; i < end; ++i)
      for (std::int64_t o = 0; o < out; o += lanes) {
        for (std::int64_t d = 0; d < depth_taps; ++d) {
          Vec p[4][4];
          for (int k = 0; k < points; ++k) {
            const float* at = from + k * point + d * tap + i * out + o;
            Vec sum = load(at);
            for (std::int64_t q = 1; q < parts; ++q) sum += load(at + q * part);
            p[k / 4][k % 4] = sum;
          }
          const auto map = [](Vec a, Vec b, Vec c, Vec e) {  // G^T
            const Vec sum = (b + c) * 0.5f;
            return Four<Vec>{{a + sum, (b - c) * 0.5f, sum + e, Vec{}}};
          };
          both_ways(p, map);
          for (int k = 0; k < 9; ++k) store(block + (d * 9 + k) * lanes, p[k / 3][k % 3]);
        }
        for (int lane = 0; lane < lanes; ++lane) {
          float* to = dw + ((o + lane) * in + i) * taps;
          for (std::int64_t k = 0; k < taps; ++k) to[k] = block[k * lanes + lane];
        }
      }
  });
}

}  // namespace cuboid::dense
