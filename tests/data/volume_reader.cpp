// SPDX-License-Identifier: Apache-2.0
#include "data/volume_reader.h"

#include "data/convert.h"
#include "data/formats/nifti.h"
#include "data/formats/npy.h"
#include "tests/data/formats.h"

using namespace cuboid;
using test::equal, test::error_of, test::slurp, test::spit, test::TempFolder;

namespace {

Tensor slices(const Tensor& x, std::int64_t z0, std::int64_t z1) {
  const Tensor wide = empty(x.shape());
  copy(x, wide);
  Shape shape = x.shape();
  shape[-3] = z1 - z0;
  const Tensor part(wide.storage(), z0 * x.dim(-1) * x.dim(-2), shape, wide.strides(), DType::f32), dense = empty(shape);
  copy(part, dense);
  return dense;
}

TEST(VolumeReader, SlabsEqualTheWhole) {
  const TempFolder folder;
  for (const Shape& shape : {Shape{7, 5, 6}, Shape{2, 7, 5, 6}})
    for (const DType t : {DType::u8, DType::i32, DType::f32, DType::f64}) {
      const Volume v{.image = test::random(shape, {.dtype = t, .lo = 0, .hi = 200, .integers = true}),
                     .spacing = {3, 2, 1},
                     .spacing_known = true};
      for (const char* name : {"a.npy", "a.npy.gz", "a.nii", "a.nii.gz", "a.mat", "a.safetensors"}) {
        save_volume(folder / name, v);
        const Volume whole = load_volume(folder / name);
        VolumeReader reader(folder / name);
        EXPECT_EQ(reader.shape(), whole.image.shape());
        EXPECT_EQ(reader.dtype(), whole.image.dtype());
        EXPECT_EQ(reader.about().spacing, whole.spacing);
        EXPECT_EQ(reader.about().name, "a");
        const bool streamed = std::string(name).find(".n") != std::string::npos;
        EXPECT_EQ(reader.resident_bytes(), streamed ? 0 : shape.count() * size_of(t)) << name;
        EXPECT_EQ(reader.forward_only(), std::string(name).ends_with(".gz"));
        for (const auto& [z0, z1] : {std::pair{0, 3}, {2, 5}, {5, 7}, {1, 2}, {4, 4}, {0, 7}})  // forwards, overlapping, back
          EXPECT_TRUE(equal(reader.read(z0, z1), slices(whole.image, z0, z1))) << name << shape << t << z0 << " to " << z1;
        EXPECT_THROW(reader.read(3, 8), Error);
        EXPECT_THROW(reader.read(-1, 2), Error);
        EXPECT_THROW(reader.read(3, 2), Error);
      }
    }
}

TEST(VolumeReader, FramesAndFortranOrder) {
  const TempFolder folder;
  const Tensor x = test::random({3, 4, 5, 6}, {.dtype = DType::f32});
  for (const char* name : {"a.nii", "a.nii.gz"}) {
    save_volume(folder / name, {.image = x});
    for (std::int64_t t = 0; t < 3; ++t) {
      VolumeReader reader(folder / name, {.frame = t});
      EXPECT_EQ(reader.shape(), Shape({4, 5, 6}));
      const Volume whole = load_volume(folder / name, {.frame = t});
      for (const auto& [z0, z1] : {std::pair{1, 2}, {2, 4}, {0, 4}})
        EXPECT_TRUE(equal(reader.read(z0, z1), slices(whole.image, z0, z1)));
    }
    EXPECT_THROW(VolumeReader(folder / name, {.frame = 3}), DataError);
  }
  std::string bytes = npy_bytes(x);
  bytes.replace(bytes.find("False"), 5, "True ");
  spit(folder / "f.npy", bytes);
  EXPECT_TRUE(equal(VolumeReader(folder / "f.npy").read(1, 3), slices(load_volume(folder / "f.npy").image, 1, 3)));
}

TEST(VolumeReader, NoticesDamage) {
  const TempFolder folder;
  const Volume v{.image = test::random({4, 5, 6}, {.dtype = DType::f32})};
  for (const char* name : {"a.npy", "a.nii", "a.npy.gz", "a.nii.gz"}) {
    save_volume(folder / name, v);
    const std::string whole = slurp(folder / name);
    for (const std::string& bad : {whole.substr(0, whole.size() - 1), whole + "x"}) {
      spit(folder / name, bad);
      EXPECT_THROW(VolumeReader(folder / name).read(0, 4), DataError) << name;
    }
    std::string flipped = whole;
    flipped[flipped.size() - 6] ^= 1;  // in gzip's checksum
    spit(folder / name, flipped);
    if (!std::string(name).ends_with(".gz")) continue;
    EXPECT_THROW(VolumeReader(folder / name).read(2, 4), DataError) << name;
  }
  EXPECT_THROW(VolumeReader(folder / "none.npy"), DataError);
  write_npy(folder / "flat.npy", zeros({5}));
  EXPECT_NE(error_of([&] { VolumeReader(folder / "flat.npy"); }).find("a volume has 3 dimensions"), std::string::npos);
}

TEST(VolumeWriter, SlabsMakeTheSameFile) {
  const TempFolder folder;
  const Tensor x = test::random({7, 5, 6}, {.dtype = DType::f32, .lo = -50, .hi = 300});
  const Volume about{.spacing = {3, 2, 1}, .spacing_known = true, .unit = "mm", .origin = {1, 2, 3}};
  for (const char* name : {"a.npy", "a.npy.gz", "a.nii", "a.nii.gz"}) {
    VolumeWriter writer(folder / name, x.shape(), Number::f32, about);
    writer.write(slices(x, 0, 3));
    EXPECT_FALSE(std::filesystem::exists(folder / name)) << "not before finish()";
    EXPECT_THROW(writer.write(slices(x, 0, 5)), Error);
    writer.write(slices(x, 3, 7));
    writer.finish();
    Volume v = about;
    v.image = x;
    save_volume(folder / (std::string("b") + name), v);
    EXPECT_EQ(slurp(folder / name), slurp(folder / (std::string("b") + name))) << name;
  }
  for (const char* name : {"u.npy", "u.nii.gz"}) {
    VolumeWriter writer(folder / name, x.shape(), Number::u16, about);
    writer.write(x);
    writer.finish();
    const auto values = load_volume(folder / name).image.to_vector(), given = x.to_vector();
    for (std::size_t i = 0; i < values.size(); ++i) ASSERT_EQ(values[i], std::max(0.0, std::round(given[i])));
  }
  { VolumeWriter never_finished(folder / "n.nii", x.shape(), Number::f32); }
  EXPECT_FALSE(std::filesystem::exists(folder / "n.nii"));
  VolumeWriter early(folder / "n.nii", x.shape(), Number::f32);
  EXPECT_NE(error_of([&] { early.finish(); }).find("0 of 7 slices"), std::string::npos);
  EXPECT_NE(error_of([&] { VolumeWriter(folder / "a.tif", x.shape(), Number::f32); }).find(".nii.gz are written"),
            std::string::npos);
}

TEST(VolumeReader, MemoryStaysSmall) {
  const TempFolder folder;
  const std::int64_t side = 256;  // f32: 64 MiB
  {
    VolumeWriter writer(folder / "a.nii", {side, side, side}, Number::f32);
    const Tensor slice = zeros({1, side, side});
    for (std::int64_t z = 0; z < side; ++z) writer.write(slice);
    writer.finish();
  }
  test::reset_peak_resident();
  const std::int64_t before = test::peak_resident();
  {
    VolumeReader reader(folder / "a.nii");
    for (std::int64_t z = 0; z < side; z += 8) reader.read(z, z + 8);
  }
  const std::int64_t slabs = test::peak_resident() - before;
  if (test::memory_can_be_measured) {
    EXPECT_LT(slabs, std::int64_t{16} << 20);
    load_volume(folder / "a.nii");
    EXPECT_LT(test::peak_resident() - before, std::int64_t{72} << 20) << "one copy and a small piece";
  }
}

}  // namespace
