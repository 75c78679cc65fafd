// SPDX-License-Identifier: Apache-2.0
#include "data/volume.h"

#include <algorithm>
#include <cctype>

#include "core/safetensors.h"
#include "data/formats/npy.h"
#include "data/formats/npz.h"
#include "data/formats/png.h"
#include "data/formats/tcf.h"
#include "data/formats/tiff.h"

namespace cuboid {
namespace {

using std::string_view_literals::operator""sv;

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

std::string lower(std::string s) {
  std::transform(s.begin(), s.end(), s.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return s;
}

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
  const FileReader file(path);
  const std::string start = file.read_at(0, static_cast<std::size_t>(std::min<std::int64_t>(file.size(), 16)));
  check<DataError>(!start.empty(), path.string(), ": an empty file");
  const auto begins = [&](std::string_view magic) { return std::string_view(start).starts_with(magic); };
  if (begins("\x93NUMPY"sv) || begins("\x1f\x8b"sv)) return of(read_npy(path, {.dtype = options.dtype}));
  if (begins("PK\3\4"sv) || begins("PK\5\6"sv)) return of(read_npz(path, options.entry, {.dtype = options.dtype}));
  if (begins("II*\0"sv) || begins("MM\0*"sv) || begins("II+\0"sv) || begins("MM\0+"sv))
    return read_tiff(path, {.dtype = options.dtype});
  if (begins("\x89HDF\r\n\x1a\n"sv)) return read_tcf(path);
  if (begins("\x89PNG\r\n\x1a\n"sv)) {
    Tensor image = read_png(path);
    const bool colour = image.rank() == 3;
    return of(std::move(image), colour);
  }
  if ((start.size() > 8 && start[8] == '{') || lower(path.extension().string()) == ".safetensors")
    return load_safetensors(path, options);
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
  v.name = path.stem().string();
  if (lower(path.extension().string()) == ".gz" && lower(v.name).ends_with(".npy")) v.name.resize(v.name.size() - 4);
  return v;
}

std::string volume_formats() {
  std::string text = "npy, safetensors";
  const auto optional = [&](bool there, const char* format) {
    if (there) text += std::string(", ") + format;
  };
  optional(has_zlib, "npy.gz");
  optional(has_zip, "npz");
  optional(has_tiff, "TIFF");
  optional(has_hdf5, "TCF");
  optional(has_png, "PNG");
  return text;
}

bool looks_like_volume(const std::filesystem::path& path) {
  const std::string name = lower(path.filename().string());
  constexpr std::string_view endings[] = {".npy", ".npy.gz", ".npz", ".safetensors", ".tif", ".tiff", ".tcf", ".h5", ".png"};
  return std::any_of(std::begin(endings), std::end(endings), [&](std::string_view e) { return name.ends_with(e); });
}

}  // namespace cuboid
