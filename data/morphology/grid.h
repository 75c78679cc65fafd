// SPDX-License-Identifier: Apache-2.0
// What the functions of this folder agree on. Volumes are [D,H,W] = z,y,x on the CPU; masks are any type, inside where not 0;
// labels are whole numbers, 0 is the background. Voxel sizes are triples z,y,x. Results do not depend on the number of threads.
#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "core/tensor.h"

namespace cuboid {

using Spacing = std::array<double, 3>;

/// Which voxels are neighbours: those that share a face (6), an edge (18), a corner (26).
enum class Connectivity : std::uint8_t { faces = 6, edges = 18, corners = 26 };

namespace morphology {

/// u8, 1 inside and 0 outside, contiguous; the tensor itself where it is that already. `who` begins the error's text.
Tensor as_mask(const Tensor& volume, const char* who);
/// u8 or i32, contiguous; the tensor itself where it can be. Other types are converted: DataError where a value is no whole
/// number or does not fit.
Tensor as_labels(const Tensor& volume, const char* who);
/// DataError unless all three are finite and above 0.
void check_spacing(const Spacing& spacing, const char* who);

/// Of a volume with `h` rows and `w` columns.
struct Grid {
  std::int64_t d, h, w;
  explicit Grid(const Shape& s) : d(s[0]), h(s[1]), w(s[2]) {}
  std::int64_t size() const { return d * h * w; }
  std::int64_t dim(int axis) const { return axis == 0 ? d : axis == 1 ? h : w; }
  std::int64_t stride(int axis) const { return axis == 0 ? h * w : axis == 1 ? w : 1; }
};

/// A neighbour's place relative to a voxel.
struct Step {
  std::int64_t z, y, x, offset;
};
/// All neighbours in order of their offset; with `before`, only those that come earlier in memory.
std::vector<Step> neighbours(const Grid& grid, Connectivity connectivity, bool before = false);

}  // namespace morphology
}  // namespace cuboid
