// SPDX-License-Identifier: Apache-2.0
#include "data/formats/nifti.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "data/formats/detect.h"
#include "data/formats/nifti_space.h"

namespace cuboid {
namespace {

/// The next `t.size()` stored elements, converted, into dense `t`; never more than a small piece beside it.
void read_elements(ByteSource& source, const NiftiHeader& h, const Tensor& t) {
  constexpr std::int64_t piece = 1 << 17;
  std::string stored(static_cast<std::size_t>(std::min(piece, t.size()) * size_of(h.number)), '\0');
  char* to = static_cast<char*>(t.mutate().data);
  for (std::int64_t at = 0; at < t.size(); at += piece) {
    const std::int64_t n = std::min(piece, t.size() - at);
    source.read_exactly(stored.data(), static_cast<std::size_t>(n * size_of(h.number)));
    decode(stored.data(), h.number, h.big_endian, n, to + at * size_of(t.dtype()), t.dtype(), source.name(), h.scale);
  }
}

/// The narrowest stored type that holds all values of an integer tensor; others have their own.
Number narrowest(const Tensor& x) {
  if (x.dtype() != DType::i32 && x.dtype() != DType::i64) return x.dtype() == DType::f16 ? Number::f32 : stored_as(x.dtype());
  std::int64_t low = 0, high = 0;
  encode_all(x, Number::i64, [&](const void* data, std::size_t bytes) {
    const auto* v = static_cast<const std::int64_t*>(data);
    const auto [a, b] = std::minmax_element(v, v + bytes / sizeof(std::int64_t));
    low = std::min(low, *a);
    high = std::max(high, *b);
  });
  const auto fits = [&]<class T>(T) { return low >= std::numeric_limits<T>::min() && high <= std::numeric_limits<T>::max(); };
  return fits(std::int16_t{})    ? Number::i16
         : fits(std::uint16_t{}) ? Number::u16
         : fits(std::int32_t{})  ? Number::i32
                                 : Number::i64;
}

int datatype_of(Number n) {
  constexpr int codes[] = {2, 256, 512, 4, 768, 8, 1280, 1024, 0, 16, 64};
  return codes[static_cast<int>(n)];
}

/// Little-endian fields at fixed places.
class Header {
 public:
  Header(std::size_t bytes, int version) : bytes_(bytes, '\0'), version_(version) {}
  template <class T>
  void put(std::size_t place, T value) {
    static_assert(std::endian::native == std::endian::little);
    std::memcpy(bytes_.data() + place, &value, sizeof value);
  }
  /// A field that is `Narrow` at `place1` in version 1 and `Wide` at `place2` in version 2.
  template <class Narrow, class Wide>
  void put(std::size_t place1, std::size_t place2, double value, std::size_t i = 0) {
    if (version_ == 1) put(place1 + i * sizeof(Narrow), static_cast<Narrow>(value));
    else put(place2 + i * sizeof(Wide), static_cast<Wide>(value));
  }
  void text(std::size_t place, std::string_view text) { bytes_.replace(place, text.size(), text); }
  std::string bytes() const { return bytes_; }

 private:
  std::string bytes_;
  int version_;
};

}  // namespace

Volume read_nifti(const std::filesystem::path& path, const NiftiOptions& options) {
  const NiftiHeader h = read_nifti_header(path);
  const auto source = open_bytes(h.data);
  const std::string& name = source->name();
  source->skip(h.offset);
  check<DataError>(h.bytes() <= source->at_most(), name, ": nifti: cut off: ", name_of(h.number), " ", h.shape, " needs ",
                   h.bytes(), " bytes, at most ", source->at_most(), " are there");
  Volume v = h.about;
  Shape shape = h.shape;
  const std::int64_t volumes = shape.rank() == 4 ? shape[0] : 1;
  std::int64_t behind = 0;
  if (options.frame) {
    check<DataError>(*options.frame >= 0 && *options.frame < volumes, name, ": nifti: has no volume ", *options.frame,
                     "; there are ", volumes, ", counted from 0");
    shape = {shape[-3], shape[-2], shape[-1]};
    const std::int64_t one = h.bytes() / volumes;
    source->skip(one * *options.frame);
    behind = one * (volumes - 1 - *options.frame);
  }
  v.image = empty(shape, {.dtype = options.dtype.value_or(h.natural_dtype())});
  read_elements(*source, h, v.image);
  source->skip(behind);
  source->expect_end();
  return v;
}

std::string nifti_header_bytes(const Volume& about, const Shape& shape, Number stored) {
  check(shape.rank() == 3 || shape.rank() == 4, "nifti: writes [D,H,W] or [C,D,H,W], got ", shape);
  check(stored != Number::f16, "nifti: has no 16-bit floats");
  const bool large = std::any_of(shape.begin(), shape.end(), [](std::int64_t d) { return d > 32'767; });
  const int version = large ? 2 : 1;
  const std::size_t size = large ? 540 : 348;
  Header h(size + 4, version);  // behind it four zeros: no extensions
  h.put<std::int32_t>(0, static_cast<std::int32_t>(size));
  h.text(large ? 4 : 344, large ? std::string_view("n+2\0\r\n\x1a\n", 8) : std::string_view("n+1\0", 4));
  h.put<std::int16_t>(large ? 12 : 70, static_cast<std::int16_t>(datatype_of(stored)));
  h.put<std::int16_t>(large ? 14 : 72, static_cast<std::int16_t>(size_of(stored) * 8));
  h.put<std::int16_t, std::int64_t>(40, 16, shape.rank());
  for (int i = 1; i <= 7; ++i) {
    const std::int64_t d = i <= shape.rank() ? shape[shape.rank() - i] : 1;
    h.put<std::int16_t, std::int64_t>(40, 16, static_cast<double>(d), static_cast<std::size_t>(i));
  }
  h.put<float, std::int64_t>(108, 168, static_cast<double>(size + 4));
  h.put<float, double>(112, 176, 1);  // scl_slope

  const auto quaternion = quaternion_of(about);
  const bool placed = about.spacing_known || about.orientation_known;
  constexpr int aligned = 2;
  h.put<float, double>(76, 104, quaternion ? (*quaternion)[3] : 1);
  for (std::size_t i = 1; i <= 7; ++i) h.put<float, double>(76, 104, i <= 3 ? about.spacing[3 - i] : 1, i);
  const int units = !about.spacing_known ? 0 : about.unit == "m" ? 1 : about.unit == "mm" ? 2 : about.unit == "um" ? 3 : 0;
  h.put<std::uint8_t, std::int32_t>(123, 500, units);
  h.put<std::int16_t, std::int32_t>(252, 344, placed && quaternion ? aligned : 0);
  h.put<std::int16_t, std::int32_t>(254, 348, placed ? aligned : 0);
  for (std::size_t i = 0; i < 3; ++i) {
    h.put<float, double>(256, 352, quaternion ? (*quaternion)[i] : 0, i);
    h.put<float, double>(268, 376, about.origin[2 - i], i);
  }
  const auto affine = affine_of(about);
  for (std::size_t i = 0; i < 12; ++i) h.put<float, double>(280, 400, affine[i], i);
  return h.bytes();
}

void write_nifti(const std::filesystem::path& path, const Volume& volume, std::optional<Number> stored) {
  const Tensor& x = volume.image;
  check(x.defined() && (x.rank() == 3 || x.rank() == 4) && x.size() > 0, path.string(),
        ": nifti: writes [D,H,W] or [C,D,H,W], got ", x.defined() ? x.shape() : Shape());
  const Number number = stored.value_or(narrowest(x));
  const std::string header = nifti_header_bytes(volume, x.shape(), number);
  const auto sink = create_bytes(path, lower_name(path).ends_with(".gz"));
  sink->write(header.data(), header.size());
  encode_all(x, number, [&](const void* data, std::size_t bytes) { sink->write(data, bytes); });
  sink->finish();
}

}  // namespace cuboid
