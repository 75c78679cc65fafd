// SPDX-License-Identifier: Apache-2.0
// Stacks of TIFF pages as volumes (libtiff). 8, 16 and 32-bit integers, 32-bit floats, grey.
#pragma once
#include <filesystem>

#include "data/volume.h"

namespace cuboid {

struct TiffOptions {
  std::optional<DType> dtype;  // convert while reading
};

/// [pages, H, W]: u8 -> u8, i8/i16/u16/i32 -> i32, u32 -> i64, f32 -> f32. All pages must agree in size and type. Spacing comes
/// from ImageJ's or OME's description where there is one. Throws DataError.
Volume read_tiff(const std::filesystem::path& path, const TiffOptions& options = {});

struct TiffWriteOptions {
  bool compress = false;  // deflate
  int tile = 0;           // tile edge (a multiple of 16); 0 writes strips
};
/// One page per slice, atomic. u8 as 8 bits; i32 within 0..65535 as 16 bits, otherwise as signed 32 bits; floats as 32-bit
/// floats. The spacing goes into an ImageJ description.
void write_tiff(const std::filesystem::path& path, const Volume& volume, const TiffWriteOptions& options = {});

}  // namespace cuboid
