// SPDX-License-Identifier: Apache-2.0
// Two cells and the wall between them before the microscope: what is where, in µm and refractive index.
#pragma once
#include <array>
#include <vector>

#include "data/phantom_model.h"

namespace cuboid {

/// How far the meeting has come.
struct Encounter {
  double gap = 0;      // µm between the cells; 0 when they touch
  double contact = 0;  // radius of the contact, µm; 0 when they are apart
};

/// One of the two. Its places are relative to its own centre.
struct PairCell {
  double radius = 0;  // of a ball of the same volume
  Surface surface;    // of the free cell; larger than `radius` where the wall takes a part away
  Nucleus nucleus;
  Texture texture;
  double cytoplasm = 0, chromatin = 0, grain = 0, pitch = 0.5;  // refractive index above the medium; µm
  std::vector<Blob> droplets;
  Point centre{};  // relative to the middle of the field

  PairCell(int kind, Random& random);
  /// Refractive index above the medium at p within the cell, `depth` µm below its border.
  double matter(const Point& p, double depth, double voxel) const;
};

class PairModel {
 public:
  /// Everything random of pair `i` comes from its key, so that all frames show the same cells.
  PairModel(const RandomKey& key, const Encounter& now, const Encounter& widest);

  struct Matter {
    double delta = 0;               // refractive index above the medium
    std::array<double, 2> share{};  // of the voxel, that lies in each cell
    std::array<double, 2> part{};   // of delta, that belongs to each cell
    int label = 0;                  // of the voxel's centre
  };
  Matter at(const Point& p, double voxel) const;
  /// Area of the wall between the cells, µm², on a grid of 0.04 µm.
  double contact_area() const;
  const PairCell& cell(int k) const { return cells_[static_cast<std::size_t>(k)]; }

 private:
  /// How far p lies beyond the wall, on the side of cell 1, in µm.
  double beyond_wall(const Point& p) const;
  double bulge(double squared_radius) const;
  /// How far the cells stay from the wall at p: 0 where they touch. Around the contact the membranes part steeply, as those of
  /// adhering cells do; the edge of the contact can then be found in voxels.
  double groove(const Point& p, double wall) const;
  /// Two directions that span the wall.
  std::array<Point, 2> across() const;
  /// How far from the centre of cell k the wall must stand for a section of the area of a disc of radius `contact`.
  double wall_distance(const Surface& surface, std::size_t k, double contact) const;

  std::array<PairCell, 2> cells_;
  Encounter now_;
  Point towards_{}, wall_{};  // from cell 0 to cell 1; a point of the wall
  double curvature_ = 0;      // the wall bulges by curvature * (distance from its axis)^2
  std::vector<Blob> debris_;
};

}  // namespace cuboid
