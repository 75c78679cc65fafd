// SPDX-License-Identifier: Apache-2.0
// A folder of phantom cells that every csf command can use.
#pragma once
#include <filesystem>
#include <functional>

#include "data/phantom.h"

namespace cuboid::csf {

struct PhantomFolderOptions {
  std::filesystem::path output;  // must be empty or not exist
  PhantomOptions cells;
  bool masks = true;            // masks/NAME.npy, u8 (PhantomTissue)
  std::int64_t raw_fields = 0;  // raw/field_NN.npy with several cells each, and centres.csv
  std::int64_t cells_per_field = 4;
  Shape raw_shape = {96, 128, 128};
  std::function<void(std::int64_t done, std::int64_t of)> progress;
};

struct PhantomFolderReport {
  std::int64_t cells = 0, fields = 0, bytes = 0;
  std::filesystem::path labels, centres;
};

/// Writes
///   labels.csv     file,label,group,class,lobes,droplets,radius_um,volume_um3,mean_ri
///   dataset.json   spacing, class names, how it was made
///   cells/*.npy    f32 refractive index (1.337 = medium), (z,y,x)
///   masks/*.npy    u8 ground truth
///   task.yaml      the two classes as groups of patients
///   raw/*.tiff     tomograms as the instrument exports them: RI x 1e4, 16 bits (.npy without libtiff); raw/centres.csv
PhantomFolderReport write_phantom(const PhantomFolderOptions& options);

}  // namespace cuboid::csf
