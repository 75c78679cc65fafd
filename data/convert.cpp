// SPDX-License-Identifier: Apache-2.0
#include "data/convert.h"

#include <algorithm>
#include <cmath>

#include "core/safetensors.h"
#include "data/formats/detect.h"
#include "data/formats/mat.h"
#include "data/formats/nifti.h"
#include "data/formats/npy.h"
#include "data/formats/npz.h"
#include "data/formats/png.h"
#include "data/formats/tcf.h"
#include "data/formats/tiff.h"

namespace cuboid {
namespace {

/// The middle slice, its darkest voxel 0 and its brightest 255.
Tensor middle_slice(const Volume& v) {
  const Tensor& x = v.image;
  const std::int64_t pixels = x.dim(-2) * x.dim(-1), depth = x.dim(-3);
  const std::vector<double> values = x.to_vector();
  const double* slice = values.data() + depth / 2 * pixels;
  double low = INFINITY, high = -INFINITY;
  for (std::int64_t i = 0; i < pixels; ++i)
    if (std::isfinite(slice[i])) low = std::min(low, slice[i]), high = std::max(high, slice[i]);
  Tensor image = empty({x.dim(-2), x.dim(-1)}, {.dtype = DType::u8});
  auto* to = image.mutable_data<std::uint8_t>();
  for (std::int64_t i = 0; i < pixels; ++i)
    to[i] =
        std::isfinite(slice[i]) && high > low ? static_cast<std::uint8_t>(std::lround((slice[i] - low) / (high - low) * 255)) : 0;
  return image;
}

Metadata space_of(const Volume& v) {
  Metadata m = {{"name", v.name}};
  if (v.spacing_known) m.emplace_back("spacing_zyx_" + v.unit, join_text(v.spacing[0], " ", v.spacing[1], " ", v.spacing[2]));
  return m;
}

}  // namespace

void save_volume(const std::filesystem::path& path, const Volume& v) {
  const std::string name = lower_name(path);
  const auto ends = [&](std::string_view ending) { return name.ends_with(ending); };
  if (ends(".npy") || ends(".npy.gz")) write_npy(path, v.image);
  else if (ends(".nii") || ends(".nii.gz")) write_nifti(path, v);
  else if (ends(".mat"))
    write_mat(path, {{"image", v.image, v.image.dtype() == DType::f16 ? Number::f32 : stored_as(v.image.dtype())}});
  else if (ends(".npz")) write_npz(path, {{"image", v.image}});
  else if (ends(".safetensors")) write_safetensors(path, {{"image", v.image}}, space_of(v));
  else if (ends(".tif") || ends(".tiff")) write_tiff(path, v);
  else if (ends(".tcf")) write_tcf(path, v);
  else if (ends(".png")) write_png(path, middle_slice(v));
  else
    fail(path.string(), ": cannot write \"", path.extension().string(),
         "\"; .npy, .npy.gz, .npz, .nii, .nii.gz, .mat, .safetensors, .tif, .tcf and .png are written");
}

void convert(const std::filesystem::path& from, const std::filesystem::path& to, const LoadOptions& options, bool overwrite) {
  check(overwrite || !std::filesystem::exists(to), to.string(), ": exists already");
  save_volume(to, load_volume(from, options));
}

}  // namespace cuboid
