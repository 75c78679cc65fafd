// SPDX-License-Identifier: Apache-2.0
#include "data/formats/npy.h"

#include "data/formats/npz.h"
#include "tests/data/formats.h"

using namespace cuboid;
using test::equal, test::error_of, test::slurp, test::spit, test::TempFolder;

namespace {

const std::string goldens = "tests/goldens/";

std::string npy(const std::string& dictionary, std::size_t data_bytes, char version = 1) {
  std::string bytes("\x93NUMPY", 6);
  bytes += version;
  bytes += '\0';
  bytes += static_cast<char>(dictionary.size() & 0xff);
  bytes += static_cast<char>(dictionary.size() >> 8);
  if (version > 1) bytes += std::string(2, '\0');
  return bytes + dictionary + std::string(data_bytes, '\0');
}
std::string dictionary(const std::string& descr, const std::string& shape, const std::string& order = "False") {
  return "{'descr': " + descr + ", 'fortran_order': " + order + ", 'shape': " + shape + ", }\n";
}

#if defined(CUBOID_ZIP)
TEST(Npy, ReadsWhatNumpyWrites) {
  // Every type in C order, Fortran order and big endian; the values are 0, 1, 2, ... (or their truth).
  const auto all = read_npz_all(goldens + "numpy.npz");
  const auto arrays = list_npz(goldens + "numpy.npz");
  ASSERT_EQ(all.size(), 39u);
  int checked = 0;
  for (const auto& [name, t] : all) {
    if (name == "scalar" || name == "empty" || name == "vector") continue;
    const std::string type = name.substr(name.find('_') + 1);
    EXPECT_EQ(t.shape(), Shape({2, 3, 4})) << name;
    std::vector<double> expected;
    for (int i = 0; i < 24; ++i) expected.push_back(type == "bool" ? i > 0 : i);
    EXPECT_EQ(t.to_vector(), expected) << name;
    const DType dtype = type == "bool" || type == "uint8"                                          ? DType::u8
                        : type == "int8" || type == "int16" || type == "uint16" || type == "int32" ? DType::i32
                        : type == "uint32" || type == "int64" || type == "uint64"                  ? DType::i64
                        : type == "float16"                                                        ? DType::f16
                        : type == "float32"                                                        ? DType::f32
                                                                                                   : DType::f64;
    EXPECT_EQ(t.dtype(), dtype) << name;
    EXPECT_TRUE(t.is(Layout::contiguous)) << name;
    EXPECT_EQ(read_npz(goldens + "numpy.npz", name, {.dtype = DType::f32}).dtype(), DType::f32);
    ++checked;
  }
  EXPECT_EQ(checked, 36);
  EXPECT_EQ(read_npz(goldens + "numpy.npz", "scalar").item(), 2.5);
  EXPECT_EQ(read_npz(goldens + "numpy.npz", "empty").shape(), Shape({0, 3}));
  EXPECT_EQ(read_npz(goldens + "numpy.npz", "vector").to_vector(), (std::vector<double>{0, 1, 2, 3, 4}));
  EXPECT_NE(error_of([] { read_npz(goldens + "numpy.npz"); }).find("holds several arrays, name one of: "), std::string::npos);
  EXPECT_NE(error_of([] { read_npz(goldens + "numpy.npz", "x"); }).find("has no array \"x\""), std::string::npos);
}
#endif

TEST(Npy, VersionsAndCompression) {
  std::vector<double> expected;
  for (int i = 0; i < 24; ++i) expected.push_back(i);
  for (const char* file : {"numpy_v1.npy", "numpy_v2.npy", "numpy_v3.npy", "numpy.npy.gz"}) {
    const Tensor t = read_npy(goldens + file);
    EXPECT_EQ(t.shape(), Shape({2, 3, 4})) << file;
    EXPECT_EQ(t.to_vector(), expected) << file;
  }
  EXPECT_EQ(read_npy_header(goldens + "numpy_v3.npy").version, 3);
  EXPECT_EQ(read_npy_header(goldens + "numpy_v1.npy").type_name(), "<i2");
  EXPECT_EQ(read_npy_header(goldens + "numpy.npy.gz").shape, Shape({2, 3, 4}));
}

TEST(Npy, RoundTrip) {
  const TempFolder folder;
  for (const DType t : {DType::f32, DType::f64, DType::bf16, DType::f16, DType::i64, DType::i32, DType::u8})
    for (const Shape& shape : {Shape{}, Shape{3}, Shape{2, 3, 4}, Shape{0, 2}, Shape{1, 2, 3, 4, 5}, Shape{300'000}})
      for (const auto lies : test::every_way) {
        const Tensor x = test::random(shape, {.dtype = t, .lo = 0, .hi = 100, .integers = true});
        write_npy(folder / "a.npy", test::laid(x, lies));
        const Tensor y = read_npy(folder / "a.npy");
        EXPECT_EQ(y.dtype(), t == DType::bf16 ? DType::f32 : t);
        EXPECT_TRUE(equal(y, x)) << t << shape << name_of(lies);
        EXPECT_EQ(read_npy_header(folder / "a.npy").header_bytes % 64, 0);
      }
}

TEST(Npy, RowsOfALargerArray) {
  const TempFolder folder;
  const Tensor x = test::random({7, 3, 5}, {.dtype = DType::f32});
  write_npy(folder / "a.npy", x);
  const Tensor rows = read_npy_rows(folder / "a.npy", 2, 3);
  EXPECT_TRUE(equal(rows, Tensor(x.storage(), 30, {3, 3, 5}, x.strides(), DType::f32)));
  EXPECT_EQ(read_npy_rows(folder / "a.npy", 7, 0).shape(), Shape({0, 3, 5}));
  EXPECT_EQ(error_of([&] { read_npy_rows(folder / "a.npy", 5, 3); }),
            (folder / "a.npy").string() + ": has 7 rows; 3 from 5 are wanted");
  EXPECT_THROW(read_npy_rows(folder / "a.npy", -1, 1), DataError);
}

TEST(Npy, Uint64BeyondInt64IsAnError) {
  const TempFolder folder;
  spit(folder / "a", npy(dictionary("'<u8'", "(1,)"), 0) + std::string(8, '\xff'));
  EXPECT_NE(error_of([&] { read_npy(folder / "a"); }).find("does not fit"), std::string::npos);
  EXPECT_EQ(read_npy(folder / "a", {.dtype = DType::f64}).item(), 0x1p64);
}

TEST(Npy, RefusesMalformedFiles) {
  const TempFolder folder;
  const std::string good = dictionary("'<f4'", "(2,)");
  const struct {
    const char* what;
    std::string bytes, message;
  } cases[] = {
      {"empty", "", "not an npy file"},
      {"magic", "\x93NUMPX\x01", "not an npy file"},
      {"version 0", npy(good, 8, 0), "npy version 0.0"},
      {"version 4", npy(good, 8, 4), "npy version 4.0"},
      {"length cut", std::string("\x93NUMPY\x01\x00\x10", 9), "cut off"},
      {"header beyond the file", std::string("\x93NUMPY\x02\x00\xff\xff\xff\xff", 12), "npy header of 4294967295 bytes"},
      {"object array", npy(dictionary("'|O'", "(2,)"), 16), "pickled"},
      {"object, other spelling", npy(dictionary("'O'", "(2,)"), 16), "pickled"},
      {"structured", npy(dictionary("[('a', '<f4')]", "(2,)"), 8), "structured arrays"},
      {"unicode", npy(dictionary("'<U4'", "(2,)"), 32), "type '<U4' is not read"},
      {"bytes", npy(dictionary("'|S4'", "(2,)"), 8), "is not read"},
      {"complex", npy(dictionary("'<c8'", "(2,)"), 16), "type '<c8' is not read"},
      {"f16", npy(dictionary("'<f16'", "(2,)"), 32), "is not read"},
      {"f1", npy(dictionary("'<f1'", "(2,)"), 2), "is not read"},
      {"order unknown", npy(dictionary("'|i4'", "(2,)"), 8), "byte order"},
      {"datetime", npy(dictionary("'<M8'", "(2,)"), 16), "is not read"},
      {"data cut", npy(good, 7), "cut off"},
      {"trailing data", npy(good, 9), "more bytes follow"},
      {"negative", npy(dictionary("'<f4'", "(-2,)"), 8), "a dimension is expected"},
      {"overflowing dimension", npy(dictionary("'<f4'", "(99999999999999999999,)"), 8), "overflows"},
      {"overflowing product", npy(dictionary("'<f4'", "(4294967296, 4294967296)"), 8), "overflow"},
      {"overflow hidden by zero", npy(dictionary("'<f4'", "(4294967296, 4294967296, 0)"), 0), "overflow"},
      {"huge", npy(dictionary("'<f4'", "(1000000000000,)"), 8), "needs 4000000000000 bytes"},
      {"nine dimensions", npy(dictionary("'<f4'", "(1, 1, 1, 1, 1, 1, 1, 1, 1)"), 4), "more dimensions"},
      {"number as shape", npy(dictionary("'<f4'", "(2)"), 8), "malformed shape"},
      {"list as shape", npy(dictionary("'<f4'", "[2]"), 8), "malformed"},
      {"float dimension", npy(dictionary("'<f4'", "(2.0,)"), 8), "malformed"},
      {"order not a truth value", npy(dictionary("'<f4'", "(2,)", "0"), 8), "True or False"},
      {"key missing", npy("{'descr': '<f4', 'shape': (2,), }\n", 8), "missing"},
      {"key twice", npy("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n", 8), "given twice"},
      {"key unknown", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 1}\n", 8), "unknown key"},
      {"code", npy("{'descr': __import__('os'), 'fortran_order': False, 'shape': (2,)}\n", 8), "a quoted name"},
      {"text behind", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} + x\n", 8), "something follows"},
      {"quote open", npy("{'descr': '<f4", 8), "not closed"},
      {"truth value 2", npy(dictionary("'|b1'", "(1,)"), 0) + "\x02", "neither 0 nor 1"},
  };
  for (const auto& c : cases) {
    spit(folder / "bad.npy", c.bytes);
    const std::string text = error_of([&] { read_npy(folder / "bad.npy"); });
    EXPECT_NE(text.find(c.message), std::string::npos) << c.what << ": " << (text.empty() ? "accepted" : text);
    EXPECT_NE(text.find("bad.npy"), std::string::npos) << c.what;
  }
  for (const auto& sound : {npy(good, 8), npy("{\"descr\":\"<f4\",\"fortran_order\":False,\"shape\":(2,)}", 8),
                            npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2L,), }", 8), npy(good, 8, 2)}) {
    spit(folder / "good.npy", sound);
    EXPECT_EQ(error_of([&] { read_npy(folder / "good.npy"); }), "");
  }
}

TEST(Npy, EveryTruncationIsNoticed) {
  const TempFolder folder;
  for (const char* name : {"numpy_v1.npy", "numpy_v2.npy", "numpy.npy.gz"}) {
    const std::string whole = slurp(goldens + name);
    ASSERT_FALSE(whole.empty());
    for (std::size_t n = 0; n < whole.size(); ++n) {
      spit(folder / "cut", whole.substr(0, n));
      ASSERT_NE(error_of([&] { read_npy(folder / "cut"); }), "") << name << ": " << n << " of " << whole.size() << " bytes";
    }
  }
}

TEST(Npy, GzipDamageAndTrailers) {
  const TempFolder folder;
  const std::string whole = slurp(goldens + "numpy.npy.gz");
  for (const std::size_t from_end : {1u, 5u, 8u}) {  // length and checksum
    std::string bytes = whole;
    bytes[bytes.size() - from_end] ^= 1;
    spit(folder / "a", bytes);
    EXPECT_NE(error_of([&] { read_npy(folder / "a"); }), "") << from_end;
  }
  spit(folder / "a", whole + whole);
  EXPECT_NE(error_of([&] { read_npy(folder / "a"); }).find("something follows"), std::string::npos);
}

TEST(Npy, MutatedFilesNeverCrash) {
  const TempFolder folder;
  const test::FrugalScope frugal;
  int accepted = 0;
  for (const char* name : {"numpy_v1.npy", "numpy_v3.npy", "numpy.npy.gz"}) {
    const std::string seed = slurp(goldens + name);
    for (std::uint64_t i = 0; i < 5000; ++i) {
      spit(folder / "m", test::mutated(seed, i, 140));
      accepted += error_of([&] { read_npy(folder / "m"); }).empty();
    }
  }
  EXPECT_GT(accepted, 100);
}

TEST(Npy, ObjectArraysOfTheCorpusAreRefused) {
  SAMPLE_DATA_OR_SKIP(folder, "parsers/npy_numpy");
  for (const auto& path : test::files_in(folder)) {
    const bool zip = path.extension() == ".npz";
    const std::string text = error_of([&] { zip ? read_npz(path) : read_npy(path); });
    EXPECT_NE(text.find("pickled"), std::string::npos) << path << ": " << text;
  }
}

TEST(Npy, RealCells) {
  SAMPLE_DATA_OR_SKIP(cells, "cell3d_cls/rbc_shapr/rbc_obj_u8_135x64x64x64.npy.gz");
  const Tensor t = read_npy(cells);
  EXPECT_EQ(t.shape(), Shape({135, 64, 64, 64}));
  EXPECT_EQ(t.dtype(), DType::u8);
  SAMPLE_DATA_OR_SKIP(tomogram, "cell3d_ri/hl60_odt/hl60_ri_x10000_u16_128x128x128.npy");
  const auto values = read_npy(tomogram, {.dtype = DType::f64}).to_vector();
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  EXPECT_EQ(*low, 13295);  // the range its description gives
  EXPECT_EQ(*high, 13654);
}

}  // namespace
