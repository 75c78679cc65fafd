// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <charconv>
#include <unordered_set>

#include "core/json.h"

namespace cuboid {
namespace {

/// Length of the UTF-8 sequence at `p`, 0 when it is malformed (Unicode 15, table 3-7).
std::size_t utf8_length(const unsigned char* p, std::size_t left) {
  const auto in = [](unsigned char c, int low, int high) { return c >= low && c <= high; };
  const unsigned char c = p[0];
  if (c < 0x80) return 1;
  if (in(c, 0xc2, 0xdf)) return left >= 2 && in(p[1], 0x80, 0xbf) ? 2 : 0;
  if (in(c, 0xe0, 0xef)) {
    const int low = c == 0xe0 ? 0xa0 : 0x80, high = c == 0xed ? 0x9f : 0xbf;
    return left >= 3 && in(p[1], low, high) && in(p[2], 0x80, 0xbf) ? 3 : 0;
  }
  if (in(c, 0xf0, 0xf4)) {
    const int low = c == 0xf0 ? 0x90 : 0x80, high = c == 0xf4 ? 0x8f : 0xbf;
    return left >= 4 && in(p[1], low, high) && in(p[2], 0x80, 0xbf) && in(p[3], 0x80, 0xbf) ? 4 : 0;
  }
  return 0;
}

class Parser {
 public:
  Parser(std::string_view text, const Json::ParseOptions& options, std::string_view source)
      : text_(text), options_(options), source_(source) {}

  Json document() {
    Json v = value(0);
    blanks();
    if (at_ != text_.size()) error("something follows the end of the document");
    return v;
  }

 private:
  [[noreturn]] void error(const std::string& what) const {
    const std::string_view before = text_.substr(0, at_);
    const auto line = 1 + std::count(before.begin(), before.end(), '\n');
    const auto newline = before.rfind('\n');
    const auto column = newline == std::string_view::npos ? at_ + 1 : at_ - newline;
    fail<DataError>(source_, ":", line, ":", column, ": ", what);
  }
  bool ends() const { return at_ == text_.size(); }
  char peek() const { return ends() ? '\0' : text_[at_]; }
  bool take(char c) {
    if (ends() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void blanks() {
    while (!ends() && (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r')) ++at_;
  }
  Json word(std::string_view w, Json v) {
    if (text_.substr(at_, w.size()) != w) error("not a value");
    at_ += w.size();
    return v;
  }

  Json value(int depth) {
    blanks();
    if (ends()) error("the text ends where a value should be");
    switch (peek()) {
      case '{':
        return object(depth + 1);
      case '[':
        return array(depth + 1);
      case '"':
        return Json(string());
      case 't':
        return word("true", true);
      case 'f':
        return word("false", false);
      case 'n':
        return word("null", nullptr);
      default:
        return number();
    }
  }

  void enter(int depth) {
    if (depth > options_.max_depth) error(join_text("nested more than ", options_.max_depth, " deep"));
    ++at_;
    blanks();
  }

  Json array(int depth) {
    enter(depth);
    Json::Array values;
    if (take(']')) return Json(std::move(values));
    for (;;) {
      values.push_back(value(depth));
      blanks();
      if (take(']')) return Json(std::move(values));
      if (!take(',')) error(ends() ? "the array is not closed" : "expected , or ]");
    }
  }

  Json object(int depth) {
    enter(depth);
    Json::Object members;
    std::unordered_set<std::string> seen;
    if (take('}')) return Json(std::move(members));
    for (;;) {
      blanks();
      if (peek() != '"') error("expected a key in double quotes");
      std::string key = string();
      const bool fresh = seen.insert(key).second;
      if (!fresh && !options_.duplicate_keys) error("key \"" + key + "\" is given twice");
      blanks();
      if (!take(':')) error("expected : after the key");
      Json v = value(depth);
      if (fresh) {
        members.emplace_back(std::move(key), std::move(v));
      } else {
        std::find_if(members.begin(), members.end(), [&](const auto& m) { return m.first == key; })->second = std::move(v);
      }
      blanks();
      if (take('}')) return Json(std::move(members));
      if (!take(',')) error(ends() ? "the object is not closed" : "expected , or }");
    }
  }

  std::uint32_t hex4() {
    std::uint32_t u = 0;
    if (text_.size() - at_ < 4) error("\\u needs four hexadecimal digits");
    const char* first = text_.data() + at_;
    const auto [end, status] = std::from_chars(first, first + 4, u, 16);
    if (status != std::errc() || end != first + 4) error("\\u needs four hexadecimal digits");
    at_ += 4;
    return u;
  }
  std::uint32_t escaped_code_point() {
    const std::uint32_t u = hex4();
    if (u < 0xd800 || u > 0xdfff) return u;
    if (u > 0xdbff || !take('\\') || !take('u')) error("half of a surrogate pair");
    const std::uint32_t low = hex4();
    if (low < 0xdc00 || low > 0xdfff) error("half of a surrogate pair");
    return 0x10000 + ((u - 0xd800) << 10) + (low - 0xdc00);
  }
  static void append_utf8(std::string& to, std::uint32_t u) {
    const auto put = [&](std::uint32_t byte) { to += static_cast<char>(byte); };
    if (u < 0x80) return put(u);
    if (u < 0x800) {
      put(0xc0 | u >> 6);
    } else {
      if (u < 0x10000) {
        put(0xe0 | u >> 12);
      } else {
        put(0xf0 | u >> 18);
        put(0x80 | (u >> 12 & 0x3f));
      }
      put(0x80 | (u >> 6 & 0x3f));
    }
    put(0x80 | (u & 0x3f));
  }

  std::string string() {
    ++at_;
    std::string s;
    for (;;) {
      if (ends()) error("the string is not closed");
      const auto c = static_cast<unsigned char>(peek());
      if (c < 0x20) error("control character in a string; write it as \\u00XX");
      if (c == '"') {
        ++at_;
        return s;
      }
      if (c == '\\') {
        ++at_;
        escape(s);
        continue;
      }
      const std::size_t n = utf8_length(reinterpret_cast<const unsigned char*>(text_.data()) + at_, text_.size() - at_);
      if (n == 0) error("not UTF-8");
      s.append(text_, at_, n);
      at_ += n;
    }
  }
  void escape(std::string& s) {
    constexpr std::string_view letters = "\"\\/bfnrt", meanings = "\"\\/\b\f\n\r\t";
    if (ends()) error("the string is not closed");
    if (take('u')) return append_utf8(s, escaped_code_point());
    const auto i = letters.find(peek());
    if (i == std::string_view::npos) error("unknown escape");
    s += meanings[i];
    ++at_;
  }

  void digits() {
    const std::size_t start = at_;
    while (!ends() && peek() >= '0' && peek() <= '9') ++at_;
    if (at_ == start) error(ends() ? "the number is cut off" : start == begin_ ? "not a value" : "not a number");
  }
  Json number() {
    begin_ = at_;
    const bool negative = take('-');
    if (!take('0')) digits();
    bool whole = true;
    if (take('.')) {
      whole = false;
      digits();
    }
    if (peek() == 'e' || peek() == 'E') {
      whole = false;
      ++at_;
      if (!take('+')) take('-');
      digits();
    }
    const char *first = text_.data() + begin_, *last = text_.data() + at_;
    if (whole && !(negative && last - first == 2 && first[1] == '0')) {  // "-0" is the real number -0.0
      std::int64_t i;
      std::uint64_t u;
      if (std::from_chars(first, last, i).ec == std::errc()) return Json(i);
      if (!negative && std::from_chars(first, last, u).ec == std::errc()) return Json(u);
    }
    double d = 0;
    if (std::from_chars(first, last, d).ec == std::errc::result_out_of_range) {
      at_ = begin_;
      if (!underflows(first, last)) error("number beyond the range of a double");
      d = negative ? -0.0 : 0.0;
      at_ = static_cast<std::size_t>(last - text_.data());
    }
    return Json(d);
  }
  /// from_chars says "out of range" for too small as for too large: decide by the sign of the exponent.
  static bool underflows(const char* first, const char* last) {
    const char* e = std::find_if(first, last, [](char c) { return c == 'e' || c == 'E'; });
    if (e != last) return e[1] == '-';
    return *first == '0' || (*first == '-' && first[1] == '0');
  }

  std::string_view text_;
  const Json::ParseOptions& options_;
  std::string_view source_;
  std::size_t at_ = 0, begin_ = 0;
};

}  // namespace

bool is_utf8(std::string_view text) {
  const auto* p = reinterpret_cast<const unsigned char*>(text.data());
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t n = utf8_length(p + i, text.size() - i);
    if (n == 0) return false;
    i += n;
  }
  return true;
}

Json Json::parse(std::string_view text, const ParseOptions& options, std::string_view source) {
  check(options.max_depth > 0 && options.max_depth <= 1000, "json: max_depth ", options.max_depth, " is not in 1..1000");
  return Parser(text, options, source).document();
}

}  // namespace cuboid
