// SPDX-License-Identifier: Apache-2.0
// The 3x3 part of a convolution with 2.25 to 4 times fewer multiplications: Winograd's minimal filtering (Lavin and Gray 2016),
// F(2, 3) or F(4, 3) along the lines and along the columns. An output tile of 4x4 is
//   y = A1^T [ (G1 w G2^T) o (B1^T x B2) ] A2
// with x the 6x6 inputs around it; "o" multiplies the 36 points one by one, so that a sum over channels becomes 36 small
// matrix products. All three maps are linear, hence the derivatives are their transposes. F(4, 3) on both axes costs a digit
// (some 1e-6 of the largest value). The third dimension is summed directly: one set of points per depth tap. Channels are the
// fastest dimension everywhere.
#pragma once
#include <algorithm>
#include <cstdint>

namespace cuboid::winograd {

/// One h x w plane, or a part of one, cut into tiles `down` high and `across` wide, each 2 or 4; the padded plane has a border of
/// one and holds whole tiles. Large tiles need fewer multiplications, small ones give larger matrices; measured, the former win
/// from 12 pixels on. Tiles 4 high are 4 wide.
struct Tiling {
  std::int64_t h, w;
  std::int64_t down = 2;
  static Tiling of_plane(std::int64_t h, std::int64_t w) { return {h, w, h >= 12 && w >= 12 ? 4 : 2}; }
  std::int64_t across() const { return w >= 12 ? 4 : 2; }
  std::int64_t points() const { return (down + 2) * (across() + 2); }
  std::int64_t tall() const { return (h + down - 1) / down; }
  std::int64_t wide() const { return (w + across() - 1) / across(); }
  std::int64_t count() const { return tall() * wide(); }
  std::int64_t padded_h() const { return down * tall() + 2; }
  std::int64_t padded_w() const { return across() * wide() + 2; }
  std::int64_t padded_count() const { return padded_h() * padded_w(); }
  /// Lines of the plane that are worked on at a time: few enough for their points to stay in the second-level cache.
  std::int64_t lines_at_a_time() const {
    constexpr std::int64_t most = 1152;  // points of all tiles: 0.6 MB with 128 channels
    return 3 * count() * points() <= 4 * most ? h : std::min(h, down * std::max<std::int64_t>(1, most / points() / wide()));
  }
};

/// Floats from one point's matrix to the next; the extra cache lines keep them out of one cache set.
constexpr std::int64_t point_stride(std::int64_t rows, std::int64_t channels) { return rows * channels + 64; }

/// padded[padded_count][channels] -> to[point][tile][channels].
void input_points(const Tiling& t, std::int64_t channels, const float* padded, float* to, std::int64_t to_point);
/// from[point][tile][channels] -> plane: pixel i is at plane + i * pixel.
void output_plane(const Tiling& t, std::int64_t channels, const float* from, std::int64_t from_point, float* plane,
                  std::int64_t pixel);
/// Its transpose: plane[h * w][channels], `line` pixels from one line to the next -> to[point][tile][channels].
void output_plane_transposed(const Tiling& t, std::int64_t channels, const float* plane, std::int64_t line, float* to,
                             std::int64_t to_point);

/// w[out][in][depth_taps][3][3] -> panels of 32 outputs to[point][tap][out / 32][in][32], in parallel.
void weight_points(const Tiling& t, const float* w, std::int64_t out, std::int64_t in, std::int64_t depth_taps, float* to);
/// The same with in and out exchanged and each plane's taps turned round, for the derivative with respect to the input:
/// to[point][tap][in / 32][out][32].
void weight_points_turned(const Tiling& t, const float* w, std::int64_t out, std::int64_t in, std::int64_t depth_taps, float* to);
/// Sum over `parts` (each [point][tap][in][out], in order) -> dw[out][in][depth_taps][3][3], in parallel.
void weight_points_transposed(const Tiling& t, const float* from, std::int64_t parts, std::int64_t out, std::int64_t in,
                              std::int64_t depth_taps, float* dw);

}  // namespace cuboid::winograd
