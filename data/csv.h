// SPDX-License-Identifier: Apache-2.0
// Small tables with a header line: labels, centres, quality reports.
#pragma once
#include <filesystem>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace cuboid {

/// A table in memory. Reading accepts quotes ("a ""b"", c"), CRLF, a byte order mark and empty lines; at most 64 MiB.
class CsvTable {
 public:
  /// Throws DataError with file and line: not a regular file, an open quote, a row with another number of fields,
  /// two columns of one name, a NUL byte.
  static CsvTable read(const std::filesystem::path& file);
  static CsvTable parse(std::string_view text, const std::string& name);

  std::size_t rows() const { return rows_.size(); }
  const std::vector<std::string>& columns() const { return columns_; }
  /// The column of the first of these names that exists (case does not matter); -1 when none does.
  int find(std::initializer_list<std::string_view> names) const;
  /// As find, but a DataError that lists what there is.
  int column(std::initializer_list<std::string_view> names) const;

  const std::string& text(std::size_t row, int column) const { return rows_[row].fields[static_cast<std::size_t>(column)]; }
  /// Strict: the whole field is a number, else DataError with file, line and column name.
  std::int64_t integer(std::size_t row, int column) const;
  double number(std::size_t row, int column) const;
  /// "labels.csv line 7", for messages.
  std::string where(std::size_t row) const;
  std::size_t line(std::size_t row) const { return rows_[row].line; }

 private:
  struct Row {
    std::size_t line;
    std::vector<std::string> fields;
  };
  std::string name_;
  std::vector<std::string> columns_;
  std::vector<Row> rows_;
};

/// Quoted when it has to be.
std::string csv_field(std::string_view text);

}  // namespace cuboid
