// SPDX-License-Identifier: Apache-2.0
#include "data/formats/png.h"

#include "tests/data/formats.h"
#include "tests/sha256.h"

#if defined(CUBOID_PNG)

using namespace cuboid;
using test::equal, test::error_of, test::slurp, test::spit, test::TempFolder;

namespace {

TEST(Png, RoundTrip) {
  const TempFolder folder;
  for (const Shape& shape : {Shape{1, 1}, Shape{7, 5}, Shape{7, 5, 3}, Shape{3, 2, 4}, Shape{300, 200, 3}})
    for (const auto lies : test::every_way) {
      const Tensor x = test::random(shape, {.dtype = DType::u8, .lo = 0, .hi = 255, .integers = true});
      write_png(folder / "a.png", test::laid(x, lies));
      EXPECT_TRUE(equal(read_png(folder / "a.png"), x)) << shape << name_of(lies);
    }
  EXPECT_THROW(write_png(folder / "b.png", zeros({2, 2})), Error);
  EXPECT_THROW(write_png(folder / "b.png", zeros({2, 2, 2}, {.dtype = DType::u8})), Error);
  EXPECT_THROW(write_png(folder / "b.png", zeros({0, 2}, {.dtype = DType::u8})), Error);
  EXPECT_FALSE(std::filesystem::exists(folder / "b.png"));
}

TEST(Png, TruncationsAndMutations) {
  const TempFolder folder;
  const Tensor x = test::random({9, 7, 3}, {.dtype = DType::u8, .lo = 0, .hi = 255, .integers = true});
  const std::string whole = png_bytes(x);
  for (std::size_t n = 0; n < whole.size(); ++n) {
    spit(folder / "cut", whole.substr(0, n));
    ASSERT_NE(error_of([&] { read_png(folder / "cut"); }), "") << n << " of " << whole.size();
  }
  const test::FrugalScope frugal;
  for (std::uint64_t i = 0; i < 3000; ++i) {
    spit(folder / "m", test::mutated(whole, i, whole.size()));
    error_of([&] { read_png(folder / "m"); });
  }
}

TEST(Png, SuiteAgreesWithItsOracle) {
  SAMPLE_DATA_OR_SKIP(oracle, "oracles/png_pillow9.csv");
  const auto root = oracle.parent_path().parent_path();
  std::ifstream in(oracle);
  const test::FrugalScope frugal;
  int same = 0, refused = 0, palettes = 0;
  std::string line;
  while (std::getline(in, line)) {
    if (line.find("png_pngsuite/") == std::string::npos) continue;
    const auto cells = test::cells(line);
    Tensor image;
    const std::string text = error_of([&] { image = read_png(root / cells[0]); });
    if (cells[1] != "ok") {
      EXPECT_NE(text, "") << cells[0];
      ++refused;
      continue;
    }
    if (cells[0].ends_with("xcsn0g01.png")) {  // its pixels have a wrong checksum; the oracle does not look
      EXPECT_NE(text.find("CRC error"), std::string::npos);
      continue;
    }
    ASSERT_TRUE(image.defined()) << text;
    EXPECT_EQ(std::to_string(image.dim(1)), cells[2]) << cells[0];
    EXPECT_EQ(std::to_string(image.dim(0)), cells[3]) << cells[0];
    const std::string& mode = cells[4];
    if (mode == "P" || mode == "1") {  // the oracle keeps the palette's indices and packs bits
      ++palettes;
      continue;
    }
    // The oracle spreads 16-bit grey with alpha over RGBA, and keeps the upper half of 16-bit colours.
    const auto values = image.to_vector();
    const bool spread = mode == "RGBA" && image.dim(2) == 2;
    std::string bytes;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto v = static_cast<std::uint32_t>(values[i]);
      if (mode == "I") {
        for (int byte = 0; byte < 4; ++byte) bytes += static_cast<char>(v >> 8 * byte & 0xff);
      } else {
        bytes.append(spread && i % 2 == 0 ? 3 : 1, static_cast<char>(image.dtype() == DType::i32 ? v >> 8 : v));
      }
    }
    EXPECT_EQ(test::sha256(bytes), cells[5]) << cells[0] << " " << mode;
    ++same;
  }
  EXPECT_EQ(same, 96);
  EXPECT_EQ(palettes, 65);
  EXPECT_EQ(refused, 15);
}

TEST(Sha256, KnownAnswers) {  // FIPS 180-4, examples
  EXPECT_EQ(test::sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(test::sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(test::sha256(std::string(1'000'000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

}  // namespace

#endif
