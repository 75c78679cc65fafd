// SPDX-License-Identifier: Apache-2.0
#include "core/json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

namespace cuboid {
namespace {

[[noreturn]] void wrong_kind(const Json& v, const char* wanted) {
  fail<DataError>("json: expected ", wanted, ", found ", name_of(v.kind()));
}

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

std::string Json::dump(int indent) const {
  std::string out;
  write(out, *this, indent, 0);
  if (indent >= 0) out += '\n';
  return out;
}

}  // namespace cuboid
