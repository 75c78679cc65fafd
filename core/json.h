// SPDX-License-Identifier: Apache-2.0
// JSON as RFC 8259 says it: nothing less is accepted, nothing more. Integers keep their 64 bits, objects their order.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/error.h"

namespace cuboid {

/// One JSON value. Reading it as the wrong kind throws DataError that names both kinds.
class Json {
 public:
  using Array = std::vector<Json>;
  using Member = std::pair<std::string, Json>;
  using Object = std::vector<Member>;  // in the order of insertion; keys are few, so look-up is linear
  enum class Kind : std::uint8_t { null, boolean, integer, unsigned_integer, real, string, array, object };

  Json() = default;
  Json(std::nullptr_t) {}
  Json(bool v) : v_(v) {}
  Json(int v) : v_(std::int64_t{v}) {}
  Json(long v) : v_(std::int64_t{v}) {}
  Json(long long v) : v_(std::int64_t{v}) {}
  Json(unsigned v) : v_(std::int64_t{v}) {}
  Json(unsigned long v) : Json(static_cast<unsigned long long>(v)) {}
  Json(unsigned long long v);  // becomes an `integer` where it fits in 63 bits
  Json(double v) : v_(v) {}
  Json(float v) : v_(static_cast<double>(v)) {}
  Json(std::string v) : v_(std::move(v)) {}
  Json(std::string_view v) : v_(std::string(v)) {}
  Json(const char* v) : v_(std::string(v)) {}
  Json(Array v) : v_(std::move(v)) {}
  Json(Object v) : v_(std::move(v)) {}
  template <class T>
  Json(const std::vector<T>& values) : v_(Array(values.begin(), values.end())) {}
  static Json array(std::initializer_list<Json> values = {}) { return Json(Array(values)); }
  static Json object(std::initializer_list<Member> members = {}) { return Json(Object(members)); }

  Kind kind() const { return static_cast<Kind>(v_.index()); }
  bool is_null() const { return kind() == Kind::null; }
  bool is_bool() const { return kind() == Kind::boolean; }
  bool is_integer() const { return kind() == Kind::integer || kind() == Kind::unsigned_integer; }
  bool is_number() const { return is_integer() || kind() == Kind::real; }
  bool is_string() const { return kind() == Kind::string; }
  bool is_array() const { return kind() == Kind::array; }
  bool is_object() const { return kind() == Kind::object; }

  bool as_bool() const;
  std::int64_t as_int() const;    // written without fraction and exponent, and in range
  std::uint64_t as_uint() const;  // likewise
  double as_double() const;       // any number
  const std::string& as_string() const;
  const Array& as_array() const;
  Array& as_array();
  const Object& as_object() const;
  Object& as_object();

  /// Elements of an array, members of an object.
  std::size_t size() const;
  const Json& operator[](std::size_t i) const;
  const Json& operator[](int i) const { return (*this)[static_cast<std::size_t>(i)]; }
  void push_back(Json value);

  /// The member, or nullptr when there is none.
  const Json* find(std::string_view key) const;
  bool contains(std::string_view key) const { return find(key) != nullptr; }
  /// The member; throws DataError when there is none.
  const Json& at(std::string_view key) const;
  const Json& operator[](const char* key) const { return at(key); }
  /// The member, made when it is not there (a null value becomes an object).
  Json& operator[](const char* key) { return set(key); }
  Json& operator[](const std::string& key) { return set(key); }
  Json& set(std::string_view key);

  /// Member `key` as the type of `otherwise`, or `otherwise` where it is missing.
  bool get(std::string_view key, bool otherwise) const;
  std::int64_t get(std::string_view key, std::int64_t otherwise) const;
  std::int64_t get(std::string_view key, int otherwise) const { return get(key, std::int64_t{otherwise}); }
  double get(std::string_view key, double otherwise) const;
  std::string get(std::string_view key, const char* otherwise) const;

  struct ParseOptions {
    int max_depth = 64;
    bool duplicate_keys = false;  // true: the last one wins, as in most readers
  };
  /// Throws DataError with line and column. `source` is the file's name for the message.
  static Json parse(std::string_view text, const ParseOptions& options, std::string_view source = "json");
  static Json parse(std::string_view text, std::string_view source = "json") { return parse(text, ParseOptions(), source); }

  /// indent < 0: one line; otherwise that many blanks a level. Doubles read back as the same bits, 1.0 stays a real number.
  /// Throws on NaN and infinities, which JSON cannot say, and on strings that are not UTF-8.
  std::string dump(int indent = -1) const;

  friend bool operator==(const Json& a, const Json& b) { return a.v_ == b.v_; }

 private:
  std::variant<std::monostate, bool, std::int64_t, std::uint64_t, double, std::string, Array, Object> v_;
};

const char* name_of(Json::Kind kind);

/// True when `text` is well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF).
bool is_utf8(std::string_view text);

}  // namespace cuboid
