// SPDX-License-Identifier: Apache-2.0
#include "data/formats/tcf.h"

#include "data/formats/bytes.h"

#if defined(CUBOID_HDF5)
#include <hdf5.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <mutex>
#include <optional>
#include <vector>
#endif

namespace cuboid {

#if defined(CUBOID_HDF5)
namespace {

constexpr const char* group_path = "Data/3D";
constexpr double index_scale = 1e4;  // stored integer = refractive index x 10000

/// HDF5 need not be built for threads; and it prints every error unless told not to.
class Hdf5 {
 public:
  Hdf5() : lock_(guard()) { H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr); }

 private:
  static std::mutex& guard() {
    static std::mutex m;
    return m;
  }
  std::scoped_lock<std::mutex> lock_;
};

/// An HDF5 identifier that closes itself.
class Id {
 public:
  Id(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  ~Id() {
    if (id_ >= 0) close_(id_);
  }
  Id(const Id&) = delete;
  Id& operator=(const Id&) = delete;
  operator hid_t() const { return id_; }
  bool valid() const { return id_ >= 0; }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

/// Hard links only: other kinds can point into other files.
bool is_plain_link(hid_t in, const char* name) {
  H5L_info_t info;
  return H5Lexists(in, name, H5P_DEFAULT) > 0 && H5Lget_info(in, name, &info, H5P_DEFAULT) >= 0 && info.type == H5L_TYPE_HARD;
}

std::string frame_name(int frame) {
  char text[16];
  std::snprintf(text, sizeof text, "%06d", frame);
  return text;
}

struct TcfFile {
  std::string name;
  std::int64_t bytes;
  Id file;
  Id group;

  explicit TcfFile(const std::filesystem::path& path)
      : name(path.string()),
        bytes(FileReader(path).size()),
        file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose),
        group(open_group(), H5Gclose) {}

 private:
  hid_t open_group() const {
    check<DataError>(file.valid(), name, ": tcf: not an HDF5 file, or a damaged one");
    check<DataError>(is_plain_link(file, "Data") && is_plain_link(file, group_path), name, ": tcf: has no group ", group_path);
    const hid_t g = H5Gopen2(file, group_path, H5P_DEFAULT);
    check<DataError>(g >= 0, name, ": tcf: ", group_path, " is no group");
    return g;
  }
};

/// µm per voxel along one axis; false when the attribute is not there.
bool read_resolution(const TcfFile& tcf, const char* attribute, double& value) {
  if (H5Aexists(tcf.group, attribute) <= 0) return false;
  const Id a(H5Aopen(tcf.group, attribute, H5P_DEFAULT), H5Aclose);
  const Id space(a.valid() ? H5Aget_space(a) : -1, H5Sclose), type(a.valid() ? H5Aget_type(a) : -1, H5Tclose);
  const bool number = type.valid() && (H5Tget_class(type) == H5T_FLOAT || H5Tget_class(type) == H5T_INTEGER);
  check<DataError>(number && H5Sget_simple_extent_npoints(space) == 1 && H5Aread(a, H5T_NATIVE_DOUBLE, &value) >= 0, tcf.name,
                   ": tcf: attribute ", attribute, " of ", group_path, " is not one number");
  check<DataError>(std::isfinite(value) && value > 0, tcf.name, ": tcf: attribute ", attribute, " is ", value);
  return true;
}

Shape checked_shape(const TcfFile& tcf, hid_t dataset, const std::string& where) {
  const Id space(H5Dget_space(dataset), H5Sclose), type(H5Dget_type(dataset), H5Tclose),
      layout(H5Dget_create_plist(dataset), H5Pclose);
  check<DataError>(space.valid() && type.valid() && layout.valid(), where, " is damaged");
  hsize_t dims[H5S_MAX_RANK] = {};
  const int rank = H5Sget_simple_extent_ndims(space);
  check<DataError>(rank == 3 && H5Sget_simple_extent_dims(space, dims, nullptr) == 3, where, " has ", rank,
                   " dimensions, 3 expected");
  const auto kind = H5Tget_class(type);
  const auto width = static_cast<std::int64_t>(H5Tget_size(type));
  check<DataError>((kind == H5T_INTEGER || kind == H5T_FLOAT) && width >= 1 && width <= 8, where, " holds no plain numbers");
  Shape shape;
  for (int i = 0; i < 3; ++i) {
    check<DataError>(dims[i] > 0 && dims[i] <= 65'536, where, ": dimension ", i, " is ", dims[i]);
    shape.push_back(static_cast<std::int64_t>(dims[i]));
  }
  const std::int64_t limit = (tcf.bytes + 4096) * max_deflate_ratio;
  check<DataError>(shape.count() * width <= limit, where, ": ", shape, " does not fit into a file of ", tcf.bytes, " bytes");
  check<DataError>(H5Pget_external_count(layout) == 0, where, " lies in another file");
  check<DataError>(H5Dget_storage_size(dataset) > 0, where, " holds no data");
  if (H5Pget_layout(layout) == H5D_CHUNKED) {
    hsize_t chunk[H5S_MAX_RANK] = {};
    std::int64_t chunk_bytes = width;
    check<DataError>(H5Pget_chunk(layout, 3, chunk) == 3, where, " is damaged");
    for (int i = 0; i < 3; ++i) chunk_bytes = checked_times(chunk_bytes, static_cast<std::int64_t>(chunk[i]), where);
    check<DataError>(chunk_bytes <= limit, where, ": chunks of ", chunk_bytes, " bytes in a file of ", tcf.bytes);
  }
  return shape;
}

}  // namespace

struct TcfReader::State {
  TcfFile tcf;
  std::string where;
  std::optional<Id> dataset;
  Volume about;
  Shape shape;
  bool integers = false;
  std::int64_t cache = 0;

  State(const std::filesystem::path& path, const TcfOptions& options)
      : tcf(path), where(tcf.name + ": tcf: " + group_path + "/" + frame_name(options.frame)) {
    const std::string frame = frame_name(options.frame);
    check<DataError>(is_plain_link(tcf.group, frame.c_str()), where, " is not there");
    dataset.emplace(H5Dopen2(tcf.group, frame.c_str(), H5P_DEFAULT), H5Dclose);
    check<DataError>(dataset->valid(), where, " is no dataset");
    shape = checked_shape(tcf, *dataset, where);
    const Id type(H5Dget_type(*dataset), H5Tclose);
    integers = H5Tget_class(type) == H5T_INTEGER;
    if (keep_a_layer_of_chunks(static_cast<std::int64_t>(H5Tget_size(type)))) {
      const Id access(H5Pcreate(H5P_DATASET_ACCESS), H5Pclose);
      H5Pset_chunk_cache(access, 10'007, static_cast<std::size_t>(cache), 1);
      dataset.reset();
      dataset.emplace(H5Dopen2(tcf.group, frame.c_str(), access), H5Dclose);
      check<DataError>(dataset->valid(), where, " is no dataset");
    }
    about.source = path;
    about.name = path.stem().string();
    constexpr const char* attributes[] = {"ResolutionZ", "ResolutionY", "ResolutionX"};
    about.spacing_known = true;
    for (std::size_t i = 0; i < 3; ++i)
      about.spacing_known = read_resolution(tcf, attributes[i], about.spacing[i]) && about.spacing_known;
  }
  /// True where slabs may cut through chunks; sets `cache` to what all chunks of one layer need.
  bool keep_a_layer_of_chunks(std::int64_t width) {
    const Id layout(H5Dget_create_plist(*dataset), H5Pclose);
    hsize_t chunk[H5S_MAX_RANK] = {};
    if (H5Pget_layout(layout) != H5D_CHUNKED || H5Pget_chunk(layout, 3, chunk) != 3 || chunk[0] <= 1) return false;
    cache = width;
    for (int i = 0; i < 3; ++i) {
      const auto edge = static_cast<std::int64_t>(chunk[i]);
      cache = checked_times(cache, i == 0 ? edge : (shape[i] + edge - 1) / edge * edge, where);
    }
    if (cache <= std::int64_t{1} << 20) cache = 0;  // HDF5 keeps as much by itself
    return cache > 0;
  }
};

TcfReader::TcfReader(const std::filesystem::path& path, const TcfOptions& options) {
  const Hdf5 guard;
  state_ = std::make_unique<State>(path, options);
}
TcfReader::~TcfReader() {
  const Hdf5 guard;
  state_.reset();
}
const Volume& TcfReader::about() const { return state_->about; }
const Shape& TcfReader::shape() const { return state_->shape; }
std::int64_t TcfReader::cache_bytes() const { return state_->cache; }

void TcfReader::read(std::int64_t first, std::int64_t count, float* to) {
  const Hdf5 guard;
  const State& s = *state_;
  check(first >= 0 && count >= 0 && count <= s.shape[0] - first, s.where, " has ", s.shape[0], " slices; ", count, " from ",
        first, " are wanted");
  if (count == 0) return;
  const hsize_t start[] = {static_cast<hsize_t>(first), 0, 0};
  const hsize_t block[] = {static_cast<hsize_t>(count), static_cast<hsize_t>(s.shape[1]), static_cast<hsize_t>(s.shape[2])};
  const Id in_file(H5Dget_space(*s.dataset), H5Sclose), in_memory(H5Screate_simple(3, block, nullptr), H5Sclose);
  check<DataError>(H5Sselect_hyperslab(in_file, H5S_SELECT_SET, start, nullptr, block, nullptr) >= 0 &&
                       H5Dread(*s.dataset, H5T_NATIVE_FLOAT, in_memory, in_file, H5P_DEFAULT, to) >= 0,
                   s.where, " cannot be read: damaged, or packed in a way this HDF5 does not know");
  if (!s.integers) return;
  const std::int64_t values = count * s.shape[1] * s.shape[2];
  for (std::int64_t i = 0; i < values; ++i) to[i] = static_cast<float>(to[i] / index_scale);
}

int count_tcf_frames(const std::filesystem::path& path) {
  const Hdf5 guard;
  const TcfFile tcf(path);
  int frames = 0;
  while (frames < 1'000'000 && is_plain_link(tcf.group, frame_name(frames).c_str())) ++frames;
  return frames;
}

void write_tcf(const std::filesystem::path& path, const Volume& volume) {
  const Tensor& x = volume.image;
  check(x.defined() && x.rank() == 3 && x.size() > 0, path.string(), ": tcf: writes [D,H,W], got ",
        x.defined() ? x.shape() : Shape());
  Tensor index = empty(x.shape(), {.dtype = DType::f64});
  copy(x, index);
  std::vector<std::uint16_t> stored(static_cast<std::size_t>(x.size()));
  for (std::size_t i = 0; i < stored.size(); ++i) {
    const double v = std::round(index.data<double>()[i] * index_scale);
    check(v >= 0 && v <= 65'535, path.string(), ": tcf: a refractive index of ", v / index_scale, " cannot be stored");
    stored[i] = static_cast<std::uint16_t>(v);
  }

  const Hdf5 guard;
  // HDF5's "core" driver keeps the file in memory; it is written as every other file, whole or not at all.
  const Id access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  check(H5Pset_fapl_core(access, 1 << 20, 0) >= 0, path.string(), ": tcf: cannot start HDF5");
  const Id file(H5Fcreate("tcf in memory", H5F_ACC_TRUNC, H5P_DEFAULT, access), H5Fclose);
  const Id data(H5Gcreate2(file, "Data", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Gclose);
  const Id group(H5Gcreate2(data, "3D", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Gclose);
  const Id scalar(H5Screate(H5S_SCALAR), H5Sclose);
  constexpr const char* attributes[] = {"ResolutionZ", "ResolutionY", "ResolutionX"};
  const auto spacing = spacing_um(volume);
  for (std::size_t i = 0; i < 3 && volume.spacing_known; ++i) {
    const Id a(H5Acreate2(group, attributes[i], H5T_NATIVE_DOUBLE, scalar, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
    check(H5Awrite(a, H5T_NATIVE_DOUBLE, &spacing[i]) >= 0, path.string(), ": tcf: cannot write ", attributes[i]);
  }
  hsize_t dims[3], chunk[3];
  for (int i = 0; i < 3; ++i) {
    dims[i] = static_cast<hsize_t>(x.dim(i));
    chunk[i] = std::min<hsize_t>(dims[i], 64);
  }
  const Id space(H5Screate_simple(3, dims, nullptr), H5Sclose), layout(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_chunk(layout, 3, chunk);
  if (H5Zfilter_avail(H5Z_FILTER_DEFLATE) > 0) H5Pset_deflate(layout, 4);
  const Id dataset(H5Dcreate2(group, "000000", H5T_STD_U16LE, space, H5P_DEFAULT, layout, H5P_DEFAULT), H5Dclose);
  check(dataset.valid() && H5Dwrite(dataset, H5T_NATIVE_UINT16, H5S_ALL, H5S_ALL, H5P_DEFAULT, stored.data()) >= 0 &&
            H5Fflush(file, H5F_SCOPE_GLOBAL) >= 0,
        path.string(), ": tcf: HDF5 cannot write");
  const ssize_t bytes = H5Fget_file_image(file, nullptr, 0);
  check(bytes > 0, path.string(), ": tcf: HDF5 cannot write");
  std::string image(static_cast<std::size_t>(bytes), '\0');
  check(H5Fget_file_image(file, image.data(), image.size()) == bytes, path.string(), ": tcf: HDF5 cannot write");
  atomic_write(path, image);
}

#else

struct TcfReader::State {};
TcfReader::TcfReader(const std::filesystem::path& path, const TcfOptions&) {
  missing_library(path.string() + ": TCF", "libhdf5-dev", "CUBOID_WITH_HDF5");
}
TcfReader::~TcfReader() = default;
const Volume& TcfReader::about() const { fail("TCF: not built"); }
const Shape& TcfReader::shape() const { fail("TCF: not built"); }
std::int64_t TcfReader::cache_bytes() const { return 0; }
void TcfReader::read(std::int64_t, std::int64_t, float*) {}
int count_tcf_frames(const std::filesystem::path& path) {
  missing_library(path.string() + ": TCF", "libhdf5-dev", "CUBOID_WITH_HDF5");
}
void write_tcf(const std::filesystem::path& path, const Volume&) {
  missing_library(path.string() + ": TCF", "libhdf5-dev", "CUBOID_WITH_HDF5");
}

#endif

Volume read_tcf(const std::filesystem::path& path, const TcfOptions& options) {
  TcfReader reader(path, options);
  Volume v = reader.about();
  v.image = empty(reader.shape());
  reader.read(0, reader.shape()[0], v.image.mutable_data<float>());
  return v;
}

}  // namespace cuboid
