// SPDX-License-Identifier: Apache-2.0
// Phantom cells before the microscope: what is where, in µm and refractive index, everything random already drawn.
#pragma once
#include <vector>

#include "data/phantom.h"
#include "data/phantom_shape.h"

namespace cuboid {

/// What all cells of a patient share: without it, cells of one patient would say nothing about each other. Both classes get
/// the same values of each effect, in orders of their own, so that no class is larger or brighter by luck of few patients.
struct PatientEffects {
  double radius, cytoplasm, nucleus, droplets, lobing, texture;
  /// `patients_per_class`: of the larger class.
  PatientEffects(std::uint64_t seed, std::int64_t patient, std::int64_t patients_per_class);
};

/// Smooth random field: values on a coarse grid that repeats, interpolated.
class Texture {
 public:
  explicit Texture(Random& random);
  /// At a point in units of the grid, within -1..1.
  float operator()(const Point& p) const;

 private:
  static constexpr std::size_t cells = 16;
  std::vector<float> values_;
};

struct Blob {
  Point centre;
  double radius, delta;  // delta: refractive index above its surroundings
};

struct CellModel {
  Texture texture;
  Surface surface;
  Nucleus nucleus;
  Point centre{};  // of the cell, relative to the middle of the field
  int lobes = 1;
  double cytoplasm = 0, chromatin = 0, grain = 0;  // refractive index: above the medium, above the cytoplasm, of the texture
  std::vector<Blob> nucleoli, droplets, debris;

  CellModel(std::int64_t label, const PatientEffects& patient, Random& random);

  /// What a voxel of edge `voxel` µm at p holds, blobs aside.
  struct Matter {
    double delta = 0;                     // refractive index above the medium, thinned where the voxel is only partly inside
    double inside_cell = 0, nucleus = 0;  // shares of the voxel
  };
  Matter at(const Point& p, double voxel) const;

 private:
  void draw_nucleus(std::int64_t label, const PatientEffects& patient, Random& random);
  void draw_blobs(std::int64_t label, const PatientEffects& patient, Random& random);
};

}  // namespace cuboid
