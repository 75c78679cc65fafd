// SPDX-License-Identifier: Apache-2.0
#include "data/formats/zip_directory.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace cuboid {
namespace {

constexpr std::int64_t end_bytes = 22, end64_bytes = 56, locator_bytes = 20, entry_bytes = 46, local_bytes = 30;
constexpr std::int64_t max_directory_bytes = std::int64_t{16} << 20;

/// Little-endian number of `width` bytes.
std::uint64_t number(const std::string& bytes, std::int64_t at, int width) {
  std::uint64_t v = 0;
  for (int i = width - 1; i >= 0; --i) v = v << 8 | static_cast<unsigned char>(bytes[static_cast<std::size_t>(at + i)]);
  return v;
}

struct Directory {
  std::uint64_t offset = 0, bytes = 0, entries = 0;
};

Directory find_directory(const FileReader& file) {
  const std::string& name = file.name();
  check<DataError>(file.size() >= end_bytes, name, ": not a zip file, or cut off");
  const std::int64_t end_at = file.size() - end_bytes;
  const std::string end = file.read_at(end_at, end_bytes);
  check<DataError>(end.starts_with("PK\5\6"), name, ": not a zip file, cut off, or with something behind its end");
  check<DataError>(number(end, 4, 4) == 0 && number(end, 20, 2) == 0, name,
                   ": zip files in several parts or with a comment are not read");
  Directory d = {number(end, 16, 4), number(end, 12, 4), number(end, 10, 2)};
  std::uint64_t directory_end = static_cast<std::uint64_t>(end_at);
  if (end_at >= end64_bytes + locator_bytes && file.read_at(end_at - locator_bytes, 4) == "PK\6\7") {
    const std::string end64 = file.read_at(end_at - locator_bytes - end64_bytes, end64_bytes);
    check<DataError>(end64.starts_with("PK\6\6"), name, ": the zip64 directory is not where it should be");
    d = {number(end64, 48, 8), number(end64, 40, 8), number(end64, 32, 8)};
    directory_end -= static_cast<std::uint64_t>(end64_bytes + locator_bytes);
  }
  check<DataError>(d.bytes <= directory_end && d.offset == directory_end - d.bytes, name,
                   ": the zip directory is not where it should be");
  check<DataError>(d.bytes <= static_cast<std::uint64_t>(max_directory_bytes), name, ": a zip directory of ", d.bytes, " bytes");
  return d;
}

}  // namespace

void check_zip_directory(const FileReader& file) {
  const std::string& name = file.name();
  const Directory d = find_directory(file);
  const std::string directory = file.read_at(static_cast<std::int64_t>(d.offset), d.bytes);
  const auto size = static_cast<std::int64_t>(directory.size());

  struct Span {
    std::uint64_t begin, end;
  };
  std::vector<Span> spans;
  std::uint64_t entries = 0;
  for (std::int64_t at = 0; at < size; ++entries) {
    check<DataError>(size - at >= entry_bytes && directory.compare(static_cast<std::size_t>(at), 4, "PK\1\2") == 0, name,
                     ": entry ", entries, " of the zip directory is damaged");
    const std::uint64_t flags = number(directory, at + 8, 2), packed = number(directory, at + 20, 4),
                        begin = number(directory, at + 42, 4);
    check<DataError>((flags & 0x2061) == 0, name, ": entry ", entries, " is encrypted or patched");  // bits 0, 5, 6, 13
    const std::uint64_t name_bytes = number(directory, at + 28, 2);
    // 0xffffffff: the true numbers lie in a zip64 field; the library reads them.
    if (packed != 0xffffffff && begin != 0xffffffff) spans.push_back({begin, begin + local_bytes + name_bytes + packed});
    at += entry_bytes + static_cast<std::int64_t>(name_bytes + number(directory, at + 30, 2) + number(directory, at + 32, 2));
    check<DataError>(at <= size, name, ": entry ", entries, " of the zip directory is cut off");
  }
  check<DataError>(entries == d.entries, name, ": ", entries, " entries in the zip directory, ", d.entries, " announced");
  std::sort(spans.begin(), spans.end(), [](const Span& a, const Span& b) { return a.begin < b.begin; });
  for (std::size_t i = 0; i < spans.size(); ++i)
    check<DataError>(spans[i].end <= (i + 1 < spans.size() ? spans[i + 1].begin : d.offset), name,
                     ": entries of the zip file overlap");
}

}  // namespace cuboid
