// SPDX-License-Identifier: Apache-2.0
#include "data/formats/csv.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/files.h"

namespace cuboid {
namespace {

std::string trimmed(const std::string& s) {
  const auto first = s.find_first_not_of(" \t"), last = s.find_last_not_of(" \t");
  return first == std::string::npos ? "" : s.substr(first, last - first + 1);
}

class CsvParser {
 public:
  CsvParser(std::string_view text, const std::string& source) : text_(text), source_(source) {
    if (text_.starts_with("\xef\xbb\xbf")) text_.remove_prefix(3);
  }

  bool next(std::vector<std::string>& cells) {
    while (!ends() && (peek() == '\n' || peek() == '\r')) line_break();
    if (ends()) return false;
    row_line_ = line_;
    cells.clear();
    for (;;) {
      cells.push_back(peek() == '"' ? quoted() : plain());
      if (ends()) return true;
      if (peek() != ',') {
        line_break();
        return true;
      }
      ++at_;
      if (ends() || peek() == '\n' || peek() == '\r') {
        cells.emplace_back();
        if (!ends()) line_break();
        return true;
      }
    }
  }
  std::int64_t row_line() const { return row_line_; }

 private:
  bool ends() const { return at_ >= text_.size(); }
  char peek() const { return ends() ? '\0' : text_[at_]; }
  void line_break() {
    if (peek() == '\r') ++at_;
    if (peek() == '\n') ++at_;
    ++line_;
  }
  std::string plain() {
    const auto end = std::min(text_.find_first_of(",\r\n", at_), text_.size());
    const std::string cell(text_.substr(at_, end - at_));
    check<DataError>(cell.find('\0') == std::string::npos, source_, ":", line_, ": a zero byte; not a text file");
    at_ = end;
    return trimmed(cell);
  }
  std::string quoted() {
    std::string cell;
    ++at_;
    for (;; ++at_) {
      check<DataError>(!ends(), source_, ":", row_line_, ": a quote is not closed");
      if (peek() == '"') {
        ++at_;
        if (peek() != '"') break;
      }
      if (peek() == '\n') ++line_;
      cell += peek();
    }
    check<DataError>(ends() || peek() == ',' || peek() == '\n' || peek() == '\r', source_, ":", line_,
                     ": text after a closing quote");
    return cell;
  }

  std::string_view text_;
  const std::string& source_;
  std::size_t at_ = 0;
  std::int64_t line_ = 1, row_line_ = 1;
};

template <class T>
T number_in(const CsvTable& table, std::size_t row, std::size_t column, const char* wanted) {
  const std::string& cell = table.rows[row][column];
  T value{};
  const char* first = cell.data() + (cell.starts_with('+') ? 1 : 0);
  const auto [end, status] = std::from_chars(first, cell.data() + cell.size(), value);
  check<DataError>(!cell.empty() && status == std::errc() && end == cell.data() + cell.size(), table.source, ":",
                   table.lines[row], ": ", table.columns[column], " is \"", cell, "\", ", wanted, " is expected");
  return value;
}

}  // namespace

bool CsvTable::has(std::string_view name) const { return std::find(columns.begin(), columns.end(), name) != columns.end(); }

std::size_t CsvTable::column(std::string_view name) const {
  const auto it = std::find(columns.begin(), columns.end(), name);
  if (it != columns.end()) return static_cast<std::size_t>(it - columns.begin());
  std::string there;
  for (const auto& c : columns) there += (there.empty() ? "" : ", ") + c;
  fail<DataError>(source, ": no column \"", name, "\"; there are: ", there);
}

double CsvTable::number(std::size_t row, std::size_t column) const { return number_in<double>(*this, row, column, "a number"); }
std::int64_t CsvTable::integer(std::size_t row, std::size_t column) const {
  return number_in<std::int64_t>(*this, row, column, "a whole number");
}

CsvTable parse_csv(std::string_view text, const std::string& source) {
  CsvTable table;
  table.source = source;
  CsvParser parser(text, source);
  check<DataError>(parser.next(table.columns), source, ": empty; a header line is expected");
  for (std::size_t i = 0; i < table.columns.size(); ++i)
    check<DataError>(std::count(table.columns.begin(), table.columns.end(), table.columns[i]) == 1, source, ": column \"",
                     table.columns[i], "\" is given twice");
  for (std::vector<std::string> cells; parser.next(cells);) {
    check<DataError>(cells.size() == table.columns.size(), source, ":", parser.row_line(), ": ", cells.size(),
                     " cells, the header has ", table.columns.size());
    table.rows.push_back(cells);
    table.lines.push_back(parser.row_line());
  }
  return table;
}

CsvTable read_csv(const std::filesystem::path& path) { return parse_csv(read_file(path), path.string()); }

std::string csv_cell(std::string_view text) {
  const bool blank_ends = !text.empty() && (text.front() == ' ' || text.back() == ' ');
  if (!blank_ends && text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

}  // namespace cuboid
