// SPDX-License-Identifier: Apache-2.0
// Comma-separated tables (RFC 4180) with a header line.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace cuboid {

struct CsvTable {
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;  // each as long as `columns`
  std::vector<std::int64_t> lines;             // where in the file row i starts, from 1
  std::string source;

  bool has(std::string_view column) const;
  /// Index of a column; DataError lists the columns there are.
  std::size_t column(std::string_view name) const;
  /// One cell as a number; DataError with file and line.
  double number(std::size_t row, std::size_t column) const;
  std::int64_t integer(std::size_t row, std::size_t column) const;
};

/// Quoted cells, CRLF, a byte order mark and empty lines are understood; a row with more or fewer cells than the header is an
/// error with its line. At most 64 MiB.
CsvTable read_csv(const std::filesystem::path& path);
CsvTable parse_csv(std::string_view text, const std::string& source);
/// A cell for writing, quoted where needed.
std::string csv_cell(std::string_view text);

}  // namespace cuboid
