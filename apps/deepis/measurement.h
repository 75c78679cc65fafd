// SPDX-License-Identifier: Apache-2.0
// What a labelled tomogram says of its cells: volume, surface, refractive index, dry mass, and the synapse between two of them.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/json.h"
#include "data/morphology/grid.h"

namespace cuboid::deepis {

/// Refractive index = offset + slope * value.
struct RiScale {
  double offset = 0, slope = 1;
};
/// What the values of a raw image mean: refractive indices as they stand (all within 1 ... 2), ten thousand times that (TCF), or
/// nothing that can be told: then none.
std::optional<RiScale> ri_scale_of(const Tensor& image);
/// 8-bit images of a display window: 0 is `low`, 255 is `high`.
RiScale ri_window(double low, double high);

struct MeasureOptions {
  double dilate_um = -1;     // radius of the balls that make the synapse's voxels; negative: the largest spacing
  double cleft_um = -1;      // widest cleft that counts as contact; negative: 1.5 voxels across it
  double medium_ri = 1.337;  // what the cells lie in
  double increment = 0.2;    // of the refractive index with concentration, mL/g (Barer 1952: proteins 0.18 to 0.2)
};

struct CellMeasure {
  std::int64_t label = 0, voxels = 0, parts = 0;  // parts: components of 26 neighbours
  double volume_um3 = 0, surface_um2 = 0;
  double sphericity = 0;                             // area of the sphere of this volume / surface
  std::array<double, 3> centre_um{};                 // z,y,x from the first voxel's centre
  double mean_ri = 0, dry_mass_pg = 0, density = 0;  // NaN without an image; density: pg/µm³ = g/mL
  bool cut = false;                                  // touches the volume's border: what lies beyond is missing
};

/// Cells that are not there have 0 voxels, and NaN for all that has no meaning then.
struct Synapse {
  std::int64_t voxels = 0;
  double volume_um3 = 0;  // of dilate(a) and dilate(b)
  double area_um2 = 0;    // of the wall between the cells: see contact_between
  double mean_ri = 0;
};

struct FrameMeasure {
  std::vector<CellMeasure> cells;
  std::optional<Synapse> synapse;
};

/// u8: voxels within `radius_um` of both labels, the cells' own among them.
Tensor synapse_mask(const Tensor& labels, std::int32_t a, std::int32_t b, const Spacing& spacing_um, double radius_um);

/// Area in µm² of the contact surface of two cells that touch, or are apart by a cleft of at most `cleft_um` (negative: 1.5
/// voxels, as long as they are across it). Background voxels of the cleft, from which the ways to the two cells lead in opposite
/// directions, go to the nearer cell; then the wall between the two is measured (data/morphology/surface.h). The rim stays where
/// the cells part: the wall between dilated cells would have a margin all around. Slanted or straight, with a cleft or without, a
/// flat contact is within 7 % of its area; cells that part in a wedge seem to touch as long as it is less than a voxel wide.
double contact_between(const Tensor& labels, std::int32_t a, std::int32_t b, const Spacing& spacing_um, double cleft_um = -1);

/// labels: u8 or i32 (D,H,W). image: raw values (D,H,W), or undefined. `of`: the labels to measure. With `pair`, also the synapse
/// between these two.
FrameMeasure measure(const Tensor& labels, const Tensor& image, const std::optional<RiScale>& scale, const Spacing& spacing_um,
                     const std::vector<std::int32_t>& of, const std::optional<std::array<std::int32_t, 2>>& pair,
                     const MeasureOptions& options = {});

}  // namespace cuboid::deepis
