// SPDX-License-Identifier: Apache-2.0
#include "core/json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <unordered_set>

namespace cuboid {
namespace {

[[noreturn]] void wrong_kind(const Json& v, const char* wanted) {
  fail<DataError>("json: expected ", wanted, ", found ", name_of(v.kind()));
}

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

void write_string(std::string& out, const std::string& s) {
  check(is_utf8(s), "json: a string to write is not UTF-8");
  out += '"';
  for (const char c : s) {
    constexpr std::string_view special = "\"\\\b\f\n\r\t", letters = "\"\\bfnrt";
    const auto i = special.find(c);
    if (i != std::string_view::npos) {
      out += '\\';
      out += letters[i];
    } else if (static_cast<unsigned char>(c) < 0x20) {
      constexpr char hex[] = "0123456789abcdef";
      out += "\\u00";
      out += hex[c >> 4];
      out += hex[c & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

template <class T>
void write_number(std::string& out, T v) {
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, v).ptr;
  out.append(buffer, end);
  if constexpr (std::is_floating_point_v<T>)
    if (std::string_view(buffer, static_cast<std::size_t>(end - buffer)).find_first_of(".e") == std::string_view::npos)
      out += ".0";
}

void new_line(std::string& out, int indent, int level) {
  if (indent < 0) return;
  out += '\n';
  out.append(static_cast<std::size_t>(indent) * static_cast<std::size_t>(level), ' ');
}

void write(std::string& out, const Json& v, int indent, int level);

void write_array(std::string& out, const Json::Array& values, int indent, int level) {
  // Rows of plain values stay on one line: shapes, curves, confusion matrices read better so.
  const bool flat = std::none_of(values.begin(), values.end(), [](const Json& x) { return x.is_array() || x.is_object(); });
  out += '[';
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i) out += flat && indent >= 0 ? ", " : ",";
    if (!flat) new_line(out, indent, level + 1);
    write(out, values[i], indent, level + 1);
  }
  if (!flat) new_line(out, indent, level);
  out += ']';
}

void write_object(std::string& out, const Json::Object& members, int indent, int level) {
  out += '{';
  for (std::size_t i = 0; i < members.size(); ++i) {
    if (i) out += ',';
    new_line(out, indent, level + 1);
    write_string(out, members[i].first);
    out += indent < 0 ? ":" : ": ";
    write(out, members[i].second, indent, level + 1);
  }
  if (!members.empty()) new_line(out, indent, level);
  out += '}';
}

void write(std::string& out, const Json& v, int indent, int level) {
  switch (v.kind()) {
    case Json::Kind::null:
      out += "null";
      break;
    case Json::Kind::boolean:
      out += v.as_bool() ? "true" : "false";
      break;
    case Json::Kind::integer:
      write_number(out, v.as_int());
      break;
    case Json::Kind::unsigned_integer:
      write_number(out, v.as_uint());
      break;
    case Json::Kind::real:
      check(std::isfinite(v.as_double()), "json: cannot write ", v.as_double());
      write_number(out, v.as_double());
      break;
    case Json::Kind::string:
      write_string(out, v.as_string());
      break;
    case Json::Kind::array:
      write_array(out, v.as_array(), indent, level);
      break;
    case Json::Kind::object:
      write_object(out, v.as_object(), indent, level);
      break;
  }
}

}  // namespace

const char* name_of(Json::Kind kind) {
  constexpr const char* names[] = {"null",     "true or false", "a whole number", "a whole number",
                                   "a number", "a string",      "an array",       "an object"};
  return names[static_cast<int>(kind)];
}

bool is_utf8(std::string_view text) {
  const auto* p = reinterpret_cast<const unsigned char*>(text.data());
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t n = utf8_length(p + i, text.size() - i);
    if (n == 0) return false;
    i += n;
  }
  return true;
}

Json::Json(unsigned long long v) {
  if (v <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) v_ = static_cast<std::int64_t>(v);
  else v_ = static_cast<std::uint64_t>(v);
}

bool Json::as_bool() const {
  if (const auto* v = std::get_if<bool>(&v_)) return *v;
  wrong_kind(*this, "true or false");
}
std::int64_t Json::as_int() const {
  if (const auto* v = std::get_if<std::int64_t>(&v_)) return *v;
  wrong_kind(*this, "a whole number below 2^63");
}
std::uint64_t Json::as_uint() const {
  if (const auto* v = std::get_if<std::uint64_t>(&v_)) return *v;
  if (const auto* v = std::get_if<std::int64_t>(&v_); v && *v >= 0) return static_cast<std::uint64_t>(*v);
  wrong_kind(*this, "a whole number from 0 to 2^64-1");
}
double Json::as_double() const {
  if (const auto* v = std::get_if<double>(&v_)) return *v;
  if (const auto* v = std::get_if<std::int64_t>(&v_)) return static_cast<double>(*v);
  if (const auto* v = std::get_if<std::uint64_t>(&v_)) return static_cast<double>(*v);
  wrong_kind(*this, "a number");
}
const std::string& Json::as_string() const {
  if (const auto* v = std::get_if<std::string>(&v_)) return *v;
  wrong_kind(*this, "a string");
}
const Json::Array& Json::as_array() const {
  if (const auto* v = std::get_if<Array>(&v_)) return *v;
  wrong_kind(*this, "an array");
}
Json::Array& Json::as_array() { return const_cast<Array&>(std::as_const(*this).as_array()); }
const Json::Object& Json::as_object() const {
  if (const auto* v = std::get_if<Object>(&v_)) return *v;
  wrong_kind(*this, "an object");
}
Json::Object& Json::as_object() { return const_cast<Object&>(std::as_const(*this).as_object()); }

std::size_t Json::size() const {
  if (is_object()) return as_object().size();
  return as_array().size();
}
const Json& Json::operator[](std::size_t i) const {
  const Array& values = as_array();
  check<DataError>(i < values.size(), "json: element ", i, " of an array of ", values.size());
  return values[i];
}
void Json::push_back(Json value) {
  if (is_null()) v_ = Array();
  as_array().push_back(std::move(value));
}

const Json* Json::find(std::string_view key) const {
  const Object& members = as_object();
  const auto it = std::find_if(members.begin(), members.end(), [&](const Member& m) { return m.first == key; });
  return it == members.end() ? nullptr : &it->second;
}
const Json& Json::at(std::string_view key) const {
  const Json* v = find(key);
  check<DataError>(v != nullptr, "json: no member \"", key, "\"");
  return *v;
}
Json& Json::set(std::string_view key) {
  if (is_null()) v_ = Object();
  Object& members = as_object();
  const auto it = std::find_if(members.begin(), members.end(), [&](const Member& m) { return m.first == key; });
  if (it != members.end()) return it->second;
  return members.emplace_back(std::string(key), Json()).second;
}

namespace {
template <class Read>
auto read_member(const Json& object, std::string_view key, Read read) -> decltype(read(object)) {
  try {
    return read(object.at(key));
  } catch (const DataError& e) {
    fail<DataError>("member \"", key, "\": ", e.what());
  }
}
}  // namespace

bool Json::get(std::string_view key, bool otherwise) const {
  return contains(key) ? read_member(*this, key, [](const Json& v) { return v.as_bool(); }) : otherwise;
}
std::int64_t Json::get(std::string_view key, std::int64_t otherwise) const {
  return contains(key) ? read_member(*this, key, [](const Json& v) { return v.as_int(); }) : otherwise;
}
double Json::get(std::string_view key, double otherwise) const {
  return contains(key) ? read_member(*this, key, [](const Json& v) { return v.as_double(); }) : otherwise;
}
std::string Json::get(std::string_view key, const char* otherwise) const {
  return contains(key) ? read_member(*this, key, [](const Json& v) { return v.as_string(); }) : otherwise;
}

Json Json::parse(std::string_view text, const ParseOptions& options, std::string_view source) {
  check(options.max_depth > 0 && options.max_depth <= 1000, "json: max_depth ", options.max_depth, " is not in 1..1000");
  return Parser(text, options, source).document();
}

std::string Json::dump(int indent) const {
  std::string out;
  write(out, *this, indent, 0);
  if (indent >= 0) out += '\n';
  return out;
}

}  // namespace cuboid
