// SPDX-License-Identifier: Apache-2.0
#include "data/volume.h"

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

#if defined(CUBOID_ZLIB)
constexpr bool has_zlib = true;
#else
constexpr bool has_zlib = false;
#endif
#if defined(CUBOID_ZIP)
constexpr bool has_zip = true;
#else
constexpr bool has_zip = false;
#endif
#if defined(CUBOID_TIFF)
constexpr bool has_tiff = true;
#else
constexpr bool has_tiff = false;
#endif
#if defined(CUBOID_HDF5)
constexpr bool has_hdf5 = true;
#else
constexpr bool has_hdf5 = false;
#endif
#if defined(CUBOID_PNG)
constexpr bool has_png = true;
#else
constexpr bool has_png = false;
#endif

Volume of(Tensor image, bool channels_last = false) {
  Volume v;
  v.image = std::move(image);
  if (!channels_last) return v;
  // [H,W,C] to [C,1,H,W].
  const Tensor& x = v.image;
  const Shape shape = {x.dim(2), 1, x.dim(0), x.dim(1)};
  const Tensor turned(x.storage(), 0, shape, {1, 0, x.dim(1) * x.dim(2), x.dim(2)}, x.dtype());
  Tensor dense = empty(shape, {.dtype = x.dtype()});
  copy(turned, dense);
  v.image = dense;
  return v;
}

Volume load_safetensors(const std::filesystem::path& path, const LoadOptions& options) {
  const SafetensorsFile file(path);
  std::string listed;
  for (const auto& t : file.tensors()) listed += (listed.empty() ? "" : ", ") + t.name;
  check<DataError>(!options.entry.empty() || file.tensors().size() == 1, path.string(), ": holds ", file.tensors().size(),
                   " tensors, name one of: ", listed);
  return of(file.read(options.entry.empty() ? file.tensors().front().name : options.entry));
}

Volume load_any(const std::filesystem::path& path, const LoadOptions& options) {
  switch (format_of(path)) {
    case Format::npy:
      return of(read_npy(path, {.dtype = options.dtype}));
    case Format::npz:
      return of(read_npz(path, options.entry, {.dtype = options.dtype}));
    case Format::safetensors:
      return load_safetensors(path, options);
    case Format::tiff:
      return read_tiff(path, {.dtype = options.dtype});
    case Format::tcf: {
      const std::int64_t frame = options.frame.value_or(0);
      check<DataError>(frame >= 0 && frame <= 999'999, path.string(), ": has no time point ", frame);
      return read_tcf(path, {.frame = static_cast<int>(frame)});
    }
    case Format::nifti:
      return read_nifti(path, {.dtype = options.dtype, .frame = options.frame});
    case Format::mat:
      return of(read_mat(path, options.entry, {.dtype = options.dtype}));
    case Format::png: {
      Tensor image = read_png(path);
      const bool colour = image.rank() == 3;
      return of(std::move(image), colour);
    }
    case Format::unknown:
      break;
  }
  fail<DataError>(path.string(), ": not a format this build reads; it reads ", volume_formats());
}

}  // namespace

Volume load_volume(const std::filesystem::path& path, const LoadOptions& options) {
  Volume v = load_any(path, options);
  Tensor& x = v.image;
  if (x.rank() == 2) x = Tensor(x.storage(), 0, {1, x.dim(0), x.dim(1)}, {x.size(), x.dim(1), 1}, x.dtype());
  check<DataError>((x.rank() == 3 || x.rank() == 4) && x.size() > 0, path.string(), ": shape ", x.shape(),
                   "; a volume has 3 dimensions, or 4 with channels first");
  if (options.dtype && x.dtype() != *options.dtype) {
    Tensor converted = empty(x.shape(), {.dtype = *options.dtype});
    copy(x, converted);
    x = converted;
  }
  v.source = path;
  v.name = volume_name(path);
  return v;
}

std::string volume_name(const std::filesystem::path& path) {
  const std::filesystem::path stem = path.stem();
  return lower_name(path).ends_with(".gz") && looks_like_volume(path) ? stem.stem().string() : stem.string();
}

std::array<double, 3> spacing_um(const Volume& v) {
  const double um = v.unit == "m" ? 1e6 : v.unit == "mm" ? 1e3 : 1;
  return {v.spacing[0] * um, v.spacing[1] * um, v.spacing[2] * um};
}

std::string orientation_letters(const Volume& v) {
  // Each of x, y, z (our axes 2, 1, 0) gets a direction of its own: of the six ways the one with the largest cosines.
  constexpr int ways[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  const auto cosine = [&](int axis, int towards) { return v.direction[static_cast<std::size_t>(3 * (2 - axis) + 2 - towards)]; };
  const int* best = ways[0];
  double most = -1;
  for (const auto& way : ways) {
    const double sum = std::abs(cosine(0, way[0])) + std::abs(cosine(1, way[1])) + std::abs(cosine(2, way[2]));
    if (sum > most + 1e-9) most = sum, best = way;
  }
  std::string letters;
  for (int axis = 0; axis < 3; ++axis) letters += (cosine(axis, best[axis]) < 0 ? "LPI" : "RAS")[best[axis]];
  return letters;
}

std::string volume_formats() {
  std::string text = "npy, NIfTI, mat, safetensors";
  const auto optional = [&](bool there, const char* format) {
    if (there) text += std::string(", ") + format;
  };
  optional(has_zlib, "npy.gz, nii.gz");
  optional(has_zip, "npz");
  optional(has_tiff, "TIFF");
  optional(has_hdf5, "TCF");
  optional(has_png, "PNG");
  return text;
}

bool looks_like_volume(const std::filesystem::path& path) {
  const std::string name = lower_name(path);
  constexpr std::string_view endings[] = {".npy", ".npy.gz", ".npz", ".safetensors", ".tif", ".tiff", ".tcf",
                                          ".h5",  ".png",    ".nii", ".nii.gz",      ".hdr", ".mat"};
  return std::any_of(std::begin(endings), std::end(endings), [&](std::string_view e) { return name.ends_with(e); });
}

}  // namespace cuboid
