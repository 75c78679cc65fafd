// SPDX-License-Identifier: Apache-2.0
#include "data/formats/npz.h"
#include "tests/data/formats.h"

#if defined(CUBOID_ZIP)

using namespace cuboid;
using test::equal, test::error_of, test::slurp, test::spit, test::TempFolder;

namespace {

const std::string goldens = "tests/goldens/";

/// Opens the archive and unpacks everything in it; returns the sum of bytes.
std::int64_t unpack(const std::filesystem::path& path) {
  const ZipArchive archive(path);
  std::int64_t total = 0;
  std::vector<char> piece(1 << 16);
  for (std::size_t i = 0; i < archive.members().size(); ++i) {
    const auto source = archive.open(i);
    for (std::size_t n; (n = source->read(piece.data(), piece.size())) > 0;) total += static_cast<std::int64_t>(n);
  }
  return total;
}

TEST(Npz, RoundTrip) {
  const TempFolder folder;
  const NamedTensors arrays = {{"image", test::random({2, 3, 4}, {.dtype = DType::f32})},
                               {"label", full({5}, 3, {.dtype = DType::i64})},
                               {"a/b", full({}, 1)}};
  write_npz(folder / "a.npz", arrays);
  const auto back = read_npz_all(folder / "a.npz");
  ASSERT_EQ(back.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(back[i].first, arrays[i].first);
    EXPECT_TRUE(equal(back[i].second, arrays[i].second));
  }
  write_npz(folder / "one.npz", {{"x", full({2}, 1)}});
  EXPECT_EQ(read_npz(folder / "one.npz").shape(), Shape({2}));
  EXPECT_THROW(write_npz(folder / "b.npz", {{"x", full({2}, 1)}, {"x", full({2}, 1)}}), Error);
  EXPECT_FALSE(std::filesystem::exists(folder / "b.npz"));
}

TEST(Npz, Limits) {
  EXPECT_THROW(ZipArchive(goldens + "numpy.npz", {.max_entries = 38}), DataError);
  EXPECT_NO_THROW(ZipArchive(goldens + "numpy.npz", {.max_entries = 39}));
  EXPECT_NE(error_of([] { ZipArchive(goldens + "numpy.npz", {.max_total_bytes = 1000}); }).find("more than 1000 bytes"),
            std::string::npos);
}

TEST(Npz, DamagedMembersAreNoticed) {
  const TempFolder folder;
  write_npz(folder / "a.npz", {{"x", full({100}, 1)}});
  std::string bytes = slurp(folder / "a.npz");
  bytes[200] ^= 1;  // in the data: only the checksum can tell
  spit(folder / "b.npz", bytes);
  EXPECT_NE(error_of([&] { read_npz(folder / "b.npz"); }).find("CRC"), std::string::npos);
}

TEST(Npz, DangerousNamesAreRefused) {
  const TempFolder folder;
  for (const std::string name : {"../x", "/x", "a/../x", "c:x", "a\\x"}) {
    write_npz(folder / "a.npz", {{name, full({1}, 1)}});
    EXPECT_NE(error_of([&] { read_npz(folder / "a.npz"); }).find("is not read"), std::string::npos) << name;
  }
  write_npz(folder / "a.npz", {{"..x", full({1}, 1)}});
  EXPECT_EQ(error_of([&] { read_npz(folder / "a.npz"); }), "");
}

TEST(Npz, BombsAreRefused) {
  // One compressed stream that two hundred directory entries share: more comes out than could have gone in.
  const TempFolder folder;
  write_npz(folder / "a.npz", {{"x", full({1000}, 1)}});
  const std::string one = slurp(folder / "a.npz");
  const std::size_t directory = one.find("PK\x01\x02"), end = one.find("PK\x05\x06");
  ASSERT_NE(directory, std::string::npos);
  std::string bytes = one.substr(0, directory), entry = one.substr(directory, end - directory), trailer = one.substr(end);
  for (int i = 0; i < 200; ++i) {
    entry[46] = static_cast<char>('a' + i % 26);  // another name each; the file name follows the 46 fixed bytes
    bytes += entry;
  }
  const auto put = [&](std::size_t at, std::uint64_t v, int width) {
    for (int i = 0; i < width; ++i) trailer[at + static_cast<std::size_t>(i)] = static_cast<char>(v >> 8 * i);
  };
  put(8, 200, 2);
  put(10, 200, 2);
  put(12, 200 * entry.size(), 4);
  spit(folder / "b.npz", bytes + trailer);
  EXPECT_EQ(error_of([&] { unpack(folder / "b.npz"); }), (folder / "b.npz").string() + ": entries of the zip file overlap");
}

TEST(Npz, EveryTruncationIsNoticed) {
  const TempFolder folder;
  write_npz(folder / "a.npz", {{"x", full({30}, 1)}, {"y", full({3}, 1)}});
  const std::string whole = slurp(folder / "a.npz");
  for (std::size_t n = 0; n < whole.size(); ++n) {
    spit(folder / "cut", whole.substr(0, n));
    ASSERT_NE(error_of([&] { read_npz_all(folder / "cut"); }), "") << n << " of " << whole.size();
  }
}

TEST(Npz, MutatedFilesNeverCrash) {
  const TempFolder folder;
  write_npz(folder / "a.npz", {{"x", full({30}, 1)}, {"y", full({3}, 1)}});
  const std::string stored = slurp(folder / "a.npz"), packed = slurp(goldens + "numpy.npz");
  const test::FrugalScope frugal;
  int accepted = 0;
  for (std::uint64_t i = 0; i < 4000; ++i) {
    spit(folder / "m", i % 4 ? test::mutated(stored, i, stored.size()) : test::mutated(packed, i, packed.size()));
    accepted += error_of([&] { read_npz_all(folder / "m"); }).empty();
  }
  EXPECT_GT(accepted, 20);
}

TEST(Npz, ZipCorpusAgreesWithItsOracle) {
  SAMPLE_DATA_OR_SKIP(folder, "oracles/zip_python_zipfile.csv");
  const auto root = folder.parent_path().parent_path();
  std::ifstream in(folder);
  const test::FrugalScope frugal;
  int read = 0, refused = 0, stricter = 0;
  std::string line;
  std::getline(in, line);
  while (std::getline(in, line)) {
    const auto cells = test::cells(line);
    std::int64_t bytes = 0;
    const std::string text = error_of([&] { bytes = unpack(root / cells[0]); });
    if (cells[1] == "ok" && text.empty()) {
      EXPECT_EQ(std::to_string(bytes), cells[3]) << cells[0];
      ++read;
    } else if (cells[1] == "ok") {
      ++stricter;  // inconsistent or commented directories, duplicate names, methods other than stored and deflate
    } else {
      EXPECT_NE(text, "") << cells[0] << " is refused by its oracle: " << line;
      ++refused;
    }
    // None of them is an npz file.
    EXPECT_NE(error_of([&] { read_npz_all(root / cells[0]); }), "") << cells[0];
  }
  RecordProperty("read", read);
  RecordProperty("stricter", stricter);
  EXPECT_GE(read, 60);
  EXPECT_GE(refused, 50);
}

TEST(Npz, PicklesAreRefusedWhateverTheirName) {
  SAMPLE_DATA_OR_SKIP(folder, "parsers/pickle_zip_npy_refuse");
  const test::FrugalScope frugal;
  int refused = 0;
  for (const auto& path : test::files_in(folder)) {
    EXPECT_NE(error_of([&] { read_npz_all(path); }), "") << path;
    EXPECT_NE(error_of([&] { read_npy(path); }), "") << path;
    EXPECT_NE(error_of([&] { read_safetensors(path); }), "") << path;
    ++refused;
  }
  EXPECT_EQ(refused, 45);
}

}  // namespace

#endif
