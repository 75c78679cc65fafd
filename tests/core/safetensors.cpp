// SPDX-License-Identifier: Apache-2.0
#include "core/safetensors.h"

#include <cstring>

#include "core/json.h"
#include "core/random.h"
#include "tests/files.h"

using namespace cuboid;
using test::equal, test::error_of, test::slurp, test::spit, test::TempFolder;

namespace {

NamedTensors sample() {
  NamedTensors all;
  for (const DType t : {DType::u8, DType::f32, DType::f64, DType::bf16, DType::f16, DType::i64, DType::i32})
    all.emplace_back(std::string("net.0.") + name_of(t), test::random({2, 3}, {.dtype = t, .lo = 0, .hi = 9, .integers = true}));
  all.emplace_back("scalar", full({}, 2.5));
  all.emplace_back("nothing", zeros({0, 4}));
  return all;
}

std::string error_of_file(const std::filesystem::path& path) {
  return error_of([&] { read_safetensors(path); });
}

/// A file of a given header and so many data bytes, as an attacker would write it.
std::string crafted(const std::string& header, std::size_t data_bytes) {
  const std::uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + std::string(data_bytes, 'd');
}

TEST(Safetensors, RoundTrip) {
  const TempFolder folder;
  const auto tensors = sample();
  write_safetensors(folder / "a", tensors, {{"epoch", "12"}, {"note", "\xc3\xa9\n\"x\""}});
  const SafetensorsFile file(folder / "a");
  EXPECT_TRUE(file.has_checksums());
  EXPECT_EQ(file.metadata(), (Metadata{{"epoch", "12"}, {"note", "\xc3\xa9\n\"x\""}}));
  EXPECT_EQ(file.metadata("epoch"), "12");
  const auto back = file.read_all();
  ASSERT_EQ(back.size(), tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    EXPECT_EQ(back[i].first, tensors[i].first) << "in the order given";
    EXPECT_EQ(back[i].second.dtype(), tensors[i].second.dtype());
    EXPECT_TRUE(equal(back[i].second, tensors[i].second)) << tensors[i].first;
  }
  EXPECT_TRUE(equal(file.read("net.0.bf16"), tensors[3].second));
  EXPECT_EQ(file.find("net.0.f64").shape, Shape({2, 3}));
  EXPECT_EQ(file.find("net.0.f64").begin % 8, 0);
  EXPECT_EQ(error_of([&] { file.read("net.1"); }), (folder / "a").string() + ": has no tensor \"net.1\"");
}

TEST(Safetensors, AnyLayoutIsStoredRowMajor) {
  const TempFolder folder;
  const Tensor x = test::random({2, 3, 4, 5}, {.dtype = DType::f32});
  for (const auto how : test::every_way) {
    write_safetensors(folder / "a", {{"x", test::laid(x, how)}});
    EXPECT_TRUE(equal(SafetensorsFile(folder / "a").read("x"), x)) << name_of(how);
  }
}

TEST(Safetensors, SameInputSameBytes) {
  const TempFolder folder;
  write_safetensors(folder / "a", sample(), {{"k", "v"}});
  write_safetensors(folder / "b", sample(), {{"k", "v"}});
  EXPECT_EQ(slurp(folder / "a"), slurp(folder / "b"));
}

TEST(Safetensors, ReadsTheReferenceLibrarysFile) {
  const SafetensorsFile file("tests/goldens/reference.safetensors");
  EXPECT_FALSE(file.has_checksums());
  EXPECT_EQ(file.metadata("note"), "\xc3\xa9");
  const struct {
    const char* name;
    DType dtype;
    Shape shape;
    std::vector<double> values;
  } expected[] = {
      {"a.f32", DType::f32, {2, 3}, {-0.5, -0.25, 0, 0.25, 0.5, 0.75}},
      {"b.f64", DType::f64, {3}, {3.141592653589793, -0.0, INFINITY}},
      {"c.f16", DType::f16, {3}, {1, 0.5, 65504}},
      {"d.i64", DType::i64, {1, 2}, {0x1p62, -0x1p63}},
      {"e.i32", DType::i32, {2}, {-1, 2147483647}},
      {"f.u8", DType::u8, {3}, {0, 255, 7}},
      {"g.scalar", DType::f32, {}, {2.5}},
      {"h.empty", DType::f32, {0, 4}, {}},
      {"j.bf16", DType::bf16, {2}, {1.5, -3.140625}},
  };
  for (const auto& e : expected) {
    const Tensor t = file.read(e.name);
    EXPECT_EQ(t.dtype(), e.dtype) << e.name;
    EXPECT_EQ(t.shape(), e.shape) << e.name;
    EXPECT_EQ(t.to_vector(), e.values) << e.name;
  }
  EXPECT_EQ(file.find("i.bool").type, "BOOL") << "listed";
  EXPECT_EQ(error_of([&] { file.read("i.bool"); }),
            "tests/goldens/reference.safetensors: tensor \"i.bool\" has type BOOL; "
            "F32, F64, BF16, F16, I64, I32 and U8 are read");
}

TEST(Safetensors, RefusesToWriteNonsense) {
  const TempFolder folder;
  const Tensor x = zeros({1});
  EXPECT_THROW(write_safetensors(folder / "a", {{"x", x}, {"x", x}}), Error);
  EXPECT_THROW(write_safetensors(folder / "a", {{"__metadata__", x}}), Error);
  EXPECT_THROW(write_safetensors(folder / "a", {{"\xff", x}}), Error);
  EXPECT_THROW(write_safetensors(folder / "a", {{"x", Tensor()}}), Error);
  EXPECT_THROW(write_safetensors(folder / "a", {{"x", x}}, {{"cuboid.crc32c", "1"}}), Error);
  EXPECT_THROW(write_safetensors(folder / "a", {{"x", x}}, {{"k", "1"}, {"k", "2"}}), Error);
  EXPECT_TRUE(test::files_in(folder.path()).empty());
}

// One line of the reader's checklist each: a header, bytes of data, and what the message must say.
TEST(Safetensors, RefusesMalformedFiles) {
  const TempFolder folder;
  const auto entry = [](const std::string& rest) { return R"({"x":{"dtype":"F32",)" + rest + "}}"; };
  const std::string deep = R"({"x":{"dtype":"F32","shape":[[[[[[[1]]]]]]],"data_offsets":[0,4]}})";
  const struct {
    const char* what;
    std::string bytes, message;
  } cases[] = {
      {"empty file", "", "only 0 bytes"},
      {"no length", "1234567", "only 7 bytes"},
      {"empty header", std::string(8, '\0'), "header of 0 bytes"},
      {"header beyond the file", std::string("\xff\0\0\0\0\0\0\0{}", 10), "header of 255 bytes in a file of 10"},
      {"huge header", std::string(8, '\xff') + "{}", "header of 18446744073709551615 bytes"},
      {"not an object", crafted("[]", 0), "does not begin with {"},
      {"blank before", crafted(" {}", 0), "does not begin with {"},
      {"zero padding", crafted(std::string("{}\0\0", 4), 0), "does not end with }"},
      {"not UTF-8", crafted("{\"\xff\":1}", 0), "not UTF-8"},
      {"too deep", crafted(deep, 4), "nested more than 8 deep"},
      {"dimension 1e3", crafted(entry(R"("shape":[1e0],"data_offsets":[0,4])"), 4), "whole number"},
      {"dimension 1.0", crafted(entry(R"("shape":[1.0],"data_offsets":[0,4])"), 4), "whole number"},
      {"dimension -0", crafted(entry(R"("shape":[-0],"data_offsets":[0,0])"), 0), "whole number"},
      {"dimension -1", crafted(entry(R"("shape":[-1],"data_offsets":[0,4])"), 4), "dimension -1"},
      {"dimension 2^63", crafted(entry(R"("shape":[9223372036854775808],"data_offsets":[0,4])"), 4), "below 2^63"},
      {"dimension 2^64", crafted(entry(R"("shape":[18446744073709551616],"data_offsets":[0,4])"), 4), "whole number"},
      {"dimension a string", crafted(entry(R"("shape":["1"],"data_offsets":[0,4])"), 4), "whole number"},
      {"offset 2^63", crafted(entry(R"("shape":[1],"data_offsets":[0,9223372036854775808])"), 4), "below 2^63"},
      {"offset -1", crafted(entry(R"("shape":[1],"data_offsets":[-4,0])"), 4), "data_offsets -4"},
      {"three offsets", crafted(entry(R"("shape":[1],"data_offsets":[0,4,4])"), 4), "has 3 numbers"},
      {"product overflows", crafted(entry(R"("shape":[4294967296,4294967296],"data_offsets":[0,4])"), 4), "overflows"},
      {"bits overflow", crafted(entry(R"("shape":[576460752303423488],"data_offsets":[0,4])"), 4), "overflows"},
      {"nine dimensions", crafted(entry(R"("shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4])"), 4), "9 dimensions"},
      {"begin after end", crafted(entry(R"("shape":[1],"data_offsets":[4,0])"), 4), "data_offsets 4..0"},
      {"size disagrees", crafted(entry(R"("shape":[2],"data_offsets":[0,4])"), 4), "needs 8 bytes"},
      {"part of a byte", crafted(R"({"x":{"dtype":"F4","shape":[1],"data_offsets":[0,1]}})", 1), "whole byte"},
      {"unknown dtype", crafted(R"({"x":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}})", 4), "unknown dtype \"F33\""},
      {"missing member", crafted(R"({"x":{"dtype":"F32","shape":[1]}})", 4), "expected dtype, shape and data_offsets"},
      {"extra member", crafted(entry(R"("shape":[1],"data_offsets":[0,4],"more":1)"), 4), "expected dtype"},
      {"duplicate member", crafted(R"({"x":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4), "given twice"},
      {"duplicate tensor",
       crafted(R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})", 2),
       "given twice"},
      {"hole",
       crafted(R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"y":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})", 3),
       "hole"},
      {"hole at the start", crafted(R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})", 2), "hole"},
      {"overlap",
       crafted(R"({"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"y":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})", 3),
       "inside the one before"},
      {"data cut off", crafted(entry(R"("shape":[1],"data_offsets":[0,4])"), 3), "cut off"},
      {"trailing data", crafted(entry(R"("shape":[1],"data_offsets":[0,4])"), 5), "1 bytes follow"},
      {"metadata not strings", crafted(R"({"__metadata__":{"a":1}})", 0), "is not a string"},
      {"metadata not an object", crafted(R"({"__metadata__":"a"})", 0), "not an object"},
      {"newer format", crafted(R"({"__metadata__":{"cuboid.format":"2"}})", 0), "newer release"},
      {"checksums, header unprotected", crafted(R"({"__metadata__":{"cuboid.crc32c":"{}"}})", 0), "does not match its checksum"},
      {"text", "a text file that is much longer than eight bytes", "no safetensors file"},
  };
  for (const auto& c : cases) {
    spit(folder / "bad", c.bytes);
    const std::string text = error_of_file(folder / "bad");
    EXPECT_NE(text.find(c.message), std::string::npos) << c.what << ": " << (text.empty() ? "accepted" : text);
    EXPECT_NE(text.find("bad"), std::string::npos) << c.what << ": the message does not name the file: " << text;
  }
  // The crafted form itself is sound: without the flaw it is read.
  spit(folder / "good", crafted(entry(R"("shape":[1],"data_offsets":[0,4])") + "  ", 4));
  EXPECT_EQ(error_of_file(folder / "good"), "");
}

TEST(Safetensors, ManyTensorsAndLongHeadersHaveLimits) {
  const TempFolder folder;
  spit(folder / "a", crafted("{" + std::string(1000, ' ') + "}", 0));
  EXPECT_NO_THROW(SafetensorsFile(folder / "a"));
  EXPECT_THROW(SafetensorsFile(folder / "a", {.max_header_bytes = 1000}), DataError);
}

TEST(Safetensors, EveryTruncationIsNoticed) {
  const TempFolder folder;
  write_safetensors(folder / "a", {{"x", full({300}, 1)}, {"y", full({3}, 2, {.dtype = DType::u8})}}, {{"k", "v"}});
  const std::string whole = slurp(folder / "a");
  for (std::size_t n = 0; n < whole.size(); ++n) {
    spit(folder / "cut", whole.substr(0, n));
    ASSERT_NE(error_of_file(folder / "cut"), "") << n << " of " << whole.size() << " bytes";
  }
}

TEST(Safetensors, AppendedArchiveIsRefused) {
  const TempFolder folder;
  write_safetensors(folder / "a", {{"x", full({3}, 1)}});
  spit(folder / "b", slurp(folder / "a") + "PK\x05\x06" + std::string(18, '\0'));
  EXPECT_NE(error_of_file(folder / "b").find("22 bytes follow"), std::string::npos);
}

TEST(Safetensors, EveryFlippedBitIsNoticed) {
  const TempFolder folder;
  write_safetensors(folder / "a", sample(), {{"epoch", "12"}, {"best", "0.93"}});
  const std::string whole = slurp(folder / "a");
  const Random random({.seed = 8});
  // The whole file once, bit by bit, then random ones up to 10,000.
  const std::size_t bits = whole.size() * 8;
  for (std::size_t i = 0; i < std::max<std::size_t>(bits, 10'000); ++i) {
    const std::size_t bit = i < bits ? i : random_below({.seed = 8}, i, bits);
    std::string flipped = whole;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    spit(folder / "b", flipped);
    ASSERT_NE(error_of_file(folder / "b"), "") << "bit " << bit % 8 << " of byte " << bit / 8;
  }
}

TEST(Safetensors, DamageNamesTheTensor) {
  const TempFolder folder;
  write_safetensors(folder / "a", {{"first", full({4}, 1)}, {"second", full({4}, 1)}});
  std::string bytes = slurp(folder / "a");
  bytes[bytes.size() - 1] ^= 1;
  spit(folder / "a", bytes);
  EXPECT_EQ(error_of_file(folder / "a"),
            (folder / "a").string() + ": tensor \"second\" does not match its checksum; the file is damaged");
  EXPECT_NO_THROW(read_safetensors(folder / "a", {.verify_checksums = false}));
  EXPECT_NO_THROW(SafetensorsFile(folder / "a").read("first")) << "the rest can be saved";
}

TEST(Safetensors, MutatedFilesNeverCrash) {
  const TempFolder folder;
  // Without checksums, so that mutations reach the checks behind them.
  const std::string seeds[] = {
      slurp("tests/goldens/reference.safetensors"),
      crafted(R"({"x":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"y":{"dtype":"U8","shape":[3],"data_offsets":[8,11]}})",
              11)};
  const std::int64_t before = memory_stats().live;
  reset_peak_memory();
  int accepted = 0;
  for (std::uint64_t i = 0; i < 6000; ++i) {
    Random random({.seed = 13, .step = i});
    std::string bytes = seeds[i % 2];
    for (std::uint64_t n = 1 + random.below(3); n > 0; --n) {
      const std::size_t at = random.below(std::min<std::size_t>(bytes.size(), 700));
      switch (random.below(4)) {
        case 0:
          bytes[at] = static_cast<char>(random.below(256));
          break;
        case 1:
          bytes[at] = "0123456789[]{},\":-e."[random.below(20)];
          break;
        case 2:
          bytes.erase(at, 1 + random.below(4));
          break;
        default:
          bytes.insert(at, bytes.substr(random.below(bytes.size()), 1 + random.below(20)));
          break;
      }
    }
    if (i % 4 < 2) {  // keep the length true, so that the header is looked at
      const std::uint64_t length = seeds[i % 2].size() > 400 ? 0x260 : bytes.find("}}") + 2 - 8;
      std::memcpy(bytes.data(), &length, 8);
    }
    spit(folder / "m", bytes);
    accepted += error_of_file(folder / "m").empty();
  }
  EXPECT_GT(accepted, 10);
  EXPECT_EQ(memory_stats().live, before);
  EXPECT_LT(memory_stats().peak - before, 1 << 20);
}

}  // namespace
