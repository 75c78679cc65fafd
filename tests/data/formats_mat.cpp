// SPDX-License-Identifier: Apache-2.0
#include "data/formats/mat.h"

#include <cstring>

#include "data/convert.h"
#include "tests/data/formats.h"

using namespace cuboid;
using test::equal, test::error_of, test::slurp, test::spit, test::TempFolder;

namespace {

const std::string goldens = "tests/goldens/";
using std::string_literals::operator""s;

std::string word(std::uint32_t w) { return std::string(reinterpret_cast<const char*>(&w), 4); }
std::string element(std::uint32_t type, std::string content) {
  std::string bytes = word(type) + word(static_cast<std::uint32_t>(content.size())) + content;
  return bytes + std::string((8 - content.size() % 8) % 8, '\0');
}
std::string zlib_packed(const std::string& bytes) {
  ZlibPacker packer;
  packer.write(bytes.data(), bytes.size());
  return packer.finish();
}
/// A file of version 5 with these elements.
std::string file(const std::string& elements, const std::string& version = "\0\1IM"s) {
  return std::string(124, ' ') + version + elements;
}
/// A 2 x 3 double array "a" stored as bytes 1..6, with any part replaced.
struct Parts {
  std::string flags = word(6) + word(0), dims = word(2) + word(3), name = "a", values = "\1\2\3\4\5\6";
  std::uint32_t flags_type = 6, dims_type = 5, name_type = 1, values_type = 2;
  std::string body() const {
    return element(flags_type, flags) + element(dims_type, dims) + element(name_type, name) + element(values_type, values);
  }
};
std::string array(const Parts& p) { return element(14, p.body()); }

TEST(Mat, ReadsWhatScipyWrites) {
  // Element n of 3 x 2 x 4 (rows, columns, slices) in C order is n, moved and scaled per class.
  const struct {
    const char* name;
    DType dtype;
    double scale, shift;
  } cases[] = {{"u8", DType::u8, 1, 0},          {"i16", DType::i32, 1, -7},      {"single", DType::f32, 0.125, 0},
               {"double", DType::f64, 0.125, 0}, {"u16", DType::i32, 1000, 0},    {"i8", DType::i32, 1, -7},
               {"u32", DType::i64, 1, 4e9},      {"i32", DType::i32, 7e4, -49e4}, {"i64", DType::i64, 0x1p40, 0},
               {"u64", DType::i64, 1, 0}};
  for (const char* name : {"scipy_v6.mat", "scipy_v7.mat"}) {
    std::size_t seen = 0;
    for (const auto& v : list_mat(goldens + name))
      for (const auto& c : cases) {
        if (v.name != c.name) continue;
        ++seen;
        const Tensor t = read_mat(goldens + name, c.name);
        EXPECT_EQ(t.shape(), Shape({4, 3, 2})) << c.name;
        EXPECT_EQ(t.dtype(), c.dtype) << c.name;
        EXPECT_EQ(read_mat(goldens + name, c.name, {.dtype = DType::f32}).dtype(), DType::f32);
        const auto values = t.to_vector();
        for (std::size_t z = 0; z < 4; ++z)
          for (std::size_t y = 0; y < 3; ++y)
            for (std::size_t x = 0; x < 2; ++x)
              ASSERT_EQ(values[(z * 3 + y) * 2 + x], static_cast<double>(y * 8 + x * 4 + z) * c.scale + c.shift) << c.name;
      }
    EXPECT_EQ(seen, name == "scipy_v6.mat"s ? 4u : 10u);
    const auto truth = read_mat(goldens + name, "truth");
    EXPECT_EQ(truth.dtype(), DType::u8);
    EXPECT_EQ(truth.to_vector()[2 * 6], 0) << "element 2 is not divisible by 3";
    EXPECT_EQ(truth.to_vector()[3 * 6], 1);
  }
  const std::string v7 = goldens + "scipy_v7.mat";
  EXPECT_EQ(read_mat(v7, "matrix").to_vector(), (std::vector<double>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(read_mat(v7, "matrix").shape(), Shape({2, 3}));
  EXPECT_EQ(read_mat(v7, "scalar").item(), 2000);
  EXPECT_EQ(read_mat(v7, "empty").shape(), Shape({0, 3}));
  const Tensor four = read_mat(v7, "four");  // 2 x 3 x 4 x 5
  EXPECT_EQ(four.shape(), Shape({5, 4, 2, 3}));
  EXPECT_EQ(four.to_vector()[((2 * 4 + 1) * 2 + 1) * 3 + 2], 1 * 60 + 2 * 20 + 1 * 5 + 2);
}

TEST(Mat, RefusesWhatIsNoPlainArray) {
  const std::string v7 = goldens + "scipy_v7.mat";
  for (const char* name : {"text", "complex", "cell", "struct", "sparse"}) {
    const std::string text = error_of([&] { read_mat(v7, name); });
    EXPECT_NE(text.find("\"" + std::string(name) + "\" is "), std::string::npos) << text;
    EXPECT_NE(text.find("real full numeric and logical arrays are read"), std::string::npos) << text;
  }
  EXPECT_NE(error_of([&] { read_mat(v7, "nothing"); }).find("has no variable \"nothing\"; there are: u8 (3x2x4 uint8), "),
            std::string::npos);
  EXPECT_NE(error_of([&] { read_mat(v7); }).find("holds several arrays, name one of: "), std::string::npos);
}

TEST(Mat, RoundTrip) {
  const TempFolder folder;
  for (const bool compress : {false, true})
    for (const DType t : {DType::f32, DType::f64, DType::i64, DType::i32, DType::u8})
      for (const Shape& shape :
           {Shape{}, Shape{3}, Shape{2, 3}, Shape{4, 3, 5}, Shape{2, 4, 3, 5}, Shape{0, 2}, Shape{1, 300, 301}})
        for (const auto lies : test::every_way) {
          const Tensor x = test::random(shape, {.dtype = t, .lo = 0, .hi = 100, .integers = true});
          write_mat(folder / "a.mat", {{"x", test::laid(x, lies), stored_as(t)}}, compress);
          const Tensor y = read_mat(folder / "a.mat");
          EXPECT_EQ(y.dtype(), t);
          EXPECT_EQ(y.to_vector(), x.to_vector()) << t << shape << name_of(lies);
          EXPECT_EQ(y.shape(), shape.rank() == 0 ? Shape({1, 1}) : shape.rank() == 1 ? Shape({1, 3}) : shape);
        }
}

TEST(Mat, WritesAsTheOriginalDid) {  // distances x 2000 as int16, the input as uint8
  const TempFolder folder;
  const Tensor distance = from_values<float>({0.25f, -3.00026f, 16.5f, -99, NAN, 0.00025f}, {1, 2, 3});
  Tensor thousands = empty(distance.shape());
  for (std::int64_t i = 0; i < 6; ++i) thousands.mutable_data<float>()[i] = distance.data<float>()[i] * 2000;
  write_mat(folder / "a.mat", {{"coeff_mag", full({1, 1}, 2000), Number::f64},
                               {"input", full({1, 2, 3}, 300), Number::u8},
                               {"output", thousands, Number::i16}});
  EXPECT_EQ(read_mat(folder / "a.mat", "coeff_mag").item(), 2000);
  EXPECT_EQ(read_mat(folder / "a.mat", "input").to_vector(), std::vector<double>(6, 255));
  EXPECT_EQ(read_mat(folder / "a.mat", "output").to_vector(), (std::vector<double>{500, -6001, 32'767, -32'768, 0, 1}));
  const auto all = list_mat(folder / "a.mat");
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[2].type, "int16");
  EXPECT_EQ(all[2].shape, Shape({2, 3, 1}));
  EXPECT_NE(error_of([&] {
              write_mat(folder / "b.mat", {{"2d", distance, Number::f32}});
            }).find("not a name MATLAB can have"),
            std::string::npos);
  EXPECT_NE(error_of([&] {
              write_mat(folder / "b.mat", {{"a", distance, Number::f32}, {"a", distance, Number::f32}});
            }).find("twice"),
            std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(folder / "b.mat"));
}

TEST(Mat, ConvertsAndIsFoundByContent) {
  const TempFolder folder;
  const Volume v{.image = test::random({4, 3, 5}, {.dtype = DType::f32})};
  save_volume(folder / "a.mat", v);
  std::filesystem::rename(folder / "a.mat", folder / "a.x");
  EXPECT_TRUE(equal(load_volume(folder / "a.x").image, v.image));
  EXPECT_TRUE(equal(load_volume(folder / "a.x", {.entry = "image"}).image, v.image));
}

TEST(Mat, RefusesMalformedFiles) {
  const TempFolder folder;
  const Parts p;
  const auto with = [&](auto change) {
    Parts q;
    change(q);
    return file(array(q));
  };
  std::string big = file(array(p), "\1\0MI"s);
  const std::string v73 = "MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Sat Nov 21 19:00:00 2026 HDF5 schema 1.00 .";
  const struct {
    const char* what;
    std::string bytes, message;
  } cases[] = {
      {"short", "MATLAB 5.0", "10 bytes; a header has 128"},
      {"other", std::string(200, 'x'), "no MATLAB 5 file"},
      {"version 7.3", v73 + std::string(124 - v73.size(), ' ') + "\0\2IM"s + std::string(400, '\0'), "save(file, names, '-v7')"},
      {"HDF5", "\x89HDF\r\n\x1a\n" + std::string(300, '\0'), "save(file, names, '-v7')"},
      {"nothing in it", file(""), "holds no variable"},
      {"a tag cut", file("\16\0\0\0"s), "cut off within a tag"},
      {"element beyond the file", file(word(14) + word(1000)), "cut off: an element of 1000 bytes"},
      {"another element", file(element(9, "12345678")), "an element of type 9"},
      {"the other byte order", big, "cut off"},
      {"no flags", with([](Parts& q) { q.flags_type = 5; }), "without flags"},
      {"class 0", with([](Parts& q) { q.flags = word(0) + word(0); }), "unknown array class 0"},
      {"class 99", with([](Parts& q) { q.flags = word(99) + word(0); }), "unknown array class 99"},
      {"no dimensions", with([](Parts& q) { q.dims_type = 6; }), "without dimensions"},
      {"one dimension", with([](Parts& q) { q.dims = word(2); }), "without dimensions"},
      {"nine dimensions", with([](Parts& q) { q.dims = std::string(36, '\1'); }), "36 bytes where at most 32 can be"},
      {"negative", with([](Parts& q) { q.dims = word(2) + word(0xffffffff); }), "dimension 1 is -1"},
      {"overflow", with([](Parts& q) { q.dims = word(0x7fffffff) + word(0x7fffffff) + word(0x7fffffff); }), "overflow"},
      {"overflow behind a zero",
       with([](Parts& q) { q.dims = word(0x7fffffff) + word(0x7fffffff) + word(0x7fffffff) + word(0); }), "overflow"},
      {"too few values", with([](Parts& q) { q.values = "\1\2\3\4\5"; }), "needs 6 bytes, the element has 5"},
      {"values of no type", with([](Parts& q) { q.values_type = 8; }), "values of unknown type 8"},
      {"values are an array", with([](Parts& q) { q.values_type = 14; }), "values of unknown type 14"},
      {"a name without end", with([](Parts& q) { q.name = std::string(5000, 'a'); }), "5000 bytes where at most 4096"},
      {"bytes behind the values", file(element(14, p.body() + "12345678")), "8 bytes follow its values"},
      {"twice", file(array(p) + array(p)), "\"a\" is there twice"},
      {"element larger than its array", file(element(14, element(6, p.flags) + word(5) + word(24))), "larger"},
      {"small element of 5 bytes", file(element(14, word(6 | 5 << 16) + "12345678901234567890")), "a small element of 5 bytes"},
      {"packed nonsense", file(word(15) + word(8) + "12345678"), "bad.mat"},
      {"packed text", file([] {
         const std::string z = zlib_packed(word(9) + word(8) + "12345678");
         return word(15) + word(static_cast<std::uint32_t>(z.size())) + z;
       }()),
       "packed data that is no array"},
      {"packed, 4 GB promised", file([] {
         const std::string z = zlib_packed(word(14) + word(0xfffffff8) + std::string(100'000, '\0'));
         return word(15) + word(static_cast<std::uint32_t>(z.size())) + z;
       }()),
       "of an impossible size (4294967288 bytes)"},
  };
  for (const auto& c : cases) {
    spit(folder / "bad.mat", c.bytes);
    const std::string text = error_of([&] { load_volume(folder / "bad.mat"); });
    EXPECT_NE(text.find(c.message), std::string::npos) << c.what << ": " << (text.empty() ? "accepted" : text);
    EXPECT_NE(text.find("bad.mat"), std::string::npos) << c.what;
  }
  spit(folder / "good.mat", file(array(p)));
  EXPECT_EQ(read_mat(folder / "good.mat").to_vector(), (std::vector<double>{1, 3, 5, 2, 4, 6}));
  // The same array as a big-endian machine writes it.
  const auto swapped = [](std::uint32_t w) { return word(__builtin_bswap32(w)); };
  const std::string body = swapped(6) + swapped(8) + swapped(6) + swapped(0) + swapped(5) + swapped(8) + swapped(2) + swapped(3) +
                           swapped(1 << 16 | 1) + "a\0\0\0"s + swapped(3) + swapped(12) + "\0\1\0\2\0\3\0\4\0\5\0\6\0\0\0\0"s;
  spit(folder / "good.mat", file(swapped(14) + swapped(static_cast<std::uint32_t>(body.size())) + body, "\1\0MI"s));
  EXPECT_EQ(read_mat(folder / "good.mat").to_vector(), (std::vector<double>{1, 3, 5, 2, 4, 6}));
}

TEST(Mat, EveryTruncationIsNoticed) {
  const TempFolder folder;
  const std::string whole = slurp(goldens + "scipy_v6.mat");
  std::vector<std::string> names;
  for (const auto& v : list_mat(goldens + "scipy_v6.mat")) names.push_back(v.name);
  for (std::size_t n = 0; n < whole.size(); ++n) {
    spit(folder / "cut.mat", whole.substr(0, n));
    ASSERT_NE(error_of([&] {
                for (const auto& v : names)
                  if (v != "text") read_mat(folder / "cut.mat", v);
              }),
              "")
        << n << " of " << whole.size();
  }
  write_mat(folder / "one.mat", {{"x", test::random({4, 3, 5}), Number::f64}});
  const std::string packed = slurp(folder / "one.mat");
  for (std::size_t n = 0; n < packed.size(); ++n) {
    spit(folder / "cut.mat", packed.substr(0, n));
    ASSERT_NE(error_of([&] { read_mat(folder / "cut.mat", "x"); }), "") << n << " of " << packed.size();
  }
  for (std::size_t n = 136; n < packed.size(); ++n) {  // a checksum stands at the end of packed data
    std::string bytes = packed;
    bytes[n] ^= 4;
    spit(folder / "flip.mat", bytes);
    ASSERT_NE(error_of([&] { read_mat(folder / "flip.mat", "x"); }), "") << n;
  }
}

TEST(Mat, MutatedFilesNeverCrash) {
  const TempFolder folder;
  const test::FrugalScope frugal;
  int accepted = 0;
  const std::string plain = slurp(goldens + "scipy_v6.mat"), packed = slurp(goldens + "scipy_v7.mat");
  for (std::uint64_t i = 0; i < 8000; ++i) {
    spit(folder / "m.mat", test::mutated(i % 2 ? plain : packed, i, i % 4 < 2 ? 240 : 2000));
    accepted += error_of([&] {
                  for (const auto& v : list_mat(folder / "m.mat"))
                    if (v.readable) read_mat(folder / "m.mat", v.name);
                }).empty();
  }
  EXPECT_GT(accepted, 100);
}

}  // namespace
