// SPDX-License-Identifier: Apache-2.0
#include "data/formats/detect.h"

#include <algorithm>
#include <cctype>

#include "data/formats/bytes.h"
#include "data/formats/mat.h"
#include "data/formats/nifti.h"

namespace cuboid {
using std::string_view_literals::operator""sv;

std::string lower_name(const std::filesystem::path& path) {
  std::string s = path.filename().string();
  std::transform(s.begin(), s.end(), s.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return s;
}

Format format_of(const std::filesystem::path& path) {
  const auto source = open_bytes(path);
  std::string start(544, '\0');
  start.resize(source->read(start.data(), start.size()));
  check<DataError>(!start.empty(), path.string(), ": an empty file");
  const auto begins = [&](std::string_view magic) { return std::string_view(start).starts_with(magic); };
  if (begins("\x93NUMPY"sv)) return Format::npy;
  if (begins("PK\3\4"sv) || begins("PK\5\6"sv)) return Format::npz;
  if (begins("II*\0"sv) || begins("MM\0*"sv) || begins("II+\0"sv) || begins("MM\0+"sv)) return Format::tiff;
  const std::string name = lower_name(path);
  if (begins("\x89HDF\r\n\x1a\n"sv) && !name.ends_with(".mat")) return Format::tcf;
  if (begins("\x89PNG\r\n\x1a\n"sv)) return Format::png;
  if (begins_as_mat(start) || name.ends_with(".mat")) return Format::mat;
  if (begins_as_nifti(start) || name.ends_with(".nii") || name.ends_with(".nii.gz") || name.ends_with(".hdr") ||
      name.ends_with(".img"))
    return Format::nifti;
  if ((start.size() > 8 && start[8] == '{') || name.ends_with(".safetensors")) return Format::safetensors;
  return Format::unknown;
}

}  // namespace cuboid
