// SPDX-License-Identifier: Apache-2.0
#include "data/formats/tiff_spacing.h"

#if defined(CUBOID_TIFF)
#include <charconv>
#include <cmath>
#include <string_view>

namespace cuboid {
namespace {

std::optional<double> number_in(std::string_view text) {
  double v = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), v);
  return status == std::errc() && std::isfinite(v) ? std::optional(v) : std::nullopt;
}

/// What follows `key` up to `end`; empty when the key is not there.
std::string_view value_of(std::string_view text, std::string_view key, char end) {
  const auto at = text.find(key);
  if (at == std::string_view::npos) return {};
  const std::string_view rest = text.substr(at + key.size());
  return rest.substr(0, rest.find(end));
}

/// µm per unit; 0 for units unknown.
double micrometres(std::string_view unit) {
  if (unit == "um" || unit == "micron" || unit == "microns" || unit == "\\u00B5m" || unit == "\xc2\xb5m" || unit == "\xce\xbcm" ||
      unit == "\xb5m")
    return 1;
  if (unit == "nm") return 1e-3;
  if (unit == "mm") return 1e3;
  return 0;
}

void one_volume_only(const TiffHandle& file, std::string_view count, const char* of) {
  const auto n = number_in(count);
  check<DataError>(!n || *n <= 1, file.name(), ": tiff: ", *n, " ", of, "; split them first");
}

void read_ome(const TiffHandle& file, std::string_view text, Volume& v) {
  one_volume_only(file, value_of(text, "SizeC=\"", '"'), "channels");
  one_volume_only(file, value_of(text, "SizeT=\"", '"'), "time points");
  constexpr std::string_view size[] = {"PhysicalSizeZ=\"", "PhysicalSizeY=\"", "PhysicalSizeX=\""};
  constexpr std::string_view unit[] = {"PhysicalSizeZUnit=\"", "PhysicalSizeYUnit=\"", "PhysicalSizeXUnit=\""};
  std::array<double, 3> spacing;
  for (std::size_t i = 0; i < 3; ++i) {
    const auto n = number_in(value_of(text, size[i], '"'));
    const std::string_view u = value_of(text, unit[i], '"');
    const double scale = u.empty() ? 1 : micrometres(u);  // OME's default unit is µm
    if (!n || *n <= 0 || scale <= 0) return;
    spacing[i] = *n * scale;
  }
  v.spacing = spacing;
  v.spacing_known = true;
}

void read_imagej(const TiffHandle& file, std::string_view text, Volume& v) {
  one_volume_only(file, value_of(text, "\nchannels=", '\n'), "channels");
  one_volume_only(file, value_of(text, "\nframes=", '\n'), "time points");
  const double scale = micrometres(value_of(text, "\nunit=", '\n'));
  const auto z = number_in(value_of(text, "\nspacing=", '\n'));
  float x = 0, y = 0;  // pixels a unit
  if (scale <= 0 || !z || *z <= 0 || !TIFFGetField(file.get(), TIFFTAG_XRESOLUTION, &x) ||
      !TIFFGetField(file.get(), TIFFTAG_YRESOLUTION, &y) || !(x > 0) || !(y > 0) || !std::isfinite(x) || !std::isfinite(y))
    return;
  v.spacing = {*z * scale, scale / y, scale / x};
  v.spacing_known = true;
}

}  // namespace

void read_tiff_spacing(const TiffHandle& file, Volume& volume) {
  const char* description = nullptr;
  if (!TIFFGetField(file.get(), TIFFTAG_IMAGEDESCRIPTION, &description) || !description) return;
  const std::string_view text = description;
  if (text.starts_with("ImageJ=")) read_imagej(file, text, volume);
  else if (text.find("<OME") != std::string_view::npos) read_ome(file, text, volume);
}

void write_tiff_spacing(const TiffHandle& file, const Volume& v) {
  if (!v.spacing_known) return;
  const auto spacing = spacing_um(v);
  std::ostringstream text;
  text.precision(17);
  text << "ImageJ=1.11a\nimages=" << v.image.dim(0) << "\nslices=" << v.image.dim(0) << "\nunit=micron\nspacing=" << spacing[0]
       << "\n";
  TIFFSetField(file.get(), TIFFTAG_IMAGEDESCRIPTION, text.str().c_str());
  TIFFSetField(file.get(), TIFFTAG_XRESOLUTION, 1 / spacing[2]);
  TIFFSetField(file.get(), TIFFTAG_YRESOLUTION, 1 / spacing[1]);
  TIFFSetField(file.get(), TIFFTAG_RESOLUTIONUNIT, RESUNIT_NONE);
}

}  // namespace cuboid
#endif
