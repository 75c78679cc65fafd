// SPDX-License-Identifier: Apache-2.0
// From tomograms and clicked centres to the cubes a network sees.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "data/crop.h"

namespace cuboid::csf {

enum class AxisOrder { zyx, yxz };
enum class Normalise { after_crop, before_crop, none };

struct PrepareOptions {
  std::filesystem::path input;    // folder of the tomograms (npy, tiff, TCF)
  std::filesystem::path centres;  // csv: file,x,y,z[,label][,group][,class]; x is the column of a voxel, y its row, z its slice
  std::filesystem::path output;   // gets one .npy per centre, quality.csv, dataset.json and, with labels, labels.csv
  std::int64_t size = 64;
  CropPadding padding = CropPadding::append;
  Normalise normalise = Normalise::after_crop;
  AxisOrder order = AxisOrder::zyx;  // how the files lie; crops are always stored (z,y,x), the network's order
  bool filter_mean = false;          // leave out tomograms with mean RI x 1e4 below 13370, or from 13385 on
  double mean_from = 13370, mean_below = 13385;
  bool keep_going = false;  // a bad file becomes a row of the quality table instead of the end
  std::function<void(std::int64_t done, std::int64_t of)> progress;
};

struct PrepareRow {
  std::string file, output, status;                 // status: ok, excluded (mean), failed
  std::array<std::int64_t, 3> centre{}, missing{};  // z,y,x
  double volume_mean = 0;                           // RI x 1e4
  VoxelStats crop;                                  // before normalisation, RI x 1e4 when the file holds RI
  bool touches_border = false;                      // the cell (brighter than medium) reaches a face of the crop
  std::string problem;
};

struct PrepareReport {
  std::int64_t written = 0, excluded = 0, failed = 0, clipped = 0, touching = 0;
  std::vector<PrepareRow> rows;
};

/// DataError for a bad centres file, a missing volume, a centre outside, NaN voxels (unless keep_going), an output folder
/// that already holds a labels.csv or quality.csv.
PrepareReport prepare(const PrepareOptions& options);

}  // namespace cuboid::csf
