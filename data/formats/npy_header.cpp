// SPDX-License-Identifier: Apache-2.0
// The header of .npy: a Python dictionary of three known keys, read by a tokenizer that knows nothing else.
// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
#include <cstring>
#include <string_view>

#include "data/formats/npy.h"

namespace cuboid {
namespace {

constexpr std::uint32_t max_header_bytes = 65'536;  // NumPy itself writes 118

class HeaderParser {
 public:
  HeaderParser(std::string_view text, NpyHeader& header, const std::string& name) : text_(text), header_(header), name_(name) {}

  void parse() {
    expect('{');
    bool descr = false, order = false, shape = false;
    while (!take('}')) {
      const std::string_view key = quoted();
      expect(':');
      if (key == "descr") once(descr), parse_type();
      else if (key == "fortran_order") once(order), header_.fortran = boolean();
      else if (key == "shape") once(shape), parse_shape();
      else error("an unknown key");
      if (!take(',')) {
        expect('}');
        break;
      }
    }
    blanks();
    if (at_ != text_.size()) error("something follows the dictionary");
    if (!descr || !order || !shape) error("descr, fortran_order or shape is missing");
  }

 private:
  [[noreturn]] void error(const char* what) const { fail<DataError>(name_, ": npy header: ", what, " (byte ", at_, ")"); }
  void once(bool& seen) {
    if (seen) error("a key is given twice");
    seen = true;
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void blanks() {
    while (peek() == ' ' || peek() == '\n' || peek() == '\t' || peek() == '\r') ++at_;
  }
  bool take(char c) {
    blanks();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!take(c)) error("malformed");
  }
  std::string_view quoted() {
    blanks();
    const char quote = peek();
    if (quote != '\'' && quote != '"') error("a quoted name is expected");
    const auto end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) error("a quote is not closed");
    const auto word = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return word;
  }
  bool boolean() {
    blanks();
    for (const bool value : {true, false}) {
      const std::string_view word = value ? "True" : "False";
      if (text_.substr(at_, word.size()) != word) continue;
      at_ += word.size();
      return value;
    }
    error("True or False is expected");
  }
  void parse_shape() {
    expect('(');
    while (!take(')')) {
      if (header_.shape.rank() == max_rank) error("more dimensions than are supported");
      header_.shape.push_back(dimension());
      take('L');  // Python 2 wrote (3L, 4L)
      if (take(',')) continue;
      if (header_.shape.rank() == 1) error("malformed shape");  // (3) is a number, (3,) a shape
      expect(')');
      break;
    }
  }
  std::int64_t dimension() {
    blanks();
    std::int64_t n = 0;
    const std::size_t start = at_;
    for (; peek() >= '0' && peek() <= '9'; ++at_)
      if (__builtin_mul_overflow(n, std::int64_t{10}, &n) || __builtin_add_overflow(n, std::int64_t{peek() - '0'}, &n))
        error("a dimension overflows");
    if (at_ == start) error("a dimension is expected");
    return n;
  }
  void parse_type() {
    blanks();
    if (peek() == '[') fail<DataError>(name_, ": npy: structured arrays are not read");
    const std::string_view type = quoted();
    const auto refuse = [&](const char* why) { fail<DataError>(name_, ": npy: type '", type, "' is not read", why); };
    if (type.find('O') != std::string_view::npos) refuse(": object arrays carry pickled programs");
    if (type.size() != 3 || std::string_view("<>|=").find(type[0]) == std::string_view::npos) refuse("");
    header_.kind = type[1];
    header_.item_bytes = type[2] - '0';
    header_.big_endian = type[0] == '>';
    const std::string_view widths = header_.kind == 'b'                          ? "1"
                                    : header_.kind == 'f'                        ? "248"
                                    : header_.kind == 'i' || header_.kind == 'u' ? "1248"
                                                                                 : "";
    if (widths.find(type[2]) == std::string_view::npos) refuse("; bool, integers, f2, f4 and f8 are");
    if (type[0] == '|' && header_.item_bytes > 1) refuse(": its byte order is not given");
  }

  std::string_view text_;
  NpyHeader& header_;
  const std::string& name_;
  std::size_t at_ = 0;
};

}  // namespace

NpyHeader read_npy_header(ByteSource& source) {
  unsigned char start[8];
  const std::string& name = source.name();
  check<DataError>(source.read(start, 8) == 8 && std::memcmp(start, "\x93NUMPY", 6) == 0, name, ": not an npy file");
  NpyHeader header;
  header.version = start[6];
  check<DataError>(header.version >= 1 && header.version <= 3 && start[7] == 0, name, ": npy version ", int{start[6]}, ".",
                   int{start[7]}, "; 1.0, 2.0 and 3.0 are read");
  unsigned char digits[4] = {};
  const std::size_t width = header.version == 1 ? 2 : 4;
  source.read_exactly(digits, width);
  const std::uint32_t length =
      digits[0] | std::uint32_t{digits[1]} << 8 | std::uint32_t{digits[2]} << 16 | std::uint32_t{digits[3]} << 24;
  check<DataError>(length <= max_header_bytes && length <= source.at_most(), name, ": npy header of ", length, " bytes");
  std::string text(length, '\0');
  source.read_exactly(text.data(), length);
  HeaderParser(text, header, name).parse();
  header.header_bytes = static_cast<std::int64_t>(8 + width + length);
  return header;
}

Number NpyHeader::number() const {
  const auto of_width = [&](Number one, Number two, Number four, Number eight) {
    return item_bytes == 1 ? one : item_bytes == 2 ? two : item_bytes == 4 ? four : eight;
  };
  if (kind == 'f') return of_width(Number::f16, Number::f16, Number::f32, Number::f64);
  if (kind == 'i') return of_width(Number::i8, Number::i16, Number::i32, Number::i64);
  return of_width(Number::u8, Number::u16, Number::u32, Number::u64);
}

std::string NpyHeader::type_name() const {
  return std::string(1, item_bytes == 1 ? '|' : big_endian ? '>' : '<') + kind + std::to_string(item_bytes);
}

}  // namespace cuboid
