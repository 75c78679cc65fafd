// SPDX-License-Identifier: Apache-2.0
#include "data/formats/tiff.h"

#include "tests/data/formats.h"

#if defined(CUBOID_TIFF)
#include <tiffio.h>

using namespace cuboid;
using test::equal, test::error_of, test::slurp, test::spit, test::TempFolder;

namespace {

const std::string goldens = "tests/goldens/";

/// The stack the goldens hold: i * 13 mod 65536 over [3,20,17].
std::vector<double> golden_values() {
  std::vector<double> v;
  for (int i = 0; i < 3 * 20 * 17; ++i) v.push_back(i * 13 % 65'536);
  return v;
}

struct RawPage {
  std::uint32_t width = 4, height = 3;
  int bits = 16, samples = 1, format = SAMPLEFORMAT_UINT, photometric = PHOTOMETRIC_MINISBLACK, compression = COMPRESSION_NONE;
};
/// A file as libtiff itself writes it, with properties our writer never produces.
void write_raw(const std::filesystem::path& path, const std::vector<RawPage>& pages, const char* description = nullptr) {
  TIFF* t = TIFFOpen(path.c_str(), "w");
  ASSERT_NE(t, nullptr);
  for (const auto& p : pages) {
    TIFFSetField(t, TIFFTAG_IMAGEWIDTH, p.width);
    TIFFSetField(t, TIFFTAG_IMAGELENGTH, p.height);
    TIFFSetField(t, TIFFTAG_BITSPERSAMPLE, p.bits);
    TIFFSetField(t, TIFFTAG_SAMPLESPERPIXEL, p.samples);
    TIFFSetField(t, TIFFTAG_SAMPLEFORMAT, p.format);
    TIFFSetField(t, TIFFTAG_PHOTOMETRIC, p.photometric);
    TIFFSetField(t, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
    TIFFSetField(t, TIFFTAG_COMPRESSION, p.compression);
    TIFFSetField(t, TIFFTAG_ROWSPERSTRIP, 2);
    if (description) TIFFSetField(t, TIFFTAG_IMAGEDESCRIPTION, description);
    std::string row(static_cast<std::size_t>(TIFFScanlineSize(t)), '\x01');
    for (std::uint32_t y = 0; y < p.height; ++y) TIFFWriteScanline(t, row.data(), y, 0);
    TIFFWriteDirectory(t);
  }
  TIFFClose(t);
}

TEST(Tiff, ReadsWhatOthersWrite) {
  // Written by tifffile: ImageJ strips; OME tiles with LZW; BigTIFF, big endian, deflate with floating-point predictor.
  const struct {
    const char* file;
    DType dtype;
    bool spacing;
  } files[] = {{"imagej.tif", DType::i32, true},
               {"ome_tiled_lzw.ome.tif", DType::i32, true},
               {"big_endian_deflate.tif", DType::f32, false}};
  for (const auto& f : files) {
    const Volume v = read_tiff(goldens + f.file);
    EXPECT_EQ(v.image.shape(), Shape({3, 20, 17})) << f.file;
    EXPECT_EQ(v.image.dtype(), f.dtype) << f.file;
    EXPECT_EQ(v.image.to_vector(), golden_values()) << f.file;
    EXPECT_EQ(v.spacing_known, f.spacing) << f.file;
    const std::array<double, 3> expected = {0.5, 0.2, 0.1};
    for (std::size_t i = 0; i < 3 && f.spacing; ++i) EXPECT_NEAR(v.spacing[i], expected[i], 1e-6) << f.file;
  }
  EXPECT_EQ(read_tiff(goldens + "imagej.tif", {.dtype = DType::f32}).image.dtype(), DType::f32);
}

TEST(Tiff, RoundTrip) {
  const TempFolder folder;
  const struct {
    DType dtype, read_as;
    double lo, hi;
  } types[] = {{DType::u8, DType::u8, 0, 255},        {DType::i32, DType::i32, 0, 65'535}, {DType::i64, DType::i32, -1e9, 1e9},
               {DType::f32, DType::f32, -1000, 1000}, {DType::f64, DType::f32, 0, 100},    {DType::bf16, DType::f32, 0, 100}};
  for (const auto& t : types)
    for (const Shape& shape : {Shape{1, 1, 1}, Shape{3, 20, 17}, Shape{2, 40, 33}})
      for (const TiffWriteOptions& o : {TiffWriteOptions{}, {.compress = true}, {.tile = 16}, {.compress = true, .tile = 32}}) {
        Volume v;
        v.image = test::random(shape, {.dtype = t.dtype, .lo = t.lo, .hi = t.hi, .integers = true});
        v.spacing = {0.35, 0.0981, 0.0982};
        v.spacing_known = true;
        write_tiff(folder / "a.tif", v, o);
        const Volume back = read_tiff(folder / "a.tif");
        EXPECT_EQ(back.image.dtype(), t.read_as) << t.dtype;
        EXPECT_TRUE(equal(back.image, v.image)) << t.dtype << shape << o.compress << o.tile;
        ASSERT_TRUE(back.spacing_known);
        for (std::size_t i = 0; i < 3; ++i) EXPECT_NEAR(back.spacing[i], v.spacing[i], 1e-6);
      }
}

TEST(Tiff, RefusesWithAReason) {
  const TempFolder folder;
  ::testing::internal::CaptureStderr();
  const struct {
    std::vector<RawPage> pages;
    const char *description, *message;
  } cases[] = {
      {{{}, {.width = 5}}, nullptr, "page 1 is 5 x 3, 16 bits, page 0 is 4 x 3"},
      {{{}, {.bits = 8}}, nullptr, "page 1 is 4 x 3, 8 bits"},
      {{{.bits = 8, .samples = 3, .photometric = PHOTOMETRIC_RGB}}, nullptr, "3 samples a pixel"},
      {{{.bits = 1}}, nullptr, "1-bit samples"},
      {{{.bits = 64, .format = SAMPLEFORMAT_IEEEFP}}, nullptr, "64-bit samples"},
      {{{.bits = 16, .format = SAMPLEFORMAT_IEEEFP}}, nullptr, "16-bit samples of format 3"},
      {{{}, {}}, "ImageJ=1.11a\nimages=2\nchannels=2\n", "2 channels"},
      {{{}, {}}, "ImageJ=1.11a\nimages=2\nframes=2\n", "2 time points"},
      {{{}, {}}, "<OME><Pixels SizeC=\"2\" SizeT=\"1\"/></OME>", "2 channels"},
  };
  for (const auto& c : cases) {
    write_raw(folder / "a.tif", c.pages, c.description);
    const std::string text = error_of([&] { read_tiff(folder / "a.tif"); });
    EXPECT_NE(text.find(c.message), std::string::npos) << c.message << ": " << text;
  }
  spit(folder / "a.tif", "not a tiff file");
  EXPECT_NE(error_of([&] { read_tiff(folder / "a.tif"); }).find("a.tif: tiff: "), std::string::npos);
  EXPECT_THROW(read_tiff(folder / "none.tif"), DataError);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "") << "libtiff's messages belong into ours";

  write_raw(folder / "white.tif", {{.photometric = PHOTOMETRIC_MINISWHITE}});
  EXPECT_EQ(read_tiff(folder / "white.tif").image.to_vector()[0], 65'535 - 0x0101);
  Volume v;
  v.image = full({1, 1, 1}, 1e12, {.dtype = DType::i64});
  EXPECT_THROW(write_tiff(folder / "b.tif", v), Error);
  v.image = zeros({2, 2});
  EXPECT_THROW(write_tiff(folder / "b.tif", v), Error);
}

TEST(Tiff, HugeClaimsAreRefused) {
  const TempFolder folder;
  const test::FrugalScope frugal;
  for (const bool compressed : {false, true}) {
    write_raw(folder / "a.tif", {{.compression = compressed ? COMPRESSION_ADOBE_DEFLATE : COMPRESSION_NONE}});
    std::string bytes = slurp(folder / "a.tif");
    // Entries of the directory: tag, type, count, value. Make width and height 60,000 each.
    int changed = 0;
    for (std::size_t i = 8; i + 12 <= bytes.size(); ++i)
      if ((bytes.compare(i, 4, std::string("\x00\x01\x03\x00", 4)) == 0 ||
           bytes.compare(i, 4, std::string("\x01\x01\x03\x00", 4)) == 0) &&
          bytes.compare(i + 4, 4, std::string("\x01\x00\x00\x00", 4)) == 0) {
        bytes[i + 8] = '\x60';
        bytes[i + 9] = '\xea';
        ++changed;
      }
    ASSERT_EQ(changed, 2);
    spit(folder / "b.tif", bytes);
    const std::string error = error_of([&] { read_tiff(folder / "b.tif"); });  // newer libtiff refuses to open such a file
    EXPECT_TRUE(error.find("do not fit") != error.npos || error.find("claims more than") != error.npos) << error;
  }
}

TEST(Tiff, TruncationsAndMutations) {
  const TempFolder folder;
  ::testing::internal::CaptureStderr();
  const test::FrugalScope frugal;
  int accepted = 0;
  for (const char* name : {"imagej.tif", "ome_tiled_lzw.ome.tif", "big_endian_deflate.tif"}) {
    const std::string whole = slurp(goldens + name);
    for (std::size_t n = 0; n < whole.size(); n += 1 + n / 200) {
      spit(folder / "cut", whole.substr(0, n));
      const std::string text = error_of([&] { read_tiff(folder / "cut"); });
      // What is missing may be something no reader needs, but never pixels.
      if (!text.empty()) continue;
      EXPECT_EQ(read_tiff(folder / "cut").image.to_vector(), golden_values()) << name << " " << n;
    }
    for (std::uint64_t i = 0; i < 2000; ++i) {
      spit(folder / "m", test::mutated(whole, i, i % 2 ? 400 : whole.size()));
      accepted += error_of([&] { read_tiff(folder / "m"); }).empty();
    }
  }
  EXPECT_GT(accepted, 100);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

}  // namespace

#endif
