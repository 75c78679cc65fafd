// SPDX-License-Identifier: Apache-2.0
#include "data/formats/tcf.h"

#include "data/volume_reader.h"
#include "tests/data/formats.h"

#if defined(CUBOID_HDF5)
#include <hdf5.h>

using namespace cuboid;
using test::close, test::error_of, test::slurp, test::spit, test::TempFolder;

namespace {

const std::string golden = "tests/goldens/tomogram.tcf";

/// A file with Data/3D made by `fill`, as HDF5 itself writes it.
template <class F>
void write_raw(const std::filesystem::path& path, F fill) {
  const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  const hid_t data = H5Gcreate2(file, "Data", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  const hid_t group = H5Gcreate2(data, "3D", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  fill(group);
  H5Gclose(group);
  H5Gclose(data);
  H5Fclose(file);
}
void add_dataset(hid_t group, hid_t type, std::vector<hsize_t> dims, hid_t properties = H5P_DEFAULT, bool write = true) {
  const hid_t space = H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr);
  const hid_t set = H5Dcreate2(group, "000000", type, space, H5P_DEFAULT, properties, H5P_DEFAULT);
  if (write) {
    hsize_t count = 1;
    for (const auto d : dims) count *= d;
    const std::vector<double> zeros(count, 13'370);
    H5Dwrite(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, zeros.data());
  }
  H5Dclose(set);
  H5Sclose(space);
}

TEST(Tcf, ReadsWhatOthersWrite) {  // h5py: big endian, chunked, shuffled, gzip; three kinds of attribute
  const Volume v = read_tcf(golden);
  EXPECT_EQ(v.image.shape(), Shape({3, 20, 17}));
  EXPECT_EQ(v.image.dtype(), DType::f32);
  const auto values = v.image.to_vector();
  for (int i = 0; i < 3 * 20 * 17; ++i) ASSERT_NEAR(values[static_cast<std::size_t>(i)], (13'300 + i % 500) / 1e4, 1e-7) << i;
  EXPECT_TRUE(v.spacing_known);
  EXPECT_EQ(v.spacing, (std::array<double, 3>{0.5, 0.2, 0.1}));
  EXPECT_EQ(v.name, "tomogram");
  EXPECT_EQ(count_tcf_frames(golden), 2);
  EXPECT_NEAR(read_tcf(golden, {.frame = 1}).image.to_vector()[7], 1.337, 1e-7);
}

TEST(Tcf, RoundTrip) {
  const TempFolder folder;
  Volume v;
  v.image = test::random({5, 70, 66}, {.dtype = DType::f32, .lo = 1.33, .hi = 1.40});
  v.spacing = {0.35, 0.098, 0.099};
  v.spacing_known = true;
  write_tcf(folder / "a.tcf", v);
  const Volume back = read_tcf(folder / "a.tcf");
  EXPECT_TRUE(close(back.image, v.image, {.atol = 0.5001e-4}));
  EXPECT_EQ(back.spacing, v.spacing);
  v.image = full({1, 1, 1}, -1);
  EXPECT_THROW(write_tcf(folder / "b.tcf", v), Error);
  EXPECT_FALSE(std::filesystem::exists(folder / "b.tcf"));
}

TEST(Tcf, SlabsEqualTheWhole) {
  const TempFolder folder;
  write_tcf(folder / "a.tcf", {.image = test::random({70, 66, 130}, {.dtype = DType::f32, .lo = 1.33, .hi = 1.40})});
  for (const std::string& file : {golden, (folder / "a.tcf").string()}) {
    const Volume whole = read_tcf(file);
    VolumeReader reader(file);
    const std::int64_t depth = whole.image.dim(0), slice = whole.image.dim(1) * whole.image.dim(2);
    EXPECT_EQ(reader.shape(), whole.image.shape());
    EXPECT_EQ(reader.about().spacing, whole.spacing);
    EXPECT_EQ(reader.resident_bytes(), depth == 70 ? 64 * 128 * 192 * 2 : 0) << "a layer of chunks of 64 x 64 x 64";
    for (const auto& [z0, z1] : {std::pair<std::int64_t, std::int64_t>{0, 1}, {1, depth}, {depth - 1, depth}, {0, depth}, {2, 2}})
      EXPECT_TRUE(test::equal(reader.read(z0, z1),
                              Tensor(whole.image.storage(), z0 * slice, {z1 - z0, whole.image.dim(1), whole.image.dim(2)},
                                     whole.image.strides(), DType::f32)));
  }
  EXPECT_NE(error_of([] { VolumeReader(golden, {.frame = 5}); }).find("000005 is not there"), std::string::npos);
  EXPECT_NE(error_of([] { VolumeReader(golden, {.frame = -1}); }).find("is not there"), std::string::npos);
}

TEST(Tcf, FloatsAreTakenAsTheyAre) {
  const TempFolder folder;
  write_raw(folder / "a", [](hid_t group) { add_dataset(group, H5T_NATIVE_FLOAT, {2, 2, 2}); });
  EXPECT_EQ(read_tcf(folder / "a").image.to_vector()[0], 13'370);
  EXPECT_FALSE(read_tcf(folder / "a").spacing_known);
}

TEST(Tcf, NamesWhatIsMissing) {
  const TempFolder folder;
  ::testing::internal::CaptureStderr();
  const auto message = [&] { return error_of([&] { read_tcf(folder / "a"); }); };
  const std::string name = (folder / "a").string();
  spit(folder / "a", "not HDF5");
  EXPECT_EQ(message(), name + ": tcf: not an HDF5 file, or a damaged one");
  H5Fclose(H5Fcreate((folder / "a").c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT));
  EXPECT_EQ(message(), name + ": tcf: has no group Data/3D");
  write_raw(folder / "a", [](hid_t) {});
  EXPECT_EQ(message(), name + ": tcf: Data/3D/000000 is not there");
  EXPECT_EQ(count_tcf_frames(folder / "a"), 0);
  write_raw(folder / "a", [](hid_t group) { H5Gclose(H5Gcreate2(group, "000000", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT)); });
  EXPECT_EQ(message(), name + ": tcf: Data/3D/000000 is no dataset");
  write_raw(folder / "a", [](hid_t group) { add_dataset(group, H5T_NATIVE_USHORT, {2, 2}); });
  EXPECT_EQ(message(), name + ": tcf: Data/3D/000000 has 2 dimensions, 3 expected");
  write_raw(folder / "a", [](hid_t group) {
    const hid_t text = H5Tcopy(H5T_C_S1);
    add_dataset(group, text, {2, 2, 2}, H5P_DEFAULT, false);
    H5Tclose(text);
  });
  EXPECT_EQ(message(), name + ": tcf: Data/3D/000000 holds no plain numbers");
  write_raw(folder / "a", [](hid_t group) { add_dataset(group, H5T_NATIVE_USHORT, {2, 2, 2}, H5P_DEFAULT, false); });
  EXPECT_EQ(message(), name + ": tcf: Data/3D/000000 holds no data");
  write_raw(folder / "a", [](hid_t group) { H5Lcreate_external("other.h5", "/x", group, "000000", H5P_DEFAULT, H5P_DEFAULT); });
  EXPECT_EQ(message(), name + ": tcf: Data/3D/000000 is not there") << "links into other files are not followed";
  write_raw(folder / "a", [&](hid_t group) {
    const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_external(properties, "/etc/passwd", 0, 16);
    add_dataset(group, H5T_NATIVE_USHORT, {2, 2, 2}, properties, false);
    H5Pclose(properties);
  });
  EXPECT_EQ(message(), name + ": tcf: Data/3D/000000 lies in another file");
  write_raw(folder / "a", [](hid_t group) {
    const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
    const hsize_t chunk[] = {1, 1, 1};
    H5Pset_chunk(properties, 3, chunk);
    add_dataset(group, H5T_NATIVE_USHORT, {60'000, 60'000, 60'000}, properties, false);
    H5Pclose(properties);
  });
  EXPECT_NE(message().find("does not fit into a file of"), std::string::npos);
  write_raw(folder / "a", [](hid_t group) {
    add_dataset(group, H5T_NATIVE_USHORT, {2, 2, 2});
    const hid_t space = H5Screate(H5S_SCALAR);
    const hid_t a = H5Acreate2(group, "ResolutionZ", H5T_NATIVE_DOUBLE, space, H5P_DEFAULT, H5P_DEFAULT);
    const double negative = -1;
    H5Awrite(a, H5T_NATIVE_DOUBLE, &negative);
    H5Aclose(a);
    H5Sclose(space);
  });
  EXPECT_EQ(message(), name + ": tcf: attribute ResolutionZ is -1");
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "") << "HDF5 prints nothing";
}

TEST(Tcf, TruncationsAreNoticed) {
  const TempFolder folder;
  const std::string whole = slurp(golden);
  for (std::size_t n = 0; n < whole.size(); n += 61) {
    spit(folder / "cut", whole.substr(0, n));
    ASSERT_NE(error_of([&] { read_tcf(folder / "cut"); }), "") << n << " of " << whole.size();
  }
}

}  // namespace

#endif
