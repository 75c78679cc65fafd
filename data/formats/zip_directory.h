// SPDX-License-Identifier: Apache-2.0
// What no zip library checks: that the archive can be understood in one way only. Private to the npz reader.
#pragma once
#include "core/files.h"

namespace cuboid {

/// Throws DataError unless the file is entries, then the directory, then its end, with nothing between or behind, no comment,
/// no encryption or patch flags, and entries that do not overlap (Fifield, "A better zip bomb", 2019). Different readers of
/// such a file see the same entries.
void check_zip_directory(const FileReader& file);

}  // namespace cuboid
