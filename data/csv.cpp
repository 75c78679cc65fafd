// SPDX-License-Identifier: Apache-2.0
#include "data/csv.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/error.h"
#include "core/files.h"

namespace cuboid {
namespace {

std::string lower(std::string_view text) {
  std::string s(text);
  for (char& c : s)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return s;
}

std::string trimmed(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return std::string(text);
}

/// Reads one record from `rest`; counts the lines it spans.
std::vector<std::string> take_record(std::string_view& rest, std::size_t& line, const std::string& name) {
  std::vector<std::string> fields;
  const std::size_t first_line = line;
  for (;;) {
    std::string field;
    std::size_t i = 0;
    while (i < rest.size() && (rest[i] == ' ' || rest[i] == '\t')) ++i;
    if (i < rest.size() && rest[i] == '"') {
      for (++i;; ++i) {
        check<DataError>(i < rest.size(), name, " line ", first_line, ": a quote is never closed");
        if (rest[i] == '"') {
          if (i + 1 >= rest.size() || rest[i + 1] != '"') break;
          ++i;
        }
        if (rest[i] == '\n') ++line;
        field += rest[i];
      }
      for (++i; i < rest.size() && (rest[i] == ' ' || rest[i] == '\t'); ++i) {
      }
      check<DataError>(i >= rest.size() || rest[i] == ',' || rest[i] == '\n' || rest[i] == '\r', name, " line ", line,
                       ": text follows a closed quote");
    } else {
      i = std::min(rest.find_first_of(",\r\n"), rest.size());
      field = trimmed(rest.substr(0, i));
    }
    fields.push_back(std::move(field));
    rest.remove_prefix(i);
    if (!rest.empty() && rest.front() == ',') {
      rest.remove_prefix(1);
      continue;
    }
    if (!rest.empty() && rest.front() == '\r') rest.remove_prefix(1);
    if (!rest.empty() && rest.front() == '\n') rest.remove_prefix(1);
    ++line;
    return fields;
  }
}

}  // namespace

CsvTable CsvTable::read(const std::filesystem::path& file) { return parse(read_file(file), file.string()); }

CsvTable CsvTable::parse(std::string_view text, const std::string& name) {
  check<DataError>(text.find('\0') == text.npos, name, ": not a text file (it holds a NUL byte)");
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  CsvTable table;
  table.name_ = name;
  std::size_t line = 1;
  while (!text.empty()) {
    const std::size_t at = line;
    auto fields = take_record(text, line, name);
    if (fields.size() == 1 && fields[0].empty()) continue;
    if (table.columns_.empty()) {
      table.columns_ = std::move(fields);
      for (std::size_t i = 0; i < table.columns_.size(); ++i)
        for (std::size_t j = 0; j < i; ++j)
          check<DataError>(lower(table.columns_[i]) != lower(table.columns_[j]), name, " line ", at, ": two columns are called '",
                           table.columns_[i], "'");
      continue;
    }
    check<DataError>(fields.size() == table.columns_.size(), name, " line ", at, ": ", fields.size(), " fields, the header has ",
                     table.columns_.size());
    table.rows_.push_back({at, std::move(fields)});
  }
  check<DataError>(!table.columns_.empty(), name, ": empty, expected a header line and rows");
  return table;
}

int CsvTable::find(std::initializer_list<std::string_view> names) const {
  for (const auto wanted : names)
    for (std::size_t i = 0; i < columns_.size(); ++i)
      if (lower(columns_[i]) == lower(wanted)) return static_cast<int>(i);
  return -1;
}

int CsvTable::column(std::initializer_list<std::string_view> names) const {
  const int found = find(names);
  if (found >= 0) return found;
  std::string wanted, have;
  for (const auto n : names) wanted += (wanted.empty() ? "'" : " or '") + std::string(n) + "'";
  for (const auto& c : columns_) have += (have.empty() ? "" : ", ") + c;
  fail<DataError>(name_, ": no column ", wanted, " (there are: ", have, ")");
}

std::string CsvTable::where(std::size_t row) const { return join_text(name_, " line ", rows_[row].line); }

std::int64_t CsvTable::integer(std::size_t row, int column) const {
  const std::string& s = text(row, column);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), value);
  check<DataError>(error == std::errc{} && end == s.data() + s.size(), where(row), ": ",
                   columns_[static_cast<std::size_t>(column)], " '", s, "' is not an integer");
  return value;
}

double CsvTable::number(std::size_t row, int column) const {
  const std::string& s = text(row, column);
  double value = 0;
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), value);
  check<DataError>(error == std::errc{} && end == s.data() + s.size() && std::isfinite(value), where(row), ": ",
                   columns_[static_cast<std::size_t>(column)], " '", s, "' is not a number");
  return value;
}

std::string csv_field(std::string_view text) {
  const bool blank_ends = !text.empty() && (text.front() == ' ' || text.back() == ' ');
  if (text.find_first_of(",\"\r\n\t") == text.npos && !blank_ends) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

}  // namespace cuboid
