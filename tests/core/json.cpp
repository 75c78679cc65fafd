// SPDX-License-Identifier: Apache-2.0
#include "core/json.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "core/random.h"
#include "tests/files.h"

using namespace cuboid;

namespace {

std::string error_of(const std::string& text, Json::ParseOptions options = {}) {
  try {
    Json::parse(text, options, "file");
  } catch (const DataError& e) {
    return e.what();
  }
  return "accepted";
}

TEST(Json, KindsAndOrder) {
  const Json j = Json::parse(R"({"z": [1, -2.5, true, null], "a": {"b": "\u00e9\ud834\udd1e\n"}})");
  EXPECT_EQ(j.as_object()[0].first, "z");
  EXPECT_EQ(j["z"][0].as_int(), 1);
  EXPECT_EQ(j["z"][1].as_double(), -2.5);
  EXPECT_TRUE(j["z"][2].as_bool());
  EXPECT_TRUE(j["z"][3].is_null());
  EXPECT_EQ(j["a"]["b"].as_string(), "\xc3\xa9\xf0\x9d\x84\x9e\n");
  EXPECT_EQ(j.get("missing", 3), 3);
  EXPECT_THROW(j.get("z", 3), DataError);
  EXPECT_THROW(j.at("missing"), DataError);
  EXPECT_THROW(j["z"][4], DataError);
}

TEST(Json, IntegersKeep64Bits) {
  EXPECT_EQ(Json::parse("9223372036854775807").as_int(), std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(Json::parse("-9223372036854775808").as_int(), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(Json::parse("18446744073709551615").as_uint(), ~std::uint64_t{0});
  EXPECT_THROW(Json::parse("9223372036854775808").as_int(), DataError);
  EXPECT_EQ(Json::parse("18446744073709551616").kind(), Json::Kind::real);
  EXPECT_THROW(Json::parse("1.0").as_int(), DataError);
  EXPECT_THROW(Json::parse("-1").as_uint(), DataError);
  EXPECT_TRUE(std::signbit(Json::parse("-0").as_double()));
}

TEST(Json, ErrorsNameLineAndColumn) {
  const struct {
    const char *text, *message;
  } cases[] = {
      {"{\n  \"a\": 1,\n}", "file:3:1: expected a key in double quotes"},
      {"[1 2]", "file:1:4: expected , or ]"},
      {"{\"a\":1,\"a\":2}", "file:1:11: key \"a\" is given twice"},
      {"", "file:1:1: the text ends where a value should be"},
      {"[1", "file:1:3: the array is not closed"},
      {"1 x", "file:1:3: something follows the end of the document"},
      {"\"\\ud800\"", "file:1:8: half of a surrogate pair"},
      {"1e999", "file:1:1: number beyond the range of a double"},
  };
  for (const auto& c : cases) EXPECT_EQ(error_of(c.text), c.message);
}

TEST(Json, DepthIsBounded) {
  const auto nested = [](std::size_t n) { return std::string(n, '[') + std::string(n, ']'); };
  EXPECT_NO_THROW(Json::parse(nested(64)));
  EXPECT_EQ(error_of(nested(65)), "file:1:65: nested more than 64 deep");
  EXPECT_NE(error_of(std::string(1'000'000, '[')), "accepted");
  EXPECT_EQ(error_of(nested(2), {.max_depth = 1}), "file:1:2: nested more than 1 deep");
  EXPECT_NO_THROW(Json::parse(nested(1000), {.max_depth = 1000}));
}

TEST(Json, DuplicateKeysOnRequest) {
  const Json j = Json::parse(R"({"a":1,"b":2,"a":3})", {.duplicate_keys = true});
  EXPECT_EQ(j.size(), 2u);
  EXPECT_EQ(j["a"].as_int(), 3);
}

TEST(Json, DoublesRoundTripToTheBit) {
  int checked = 0;
  for (std::uint64_t i = 0; i < 100'000; ++i) {
    const double d = std::bit_cast<double>(random_word({.seed = 4}, i));
    if (!std::isfinite(d)) continue;
    const Json back = Json::parse(Json(d).dump());
    ASSERT_EQ(back.kind(), Json::Kind::real);
    ASSERT_EQ(std::bit_cast<std::uint64_t>(back.as_double()), std::bit_cast<std::uint64_t>(d)) << Json(d).dump();
    ++checked;
  }
  EXPECT_GT(checked, 99'000);
  for (const double d : {0.0, -0.0, 1.0, 0.1, 5e-324, 1.7976931348623157e308, 1e21, 123456789012345680.0})
    EXPECT_EQ(std::bit_cast<std::uint64_t>(Json::parse(Json(d).dump()).as_double()), std::bit_cast<std::uint64_t>(d));
  EXPECT_EQ(Json(1.0).dump(), "1.0");
  EXPECT_THROW(Json(std::nan("")).dump(), Error);
  EXPECT_THROW(Json(INFINITY).dump(), Error);
}

TEST(Json, WritesAndReadsBack) {
  Json j;
  j["name"] = "tab\t\"quote\" \x01 \xc3\xa9";
  j["list"] = Json(std::vector<int>{1, 2, 3});
  j["deep"]["er"] = Json::array({Json::object({{"x", 1.5}}), nullptr, false});
  j["big"] = ~std::uint64_t{0};
  j["empty"] = Json::object();
  EXPECT_EQ(Json::parse(j.dump()), j);
  EXPECT_EQ(Json::parse(j.dump(2)), j);
  EXPECT_EQ(Json::object({{"a", Json::array({1, 2})}}).dump(), R"({"a":[1,2]})");
  EXPECT_EQ(Json::object({{"a", Json::array({1, 2})}, {"b", Json::object()}}).dump(2), "{\n  \"a\": [1, 2],\n  \"b\": {}\n}\n");
  EXPECT_THROW(Json("\xff").dump(), Error);
}

TEST(Json, Utf8) {
  for (const char* good :
       {"", "a", "\xc2\x80", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"})
    EXPECT_TRUE(is_utf8(good)) << good;
  for (const char* bad : {"\x80", "\xc0\xaf", "\xc1\xbf", "\xc2", "\xe0\x80\x80", "\xe0\xa0", "\xed\xa0\x80", "\xf0\x80\x80\x80",
                          "\xf0\x90\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff"})
    EXPECT_FALSE(is_utf8(bad));
}

TEST(Json, TestSuite) {
  SAMPLE_DATA_OR_SKIP(folder, "parsers/json_testsuite");
  int accepted = 0, refused = 0, either = 0;
  for (const auto& path : test::files_in(folder)) {
    const std::string name = path.filename().string(), text = test::slurp(path);
    // y_object_duplicated_key*: legal for the RFC, refused by us unless asked for.
    const bool ok = error_of(text, {.duplicate_keys = true}) == "accepted";
    if (name[0] == 'y') {
      EXPECT_TRUE(ok) << name << ": " << error_of(text, {.duplicate_keys = true});
      ++accepted;
    } else if (name[0] == 'n') {
      EXPECT_FALSE(ok) << name;
      ++refused;
    } else {
      ++either;
    }
    if (ok) {
      const Json j = Json::parse(text, {.duplicate_keys = true});
      EXPECT_EQ(Json::parse(j.dump()), j) << name;
    }
  }
  EXPECT_EQ(accepted, 95);
  EXPECT_EQ(refused, 188);
  EXPECT_EQ(either, 35);
}

TEST(Json, MutatedTextNeverCrashes) {
  const std::string seed = R"({"a":[1,-2.5e3,true,null,"x\u00e9\ud834\udd1e"],"b":{"c":{}},"d":18446744073709551615})";
  int accepted = 0;
  for (std::uint64_t i = 0; i < 100'000; ++i) {
    std::string text = seed;
    Random random({.seed = 6, .step = i});
    for (std::uint64_t n = 1 + random.below(4); n > 0; --n) {
      const std::size_t at = random.below(text.size());
      switch (random.below(4)) {
        case 0:
          text[at] = static_cast<char>(random.below(256));
          break;
        case 1:
          text.erase(at, 1 + random.below(8));
          break;
        case 2:
          text.insert(at, seed, random.below(seed.size()), random.below(9));
          break;
        default:
          text[at] = "{}[],:\"\\0e-."[random.below(12)];
          break;
      }
      if (text.empty()) text = " ";
    }
    if (error_of(text) != "accepted") continue;
    ++accepted;
    const Json j = Json::parse(text);
    ASSERT_EQ(Json::parse(j.dump()), j) << text;
  }
  EXPECT_GT(accepted, 100);
}

}  // namespace
