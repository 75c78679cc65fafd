// SPDX-License-Identifier: Apache-2.0
#include "data/formats/nifti.h"

#include <cstring>
#include <sstream>

#include "data/convert.h"
#include "tests/data/formats.h"
#include "tests/sha256.h"

using namespace cuboid;
using test::equal, test::error_of, test::slurp, test::spit, test::TempFolder;

namespace {

const std::string goldens = "tests/goldens/";

Volume placed(const Tensor& image) {
  Volume v{.image = image, .spacing = {0.5, 0.25, 0.2}, .spacing_known = true, .unit = "um", .origin = {7, 33.25, -12.5}};
  // Turned by 30 degrees about z, then mirrored in x.
  const double c = std::cos(M_PI / 6), s = std::sin(M_PI / 6);
  v.direction = {1, 0, 0, 0, c, -s, 0, -s, -c};
  v.orientation_known = true;
  return v;
}

/// A sound file of 2 x 3 x 4 (x,y,z) i16 voxels whose header the tests spoil.
std::string sound() {
  const Volume v = placed(test::random({4, 3, 2}, {.dtype = DType::i32, .lo = -9, .hi = 9, .integers = true}));
  std::string bytes = nifti_header_bytes(v, v.image.shape(), Number::i16);
  encode_all(v.image, Number::i16, [&](const void* p, std::size_t n) { bytes.append(static_cast<const char*>(p), n); });
  return bytes;
}
template <class T>
std::string with(std::string bytes, std::size_t place, T value) {
  std::memcpy(bytes.data() + place, &value, sizeof value);
  return bytes;
}
const auto nan = std::numeric_limits<float>::quiet_NaN();
using i16 = std::int16_t;

TEST(Nifti, EqualsTheOracle) {
  SAMPLE_DATA_OR_SKIP(table, "oracles/nifti_nibabel5.csv");
  const auto root = table.parent_path().parent_path();
  std::ifstream in(table);
  std::string line;
  std::getline(in, line);
  int read = 0, refused = 0, big_endian = 0;
  while (std::getline(in, line)) {
    const auto cells = test::cells(line);
    const auto file = root / cells[0];
    if (!std::filesystem::exists(file)) continue;
    if (cells[1] != "ok") {
      EXPECT_NE(error_of([&] { read_nifti(file); }), "") << file;
      ++refused;
      continue;
    }
    const NiftiHeader h = read_nifti_header(file);
    EXPECT_EQ(h.version, cells[2] == "NIfTI-1" ? 1 : 2) << file;
    EXPECT_EQ(h.big_endian, cells[3] == "big") << file;
    big_endian += h.big_endian;
    std::string shape;
    for (int i = h.shape.rank() - 1; i >= 0; --i) {
      if (h.shape.rank() == 4 && i == 0) shape += "x" + std::to_string(h.shape[0]);
      else if (h.shape.rank() != 4 || i > 0) shape += (shape.empty() ? "" : "x") + std::to_string(h.shape[i]);
    }
    EXPECT_EQ(shape, cells[4]) << file;
    EXPECT_EQ(static_cast<double>(h.offset), std::stod(cells[7])) << file;
    EXPECT_EQ(std::to_string(h.qform_code) + "," + std::to_string(h.sform_code), cells[10] + "," + cells[11]) << file;
    const Volume v = read_nifti(file, {.dtype = DType::f64});
    std::istringstream affine(cells[12]);
    const auto ours = affine_of(v);
    for (std::size_t i = 0; i < 16; ++i) {
      double expected;
      affine >> expected;
      EXPECT_NEAR(ours[i], expected, 1e-5 * std::abs(expected) + 1e-12) << file << " affine " << i;
    }
    const auto* data = reinterpret_cast<const char*>(v.image.data<double>());
    EXPECT_EQ(test::sha256({data, static_cast<std::size_t>(v.image.size()) * 8}), cells[16]) << file;
    ++read;
  }
  EXPECT_EQ(read, 22);
  EXPECT_EQ(refused, 1);
  EXPECT_EQ(big_endian, 6);
}

TEST(Nifti, RealFilesKeepTheirValuesAndTheirPlace) {
  SAMPLE_DATA_OR_SKIP(table, "oracles/nifti_nibabel5.csv");
  const auto root = table.parent_path().parent_path();
  const TempFolder folder;
  for (const char* file : {"parsers/nifti_nibabel/anatomical.nii", "parsers/nifti_nibabel/example_nifti2.nii.gz",
                           "parsers/nifti_nibabel/functional.nii", "cell3d_seg/ct_multiorgan/example_mr_sm.nii.gz",
                           "parsers/nifti_nibabel/resampled_anat_moved.nii", "covid_ct_cls/seed_repo_nifti/IM2048_cruda.nii"}) {
    const Volume first = load_volume(root / file);
    EXPECT_EQ(first.notes, std::vector<std::string>{}) << file;
    for (const char* ending : {".nii", ".nii.gz"}) {
      convert(root / file, folder / (std::string("a") + ending), {}, true);
      const Volume again = load_volume(folder / (std::string("a") + ending));
      EXPECT_TRUE(equal(again.image, first.image)) << file;
      EXPECT_EQ(again.image.dtype(), first.image.dtype()) << file;
      EXPECT_EQ(again.unit, first.unit);
      const auto a = affine_of(first), b = affine_of(again);
      for (std::size_t i = 0; i < 16; ++i) EXPECT_NEAR(a[i], b[i], 1e-6 * std::abs(a[i]) + 1e-7) << file << " affine " << i;
    }
  }
}

TEST(Nifti, ReadsWhatNibabelWrites) {
  const Volume q = load_volume(goldens + "oblique_qform.nii");
  EXPECT_EQ(q.image.shape(), Shape({3, 4, 5}));
  EXPECT_EQ(q.unit, "um");
  EXPECT_EQ(orientation_letters(q), "LPI");
  // What nibabel's get_qform gives.
  const double affine[] = {-0.19032071, -0.0428896, -0.12749356, -12.5, 0.04689616, -0.23540954, -0.12076456, 33.25,
                           0.03973385,  0.07240739, -0.46814668, 7,     0,          0,           0,           1};
  for (std::size_t i = 0; i < 16; ++i) EXPECT_NEAR(affine_of(q)[i], affine[i], 1e-7) << i;
  EXPECT_EQ(q.spacing, (std::array{0.5, 0.25, 0.2})) << "as it was written, not the nearest float";
  const Volume s = load_volume(goldens + "big_endian_nifti2.nii.gz");  // u16 x 0.5 - 100, an extension before the voxels
  EXPECT_EQ(s.image.dtype(), DType::f32);
  EXPECT_EQ(s.unit, "mm");
  EXPECT_EQ(s.name, "big_endian_nifti2");
  EXPECT_EQ(s.notes, std::vector<std::string>{});
  const auto first = q.image.to_vector(), second = s.image.to_vector();
  for (int x = 0; x < 5; ++x)
    for (int y = 0; y < 4; ++y)
      for (int z = 0; z < 3; ++z) {
        const auto at = static_cast<std::size_t>((z * 4 + y) * 5 + x);
        const double value = (x * 12 + y * 3 + z) * 37 % 1000;
        ASSERT_EQ(first[at], value);
        ASSERT_EQ(second[at], value * 0.5 - 100);
      }
}

TEST(Nifti, RoundTripOfEveryType) {
  const TempFolder folder;
  for (const DType t : {DType::f32, DType::f64, DType::bf16, DType::f16, DType::i64, DType::i32, DType::u8})
    for (const char* name : {"a.nii", "a.nii.gz"})
      for (const auto lies : test::every_way) {
        const Volume v = placed(test::laid(test::random({4, 3, 5}, {.dtype = t, .lo = 0, .hi = 100, .integers = true}), lies));
        write_nifti(folder / name, v);
        const Volume back = read_nifti(folder / name);
        EXPECT_TRUE(equal(back.image, v.image)) << t << name_of(lies);
        EXPECT_EQ(back.image.dtype(), t == DType::bf16 || t == DType::f16 ? DType::f32 : t == DType::i64 ? DType::i32 : t);
        EXPECT_EQ(back.unit, "um");
        EXPECT_TRUE(back.spacing_known && back.orientation_known);
        for (std::size_t i = 0; i < 9; ++i) EXPECT_NEAR(back.direction[i], v.direction[i], 1e-7);
        EXPECT_EQ(back.spacing, v.spacing);
        EXPECT_EQ(back.origin, v.origin);
      }
  EXPECT_EQ(slurp(folder / "a.nii.gz"),
            (write_nifti(folder / "b.nii.gz", read_nifti(folder / "a.nii.gz")), slurp(folder / "b.nii.gz")));
}

TEST(Nifti, IntegersAreStoredNarrow) {
  const TempFolder folder;
  const auto stored = [&](std::int64_t low, std::int64_t high, DType t = DType::i64) {
    const Tensor x = empty({1, 1, 2}, {.dtype = t});
    copy(from_values<std::int64_t>({low, high}, {1, 1, 2}), x);
    write_nifti(folder / "a.nii", {.image = x});
    EXPECT_TRUE(equal(read_nifti(folder / "a.nii").image, x));
    return std::string(name_of(read_nifti_header(folder / "a.nii").number));
  };
  EXPECT_EQ(stored(-32'768, 32'767), "i16");
  EXPECT_EQ(stored(0, 65'535, DType::i32), "u16");
  EXPECT_EQ(stored(-1, 65'535, DType::i32), "i32");
  EXPECT_EQ(stored(0, std::int64_t{1} << 40), "i64");
  write_nifti(folder / "a.nii", {.image = from_values<float>({-1e9f, 1.5f, 2.49f, NAN}, {1, 1, 4})}, Number::i16);
  EXPECT_EQ(read_nifti(folder / "a.nii").image.to_vector(), (std::vector<double>{-32'768, 2, 2, 0}));
}

TEST(Nifti, SeriesAndLargeDimensions) {
  const TempFolder folder;
  const Tensor x = test::random({3, 2, 4, 5}, {.dtype = DType::f32});
  write_nifti(folder / "a.nii", placed(x));
  write_nifti(folder / "a.nii.gz", placed(x));
  EXPECT_TRUE(equal(load_volume(folder / "a.nii").image, x));
  for (const char* name : {"a.nii", "a.nii.gz"})
    for (std::int64_t t = 0; t < 3; ++t)
      EXPECT_TRUE(
          equal(load_volume(folder / name, {.frame = t}).image, Tensor(x.storage(), t * 40, {2, 4, 5}, {20, 5, 1}, DType::f32)));
  EXPECT_NE(error_of([&] { load_volume(folder / "a.nii", {.frame = 3}); }).find("has no volume 3; there are 3"),
            std::string::npos);
  const Tensor longer = test::random({1, 1, 40'000}, {.dtype = DType::f32});
  write_nifti(folder / "b.nii", placed(longer));
  EXPECT_EQ(read_nifti_header(folder / "b.nii").version, 2);
  const Volume back = load_volume(folder / "b.nii");
  EXPECT_TRUE(equal(back.image, longer));
  for (std::size_t i = 0; i < 9; ++i) EXPECT_NEAR(back.direction[i], placed(longer).direction[i], 1e-15);
}

TEST(Nifti, PairsOfHeaderAndImage) {
  const TempFolder folder;
  const std::string whole = sound();
  std::string header = whole.substr(0, 348);
  header.replace(344, 3, "ni1");
  spit(folder / "a.hdr", with(header, 108, 0.0f));
  spit(folder / "a.img", whole.substr(352));
  spit(folder / "a.nii", whole);
  const Tensor expected = load_volume(folder / "a.nii").image;
  EXPECT_TRUE(equal(load_volume(folder / "a.hdr").image, expected));
  EXPECT_TRUE(equal(load_volume(folder / "a.img").image, expected));
  spit(folder / "b.hdr", with(header, 108, 0.0f));
  EXPECT_NE(error_of([&] { load_volume(folder / "b.hdr"); }).find("b.img, are not there"), std::string::npos);
  spit(folder / "c.img", whole.substr(352));
  EXPECT_NE(error_of([&] { load_volume(folder / "c.img"); }).find("c.hdr, is not there"), std::string::npos);
  spit(folder / "a.img", whole.substr(353));
  EXPECT_NE(error_of([&] { load_volume(folder / "a.hdr"); }).find("cut off"), std::string::npos);
}

TEST(Nifti, RefusesMalformedFiles) {
  const TempFolder folder;
  const std::string good = sound();
  std::string other_order = good, analyze = good.substr(0, 348);
  std::reverse(other_order.begin(), other_order.begin() + 4);
  analyze.replace(344, 4, 4, '\0');
  const struct {
    const char* what;
    std::string bytes, message;
  } cases[] = {
      {"empty", "", "empty"},
      {"header cut", good.substr(0, 347), "347 bytes; a header has 348"},
      {"size of header", with(good, 0, 349), "no NIfTI magic"},
      {"order only half swapped", other_order, "nifti: "},
      {"Analyze", analyze, "an Analyze 7.5 file?"},
      {"no dimension", with(good, 40, i16{0}), "0 dimensions"},
      {"eight dimensions", with(good, 40, i16{8}), "8 dimensions"},
      {"dimension 0", with(good, 42, i16{0}), "dimension 1 is 0"},
      {"FreeSurfer's -1", with(good, 42, i16{-1}), "dimension 1 is -1"},
      {"huge", with(with(with(good, 42, i16{32'767}), 44, i16{32'767}), 46, i16{32'767}), "cut off"},
      {"seven huge dimensions",
       [&] {
         std::string b = with(good, 40, i16{7});
         for (std::size_t i = 1; i <= 7; ++i) b = with(b, 40 + 2 * i, i16{32'767});
         return b;
       }(),
       "overflow"},
      {"RGB", with(with(good, 70, i16{128}), 72, i16{24}), "holds RGB colours"},
      {"complex", with(with(good, 70, i16{32}), 72, i16{64}), "holds complex f32"},
      {"f128", with(with(good, 70, i16{1536}), 72, i16{128}), "holds f128"},
      {"bits", with(with(good, 70, i16{1}), 72, i16{1}), "holds single bits"},
      {"type 0", with(good, 70, i16{0}), "unknown datatype 0"},
      {"type 3", with(good, 70, i16{3}), "unknown datatype 3"},
      {"bitpix", with(good, 72, i16{8}), "datatype 4 (i16) with 8 bits"},
      {"offset NaN", with(good, 108, nan), "begin at byte nan"},
      {"offset inf", with(good, 108, 1e38f), "begin at byte 1e+38"},
      {"offset within the header", with(good, 108, 348.0f), "within the header"},
      {"offset negative", with(good, 108, -352.0f), "within the header"},
      {"offset not whole", with(good, 108, 352.5f), "begin at byte 352.5"},
      {"offset behind the end", with(good, 108, 1e6f), "cut off"},
      {"data cut", good.substr(0, good.size() - 1), "cut off"},
      {"data behind the end", good + "x", "more bytes follow"},
      {"CIFTI", with(good, 68, i16{3001}), "CIFTI"},
      {"no rotation", with(with(good, 254, i16{0}), 256, 2.0f), "is no rotation"},
      {"NaN rotation", with(with(good, 254, i16{0}), 260, nan), "is no rotation"},
  };
  for (const auto& c : cases) {
    spit(folder / "bad.nii", c.bytes);
    const std::string text = error_of([&] { load_volume(folder / "bad.nii"); });
    EXPECT_NE(text.find(c.message), std::string::npos) << c.what << ": " << (text.empty() ? "accepted" : text);
    EXPECT_NE(text.find("bad.nii"), std::string::npos) << c.what;
  }
  spit(folder / "good.nii", good);
  EXPECT_EQ(error_of([&] { load_volume(folder / "good.nii"); }), "");
}

TEST(Nifti, OddSpaceIsNotedNotRefused) {
  const TempFolder folder;
  const std::string good = sound(), no_forms = with(with(good, 252, i16{0}), 254, i16{0});
  const Volume sound_one = (spit(folder / "a.nii", good), load_volume(folder / "a.nii"));
  const auto noted = [&](const std::string& bytes, const std::string& note) {
    spit(folder / "a.nii", bytes);
    const Volume v = load_volume(folder / "a.nii");
    EXPECT_TRUE(equal(v.image, sound_one.image)) << note;
    const std::string all = v.notes.empty() ? "" : v.notes[0];
    EXPECT_TRUE(note.empty() ? all.empty() : all.find(note) != all.npos) << note << ": " << all;
    return v;
  };
  EXPECT_EQ(noted(good, "").spacing, sound_one.spacing);
  EXPECT_EQ(noted(with(good, 108, 0.0f), "vox_offset is 0").origin, sound_one.origin);
  EXPECT_NEAR(noted(with(good, 80, nan), "pixdim[1] is nan").spacing[2], 0.2, 1e-7) << "the sform says it";
  EXPECT_EQ(noted(with(no_forms, 80, 0.0f), "pixdim[1] is 0; 1 is taken").spacing[2], 1);
  EXPECT_EQ(noted(with(no_forms, 84, -0.25f), "pixdim[2] is -0.25; 0.25 is taken").spacing[1], 0.25);
  EXPECT_FALSE(noted(no_forms, "").orientation_known);
  EXPECT_TRUE(noted(no_forms, "").spacing_known);
  EXPECT_EQ(noted(with(good, 280, nan), "the sform is singular; the qform is taken").origin, sound_one.origin);
  EXPECT_EQ(noted(with(good, 76, 1.0f), "differ by").direction, sound_one.direction) << "qfac turned over";
  EXPECT_EQ(noted(with(good, 256, 0.9f), "qform").direction, sound_one.direction);
  EXPECT_EQ(noted(with(good, 112, 0.0f), "").notes.size(), 0u) << "slope 0: no scaling";
  noted(with(with(good, 112, nan), 116, nan), "");
  noted(with(good, 116, nan), "scl_inter is nan; 0 is taken");
  EXPECT_EQ(noted(with(good, 123, std::uint8_t{1}), "").unit, "m");
  EXPECT_EQ(noted(with(good, 123, std::uint8_t{2 + 8}), "").unit, "mm");
  EXPECT_EQ(spacing_um(noted(with(good, 123, std::uint8_t{2}), ""))[0], 500);
  // Extensions: passed over, sound or not.
  const auto extended = [&](std::int32_t says) {
    std::string b = with(good, 108, 384.0f), e(32, 'x');
    b[348] = 1;
    std::memcpy(e.data(), &says, 4);
    return b.insert(352, e);
  };
  noted(extended(32), "");
  for (const std::int32_t bad : {0, -16, 8, 33, 48, 1 << 30}) noted(extended(bad), "header extension at byte 352 says");
}

TEST(Nifti, EveryTruncationIsNoticed) {
  const TempFolder folder;
  for (const char* name : {"oblique_qform.nii", "big_endian_nifti2.nii.gz"}) {
    const std::string whole = slurp(goldens + name);
    ASSERT_FALSE(whole.empty());
    for (std::size_t n = 0; n < whole.size(); ++n) {
      spit(folder / "cut.nii", whole.substr(0, n));
      ASSERT_NE(error_of([&] { load_volume(folder / "cut.nii"); }), "") << name << ": " << n << " of " << whole.size();
    }
  }
}

TEST(Nifti, MutatedFilesNeverCrash) {
  const TempFolder folder;
  const test::FrugalScope frugal;
  int accepted = 0;
  for (const std::string& seed : {slurp(goldens + "oblique_qform.nii"), slurp(goldens + "big_endian_nifti2.nii.gz"), sound()})
    for (std::uint64_t i = 0; i < 5000; ++i) {
      spit(folder / "m.nii", test::mutated(seed, i, 360));
      accepted += error_of([&] { load_volume(folder / "m.nii"); }).empty();
    }
  EXPECT_GT(accepted, 500);
}

#if defined(CUBOID_ZLIB)
TEST(Nifti, PackedFilesCannotClaimMoreThanTheyHold) {
  const TempFolder folder;
  const std::string zeros(1 << 20, '\0');
  const test::FrugalScope frugal;
  const auto pack = [&](const std::string& bytes, int mebibytes = 0) {
    const auto sink = create_bytes(folder / "a.nii.gz", true);
    sink->write(bytes.data(), bytes.size());
    for (int i = 0; i < mebibytes; ++i) sink->write(zeros.data(), zeros.size());
    sink->finish();
  };
  std::string header = sound().substr(0, 352);
  for (const std::size_t i : {42u, 44u, 46u}) header = with(header, i, i16{20'000});
  pack(header, 1);  // 16 TB promised
  EXPECT_NE(error_of([&] { load_volume(folder / "a.nii.gz"); }).find("cut off"), std::string::npos);
  pack(sound(), 100);  // a bomb behind the voxels: not unpacked
  EXPECT_NE(error_of([&] { load_volume(folder / "a.nii.gz"); }).find("more bytes follow"), std::string::npos);
  pack(sound());
  const std::string whole = slurp(folder / "a.nii.gz");
  for (const std::size_t from_end : {1u, 5u, 8u}) {
    std::string bytes = whole;
    bytes[bytes.size() - from_end] ^= 1;
    spit(folder / "b.nii.gz", bytes);
    EXPECT_NE(error_of([&] { load_volume(folder / "b.nii.gz"); }), "") << from_end;
  }
  spit(folder / "b.nii.gz", whole + whole);
  EXPECT_NE(error_of([&] { load_volume(folder / "b.nii.gz"); }).find("something follows"), std::string::npos);
}
#endif

}  // namespace
