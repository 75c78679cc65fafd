// SPDX-License-Identifier: Apache-2.0
// Voxel sizes in TIFF descriptions. Private to the TIFF reader and writer.
#pragma once
#if defined(CUBOID_TIFF)
#include "data/formats/tiff_handle.h"
#include "data/volume.h"

namespace cuboid {

/// From an ImageJ or OME description of the current page, when it has one. Throws DataError for stacks of several channels
/// or time points, whose pages are not slices of one volume.
void read_tiff_spacing(const TiffHandle& file, Volume& volume);
/// As ImageJ writes it, into the current page.
void write_tiff_spacing(const TiffHandle& file, const Volume& volume);

}  // namespace cuboid
#endif
