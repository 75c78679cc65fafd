// SPDX-License-Identifier: Apache-2.0
// What `deepis predict` is given: files, folders of frames, prepared datasets; and their voxels, plane by plane.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "apps/sliding_window.h"
#include "data/normalise.h"
#include "data/volume_reader.h"

namespace cuboid::deepis {

struct PredictCase {
  std::string name;  // of the results, unique; may hold a folder: "series/frame_003"
  std::filesystem::path file;
  std::string entry;   // which array of a file with several
  std::string series;  // time-lapse it belongs to; empty: none
  std::int64_t frame = -1;
  std::array<double, 3> spacing_um{};  // where the file does not say, but somebody else does; zeros: nobody
};

struct FindOptions {
  bool series = true;
  std::string entry;  // of files with several arrays
  std::string split;  // of datasets: train, valid or test; empty: all
};
/// One case per file; the volumes of a folder in natural order, and with `series` as the frames of a time-lapse named after it
/// (each folder below it is one of its own). A dataset's folder (dataset.json, or images/) gives its images, with the series they
/// say. DataError for what is not there, and for folders without volumes.
std::vector<PredictCase> find_cases(const std::vector<std::string>& inputs, const FindOptions& options = {});

/// A volume's voxels as a net sees them, C,D,H,W.
class PredictInput {
 public:
  explicit PredictInput(const PredictCase& one);
  const Volume& about() const { return about_; }
  /// Where the file does not say it.
  void set_spacing(const std::array<double, 3>& um);
  const Shape& shape() const { return shape_; }
  /// One pass: refuses NaN and infinite voxels (how many, where the first lies), and measures what the normalisation needs.
  void check_and_measure(const Normalisation& normalisation);
  /// Smallest and largest voxel; after check_and_measure.
  std::pair<double, double> range() const { return {low_, high_}; }
  /// Normalised planes, in order. To be called after check_and_measure.
  app::ReadPlanes planes();
  /// Planes as they are in the file, in order; f32.
  Tensor raw(std::int64_t first, std::int64_t count);
  /// Held while planes are read; and while they are checked.
  std::int64_t bytes() const;
  std::int64_t bytes_to_check(const Normalisation& normalisation) const;

 private:
  std::string name_;
  VolumeReader reader_;
  Volume about_;
  Shape shape_;
  Tensor whole_;  // where planes cannot be had one by one
  std::vector<IntensityMap> maps_;
  double low_ = 0, high_ = 0;
};

}  // namespace cuboid::deepis
