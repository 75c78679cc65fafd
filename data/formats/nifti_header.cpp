// SPDX-License-Identifier: Apache-2.0
// Both headers, field by field, and what must be true of them. Whatever does not touch the voxels is noted, not refused: real
// files have odd space descriptions, and their images are sound.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "data/formats/detect.h"
#include "data/formats/nifti.h"
#include "data/formats/nifti_space.h"

namespace cuboid {
namespace {

/// Fields at fixed places, in the file's byte order.
class Fields {
 public:
  Fields(std::string_view bytes, bool swap) : bytes_(bytes), swap_(swap) {}
  template <class T>
  T at(std::size_t place) const {
    std::array<char, sizeof(T)> raw;
    std::memcpy(raw.data(), bytes_.data() + place, sizeof(T));
    if (swap_) std::reverse(raw.begin(), raw.end());
    return std::bit_cast<T>(raw);
  }
  /// The header's own widths: `narrow` in version 1, `wide` in version 2.
  template <class Narrow, class Wide>
  double number(int version, std::size_t narrow, std::size_t wide, std::size_t i = 0) const {
    return version == 1 ? static_cast<double>(at<Narrow>(narrow + i * sizeof(Narrow)))
                        : static_cast<double>(at<Wide>(wide + i * sizeof(Wide)));
  }

 private:
  std::string_view bytes_;
  bool swap_;
};

constexpr std::size_t bytes1 = 348, bytes2 = 540;

struct Kind {
  int version = 0;  // 0: not NIfTI
  bool swap = false, pair = false;
};
Kind kind_of(std::string_view start) {
  Kind kind;
  if (start.size() < bytes1) return kind;
  const std::string_view magic1 = start.substr(344, 4), magic2 = start.substr(4, 8);
  for (const bool swap : {false, true}) {
    const auto size = Fields(start, swap).at<std::int32_t>(0);
    using std::string_view_literals::operator""sv;
    if (size == bytes1 && (magic1 == "n+1\0"sv || magic1 == "ni1\0"sv)) return {1, swap, magic1[1] == 'i'};
    if (size == bytes2 && (magic2 == "n+2\0\r\n\x1a\n"sv || magic2 == "ni2\0\r\n\x1a\n"sv)) return {2, swap, magic2[1] == 'i'};
  }
  return kind;
}

struct StoredType {
  int code;
  const char* name;
  int bits;
  std::optional<Number> number;  // empty: known, not read
};
constexpr StoredType stored_types[] = {
    {2, "u8", 8, Number::u8},        {4, "i16", 16, Number::i16},    {8, "i32", 32, Number::i32},
    {16, "f32", 32, Number::f32},    {64, "f64", 64, Number::f64},   {256, "i8", 8, Number::i8},
    {512, "u16", 16, Number::u16},   {768, "u32", 32, Number::u32},  {1024, "i64", 64, Number::i64},
    {1280, "u64", 64, Number::u64},  {1, "single bits", 1, {}},      {32, "complex f32", 64, {}},
    {128, "RGB colours", 24, {}},    {1536, "f128", 128, {}},        {1792, "complex f64", 128, {}},
    {2048, "complex f128", 256, {}}, {2304, "RGBA colours", 32, {}},
};

Number number_of(int code, int bits, const std::string& name) {
  for (const StoredType& t : stored_types) {
    if (t.code != code) continue;
    check<DataError>(t.number.has_value(), name, ": nifti: holds ", t.name, "; plain numbers of 8 to 64 bits are read");
    check<DataError>(bits == t.bits, name, ": nifti: datatype ", code, " (", t.name, ") with ", bits, " bits a voxel");
    return *t.number;
  }
  fail<DataError>(name, ": nifti: unknown datatype ", code);
}

/// [D,H,W] or [C,D,H,W] of dim[0..7].
Shape shape_of(const Fields& f, int version, const std::string& name) {
  const double rank = f.number<std::int16_t, std::int64_t>(version, 40, 16);
  check<DataError>(rank >= 1 && rank <= 7, name, ": nifti: ", rank, " dimensions; 1 to 7 can be");
  std::int64_t dims[7] = {1, 1, 1, 1, 1, 1, 1}, count = 1;
  for (std::size_t i = 1; i <= static_cast<std::size_t>(rank); ++i) {
    const std::int64_t d = version == 1 ? f.at<std::int16_t>(40 + 2 * i) : f.at<std::int64_t>(16 + 8 * i);
    check<DataError>(d > 0, name, ": nifti: dimension ", i, " is ", d);
    count = checked_times(count, d, name);
    dims[i - 1] = d;
  }
  const std::int64_t volumes = dims[3] * dims[4] * dims[5] * dims[6];
  if (volumes == 1) return {dims[2], dims[1], dims[0]};
  return {volumes, dims[2], dims[1], dims[0]};
}

/// Where the elements begin; `room` is how far the header may reach.
std::int64_t offset_of(const Fields& f, const Kind& kind, NiftiHeader& h, const std::string& name) {
  const double stored = f.number<float, std::int64_t>(kind.version, 108, 168);
  const std::int64_t least = kind.pair ? 0 : kind.version == 1 ? 352 : 544;
  check<DataError>(stored == std::floor(stored) && std::abs(stored) < 0x1p53, name, ": nifti: the voxels begin at byte ", stored);
  if (stored == 0 && !kind.pair) {
    h.about.notes.push_back(join_text("vox_offset is 0; ", least, " is taken"));
    return least;
  }
  check<DataError>(stored >= least, name, ": nifti: the voxels begin at byte ", stored, ", within the header; ", least,
                   " is the first they can");
  return static_cast<std::int64_t>(stored);
}

/// Extensions stand between header and voxels; nothing of them is used.
void pass_extensions(ByteSource& source, std::int64_t at, NiftiHeader& h) {
  if (h.offset - at < 4) return source.skip(h.offset - at);
  char flag[4];
  source.read_exactly(flag, 4);
  at += 4;
  while (flag[0] != 0 && h.offset - at >= 8) {
    char start[8];
    source.read_exactly(start, 8);
    const auto bytes = Fields(std::string_view(start, 8), h.big_endian).at<std::int32_t>(0);
    if (bytes < 16 || bytes % 16 != 0 || bytes > h.offset - at) {
      h.about.notes.push_back(join_text("header extension at byte ", at, " says it has ", bytes, " bytes; passed over"));
      at += 8;
      break;
    }
    source.skip(bytes - 8);
    at += bytes;
  }
  source.skip(h.offset - at);
}

std::filesystem::path header_path(const std::filesystem::path& path) {
  const std::string name = lower_name(path);
  for (const char* ending : {".img", ".img.gz"}) {
    if (!name.ends_with(ending)) continue;
    const std::string text = path.string(), stem = text.substr(0, text.size() - std::strlen(ending));
    for (const char* other : {".hdr", ".HDR", ".hdr.gz"})
      if (std::filesystem::exists(stem + other)) return stem + other;
    fail<DataError>(path.string(), ": nifti: the header of the pair, ", stem, ".hdr, is not there");
  }
  return path;
}
std::filesystem::path image_path(const std::filesystem::path& header) {
  std::string stem = header.string();
  if (lower_name(header).ends_with(".gz")) stem.resize(stem.size() - 3);
  if (lower_name(stem).ends_with(".hdr")) stem.resize(stem.size() - 4);
  for (const char* other : {".img", ".IMG", ".img.gz"})
    if (std::filesystem::exists(stem + other)) return stem + other;
  fail<DataError>(header.string(), ": nifti: the voxels of the pair, ", stem, ".img, are not there");
}

}  // namespace

bool begins_as_nifti(std::string_view start) { return kind_of(start).version != 0; }

DType NiftiHeader::natural_dtype() const {
  if (scale.identity()) return cuboid::natural_dtype(number);
  return number == Number::f64 ? DType::f64 : DType::f32;
}

NiftiHeader read_nifti_header(const std::filesystem::path& given) {
  const std::filesystem::path path = header_path(given);
  const auto source = open_bytes(path);
  const std::string& name = source->name();
  std::string bytes(bytes1, '\0');
  const std::size_t got = source->read(bytes.data(), bytes1);
  check<DataError>(got == bytes1, name, ": nifti: ", got, " bytes; a header has ", bytes1);
  const Kind kind = kind_of(bytes);
  if (kind.version == 0) {
    const bool size_fits = Fields(bytes, false).at<std::int32_t>(0) == 348 || Fields(bytes, true).at<std::int32_t>(0) == 348;
    fail<DataError>(name, ": nifti: the header has no NIfTI magic", size_fits ? "; an Analyze 7.5 file?" : "");
  }
  if (kind.version == 2) {
    bytes.resize(bytes2);
    source->read_exactly(bytes.data() + bytes1, bytes2 - bytes1);
  }
  const Fields f(bytes, kind.swap);
  NiftiHeader h;
  h.version = kind.version;
  h.big_endian = kind.swap;
  const auto intent = f.number<std::int16_t, std::int32_t>(h.version, 68, 504);
  check<DataError>(intent < 3000 || intent >= 3100, name, ": nifti: a CIFTI matrix (intent ", intent, "), not a volume");
  h.number = number_of(f.at<std::int16_t>(h.version == 1 ? 70 : 12), f.at<std::int16_t>(h.version == 1 ? 72 : 14), name);
  h.shape = shape_of(f, h.version, name);
  checked_times(h.shape.count(), size_of(h.number), name);
  h.offset = offset_of(f, kind, h, name);
  const double slope = f.number<float, double>(h.version, 112, 176), inter = f.number<float, double>(h.version, 116, 184);
  if (std::isfinite(slope) && slope != 0) h.scale = {slope, std::isfinite(inter) ? inter : 0};
  if (!std::isfinite(inter) && h.scale.slope == slope) h.about.notes.push_back(join_text("scl_inter is ", inter, "; 0 is taken"));

  NiftiSpace space;
  for (std::size_t i = 0; i < 4; ++i) space.pixdim[i] = f.number<float, double>(h.version, 76, 104, i);
  space.units = f.number<std::uint8_t, std::int32_t>(h.version, 123, 500);
  space.qform_code = f.number<std::int16_t, std::int32_t>(h.version, 252, 344);
  space.sform_code = f.number<std::int16_t, std::int32_t>(h.version, 254, 348);
  for (std::size_t i = 0; i < 6; ++i) space.quaternion[i] = f.number<float, double>(h.version, 256, 352, i);
  for (std::size_t i = 0; i < 12; ++i) space.srow[i] = f.number<float, double>(h.version, 280, 400, i);
  place(h, space, name);

  h.about.source = given;
  h.data = kind.pair ? image_path(path) : path;
  if (!kind.pair) pass_extensions(*source, static_cast<std::int64_t>(bytes.size()), h);
  return h;
}

}  // namespace cuboid
