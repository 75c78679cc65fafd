// SPDX-License-Identifier: Apache-2.0
// winograd_maps.h for bf16: F(2, 3) on both axes, 16 points per tile of 2x2 outputs. Longer filters save more and cost digits
// that bf16 does not have. Everything is computed in f32 and rounded where it is stored. A plane is worked on in bands of tiles,
// so that a band's points stay in cache; rows of points are tiles, of one sample after the other.
#pragma once
#include <cstdint>
#include <vector>

#include "core/dtype.h"

namespace cuboid::bf {

inline constexpr std::int64_t points = 16;

/// Lines [2 * first, 2 * (first + tall)) of an h x w plane in tiles of 2x2; its padded form has a border of one and whole tiles.
struct Band {
  std::int64_t h, w, first, tall;
  std::int64_t wide() const { return (w + 1) / 2; }
  std::int64_t count() const { return tall * wide(); }
  std::int64_t padded_h() const { return 2 * tall + 2; }
  std::int64_t padded_w() const { return 2 * wide() + 2; }
  std::int64_t padded_count() const { return padded_h() * padded_w(); }
};

/// The bands of an h x w plane, of about `most` tiles; the tallest first.
std::vector<Band> bands_of(std::int64_t h, std::int64_t w, std::int64_t most);

/// Elements from one point's matrix to the next; the extra cache lines keep them out of one cache set.
constexpr std::int64_t point_stride(std::int64_t rows, std::int64_t channels) { return (rows + 1) / 2 * 2 * channels + 64; }

/// padded[samples][padded_count][channels] -> to[point][row][channels].
void input_points(const Band& b, std::int64_t samples, std::int64_t channels, const bf16* padded, bf16* to,
                  std::int64_t to_point);
/// The same as to[point][row / 2][channels] pairs; an odd last row is paired with zeros.
void input_pairs(const Band& b, std::int64_t samples, std::int64_t channels, const bf16* padded, bf16* to, std::int64_t to_point);
/// The transposed output map of what lies inside padded's border, as pairs.
void output_pairs_transposed(const Band& b, std::int64_t samples, std::int64_t channels, const bf16* padded, bf16* to,
                             std::int64_t to_point);

/// from[point][row][channels] of one sample -> its band: line y, column x of the plane is at plane + (y * w + x) * pixel. `bias`,
/// one per channel, is added where it is not null.
void output_band(const Band& b, std::int64_t channels, const float* from, std::int64_t from_point, bf16* plane,
                 std::int64_t pixel, const float* bias = nullptr);

/// What `output_band` gives is the gradient behind act(z * scale + shift), which it is taken through: `to`, [h * w][channels]
/// like z, and per channel the sums of it and of it times (z - mean), added to sums[2][channels].
struct Behind {
  const bf16* z;
  const float *scale, *shift, *mean;
  float slope;
};
void output_band_backward(const Band& b, std::int64_t channels, const float* from, std::int64_t from_point, const Behind& behind,
                          bf16* to, float* sums);

/// w[out][in][depth_taps][3][3] -> panels of 32 outputs in pairs, to[point][tap][out / 32][in / 2][32], in parallel.
void weight_points(const bf16* w, std::int64_t out, std::int64_t in, std::int64_t depth_taps, bf16* to);
/// The same for the derivative by the input: that of w turned round, with in and out exchanged.
void weight_points_turned(const bf16* w, std::int64_t out, std::int64_t in, std::int64_t depth_taps, bf16* to);
/// Sum over `count` parts (each f32 [point][tap][in][out], in order; they are used up) -> dw[out][in][depth_taps][3][3], in
/// parallel.
void weight_points_transposed(float* parts, std::int64_t count, std::int64_t out, std::int64_t in, std::int64_t depth_taps,
                              bf16* dw);

}  // namespace cuboid::bf
