// SPDX-License-Identifier: Apache-2.0
// PNG through libpng.
#pragma once
#include <filesystem>

#include "core/tensor.h"

namespace cuboid {

/// Grey, RGB or RGBA; palettes and 1, 2, 4 bits are widened. [H,W] for grey without alpha, otherwise [H,W,C]; u8, or i32 for
/// 16-bit images. At most 2^28 pixels. Throws DataError.
Tensor read_png(const std::filesystem::path& path);
/// u8 [H,W] or [H,W,1|3|4], atomic.
void write_png(const std::filesystem::path& path, const Tensor& image);
/// The file as bytes, for pages that embed their pictures.
std::string png_bytes(const Tensor& image);

}  // namespace cuboid
