// SPDX-License-Identifier: Apache-2.0
#include "data/volume_reader.h"

#include <algorithm>

#include "data/formats/bytes.h"
#include "data/formats/detect.h"
#include "data/formats/nifti.h"
#include "data/formats/npy.h"
#include "data/formats/tcf.h"

namespace cuboid {

struct VolumeReader::Source {
  Volume about;
  Shape shape;
  DType dtype = DType::f32;
  std::int64_t resident = 0;
  bool forward_only = false;

  virtual ~Source() = default;
  /// `count` slices from `first`, counted through all channels, to f32.
  virtual void read(std::int64_t first, std::int64_t count, float* to) = 0;
  std::int64_t depth() const { return shape[-3]; }
  std::int64_t slice() const { return shape[-2] * shape[-1]; }
};

namespace {

using Source = VolumeReader::Source;

/// Slices one after the other in a file, plain or packed.
struct Slices : Source {
  std::filesystem::path path;
  Number number = Number::f32;
  bool swap = false, packed = false;
  Scale scale;
  std::int64_t offset = 0, trailing = 0;  // bytes before the first slice and behind the last one
  std::unique_ptr<ByteSource> source;
  std::int64_t next = 0;  // the slice at which `source` stands

  void open() {
    packed = is_gzip(path);
    forward_only = packed;
    start();
    if (packed) return;
    const std::int64_t bytes = shape.count() * size_of(number) + trailing, there = source->at_most();
    check<DataError>(bytes <= there, path.string(), ": cut off: ", bytes - there, " more bytes expected");
    check<DataError>(bytes == there, path.string(), ": more bytes follow than the header says");
  }
  void start() {
    source = open_bytes(path);
    source->skip(offset);
    check<DataError>(shape.count() * size_of(number) <= source->at_most(), path.string(), ": cut off: ", name_of(number), " ",
                     shape, " does not fit into it");
    next = 0;
  }
  void read(std::int64_t first, std::int64_t count, float* to) override {
    if (first < next) start();
    source->skip((first - next) * slice() * size_of(number));
    constexpr std::int64_t piece = 1 << 16;
    std::string stored(static_cast<std::size_t>(std::min(piece, count * slice()) * size_of(number)), '\0');
    for (std::int64_t left = count * slice(); left > 0;) {
      const std::int64_t n = std::min(piece, left);
      source->read_exactly(stored.data(), static_cast<std::size_t>(n * size_of(number)));
      decode(stored.data(), number, swap, n, to, DType::f32, source->name(), scale);
      to += n;
      left -= n;
    }
    next = first + count;
    if (!packed || next * slice() != shape.count()) return;
    source->skip(trailing);  // the checksum stands at the end
    source->expect_end();
  }
};

struct TcfSlices : Source {
  TcfReader reader;
  TcfSlices(const std::filesystem::path& path, const LoadOptions& options)
      : reader(path, {.frame = static_cast<int>(std::clamp<std::int64_t>(options.frame.value_or(0), -1, 1'000'000))}) {
    about = reader.about();
    shape = reader.shape();
    resident = reader.cache_bytes();
  }
  void read(std::int64_t first, std::int64_t count, float* to) override { reader.read(first, count, to); }
};

/// A format that must be loaded as one.
struct Whole : Source {
  Tensor image;
  void read(std::int64_t first, std::int64_t count, float* to) override {
    const std::int64_t n = count * slice();
    const Tensor part(image.storage(), image.offset() + first * slice(), {n}, {1}, image.dtype());
    const Tensor values = empty({n});
    copy(part, values);
    std::copy_n(values.data<float>(), n, to);
  }
};

Shape volume_shape(const Shape& s, const std::string& name) {
  check<DataError>(s.rank() >= 2 && s.rank() <= 4 && s.count() > 0, name, ": shape ", s,
                   "; a volume has 3 dimensions, or 4 with channels first");
  return s.rank() == 2 ? Shape{1, s[0], s[1]} : s;
}

std::unique_ptr<Source> open_npy(const std::filesystem::path& path) {
  const NpyHeader h = read_npy_header(path);
  if (h.fortran) return nullptr;
  auto s = std::make_unique<Slices>();
  std::int64_t bytes = size_of(h.number());
  for (const auto d : h.shape) bytes = checked_times(bytes, d, path.string());
  s->shape = volume_shape(h.shape, path.string());
  s->dtype = h.natural_dtype();
  s->path = path;
  s->number = h.number();
  s->swap = h.big_endian;
  s->offset = h.header_bytes;
  s->open();
  return s;
}

std::unique_ptr<Source> open_nifti(const std::filesystem::path& path, const LoadOptions& options) {
  const NiftiHeader h = read_nifti_header(path);
  auto s = std::make_unique<Slices>();
  s->about = h.about;
  s->shape = h.shape;
  s->dtype = h.natural_dtype();
  s->path = h.data;
  s->number = h.number;
  s->swap = h.big_endian;
  s->scale = h.scale;
  s->offset = h.offset;
  if (options.frame) {
    const std::int64_t volumes = h.shape.rank() == 4 ? h.shape[0] : 1, one = h.bytes() / volumes;
    check<DataError>(*options.frame >= 0 && *options.frame < volumes, path.string(), ": has no volume ", *options.frame,
                     "; there are ", volumes, ", counted from 0");
    s->shape = {h.shape[-3], h.shape[-2], h.shape[-1]};
    s->offset += one * *options.frame;
    s->trailing = one * (volumes - 1 - *options.frame);
  }
  s->open();
  return s;
}

std::unique_ptr<Source> load_whole(const std::filesystem::path& path, LoadOptions options) {
  options.dtype.reset();
  auto s = std::make_unique<Whole>();
  s->about = load_volume(path, options);
  s->image = std::move(s->about.image);
  s->about.image = Tensor();
  s->shape = s->image.shape();
  s->dtype = s->image.dtype();
  s->resident = s->image.size() * size_of(s->dtype);
  return s;
}

}  // namespace

VolumeReader::VolumeReader(const std::filesystem::path& path, const LoadOptions& options) {
  const Format format = format_of(path);
  if (format == Format::npy) source_ = open_npy(path);
  if (format == Format::nifti) source_ = open_nifti(path, options);
  if (format == Format::tcf) source_ = std::make_unique<TcfSlices>(path, options);
  if (!source_) source_ = load_whole(path, options);
  source_->about.source = path;
  source_->about.name = volume_name(path);
}
VolumeReader::VolumeReader(VolumeReader&&) noexcept = default;
VolumeReader& VolumeReader::operator=(VolumeReader&&) noexcept = default;
VolumeReader::~VolumeReader() = default;

const Volume& VolumeReader::about() const { return source_->about; }
const Shape& VolumeReader::shape() const { return source_->shape; }
DType VolumeReader::dtype() const { return source_->dtype; }
std::int64_t VolumeReader::resident_bytes() const { return source_->resident; }
bool VolumeReader::forward_only() const { return source_->forward_only; }

Tensor VolumeReader::read(std::int64_t z0, std::int64_t z1) {
  Source& s = *source_;
  check(z0 >= 0 && z0 <= z1 && z1 <= s.depth(), s.about.source.string(), ": has ", s.depth(), " slices; ", z0, " to ", z1,
        " are wanted");
  const std::int64_t channels = s.shape.rank() == 4 ? s.shape[0] : 1, count = z1 - z0;
  Shape shape = s.shape;
  shape[-3] = count;
  const Tensor slab = empty(shape);
  for (std::int64_t c = 0; c < channels && count > 0; ++c)
    s.read(c * s.depth() + z0, count, slab.mutable_data<float>() + c * count * s.slice());
  return slab;
}

// ---- writing ------------------------------------------------------------------------------------

struct VolumeWriter::State {
  std::string name;
  Shape shape;
  Number stored;
  std::unique_ptr<ByteSink> sink;
  std::int64_t next = 0;
};

VolumeWriter::VolumeWriter(const std::filesystem::path& path, const Shape& shape, Number stored, const Volume& about) {
  check(shape.rank() == 3 && shape.count() > 0, path.string(), ": slices of [D,H,W] are written, got ", shape);
  const std::string ending = lower_name(path);
  const bool packed = ending.ends_with(".gz"), nifti = ending.ends_with(".nii") || ending.ends_with(".nii.gz");
  check(nifti || ending.ends_with(".npy") || ending.ends_with(".npy.gz"), path.string(),
        ": slice by slice, .npy, .npy.gz, .nii and .nii.gz are written");
  const std::string header = nifti ? nifti_header_bytes(about, shape, stored) : npy_header_bytes(shape, stored);
  state_ = std::make_unique<State>(State{path.string(), shape, stored, create_bytes(path, packed)});
  state_->sink->write(header.data(), header.size());
}
VolumeWriter::VolumeWriter(VolumeWriter&&) noexcept = default;
VolumeWriter& VolumeWriter::operator=(VolumeWriter&&) noexcept = default;
VolumeWriter::~VolumeWriter() = default;

void VolumeWriter::write(const Tensor& slab) {
  State& s = *state_;
  check(slab.rank() == 3 && slab.dim(1) == s.shape[1] && slab.dim(2) == s.shape[2] && slab.dim(0) <= s.shape[0] - s.next, s.name,
        ": slices ", slab.shape(), " of ", s.shape, " after ", s.next);
  encode_all(slab, s.stored, [&](const void* data, std::size_t bytes) { s.sink->write(data, bytes); });
  s.next += slab.dim(0);
}

void VolumeWriter::finish() {
  State& s = *state_;
  check(s.next == s.shape[0], s.name, ": ", s.next, " of ", s.shape[0], " slices were written");
  s.sink->finish();
}

}  // namespace cuboid
