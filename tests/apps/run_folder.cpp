// SPDX-License-Identifier: Apache-2.0
#include "apps/run_folder.h"

#include <gtest/gtest.h>

#include <fstream>
#include <thread>

#include "apps/app.h"
#include "apps/report.h"
#include "tests/files.h"

using namespace cuboid;
using namespace cuboid::app;
namespace fs = std::filesystem;

namespace {

TEST(RunFolder, NumbersGoOn) {
  const test::TempFolder folder;
  EXPECT_EQ(RunFolder::numbered(folder.path(), "cells").path().filename(), "001-cells");
  EXPECT_EQ(RunFolder::numbered(folder.path(), "my cells/x").path().filename(), "002-my-cells-x");
  fs::create_directory(folder.path() / "017-other");
  EXPECT_EQ(RunFolder::numbered(folder.path(), "..").path().filename(), "018-run");
  EXPECT_EQ(fs::read_symlink(folder.path() / "latest"), "018-run");
}

TEST(RunFolder, TwoAtOnceGetTwoNumbers) {
  const test::TempFolder folder;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) threads.emplace_back([&] { RunFolder::numbered(folder.path(), "x"); });
  for (auto& t : threads) t.join();
  int count = 0;
  for (const auto& entry : fs::directory_iterator(folder.path())) count += !entry.is_symlink();
  EXPECT_EQ(count, 8);
}

TEST(RunFolder, NothingIsOverwritten) {
  const test::TempFolder folder;
  const fs::path place = folder.path() / "mine";
  RunFolder::at(place, false).write("run.toml", std::string("x = 1\n"));
  EXPECT_THROW(RunFolder::at(place, false), UsageError);
  EXPECT_NO_THROW(RunFolder::at(place, true));
  EXPECT_EQ(RunFolder::existing(place).read_text("run.toml"), "x = 1\n");
  EXPECT_THROW(RunFolder::existing(folder.path()), DataError);
  EXPECT_THROW(RunFolder::existing(folder.path() / "none"), DataError);
}

TEST(RunFolder, TheLogSurvivesATornLineAndCanBeTrimmed) {
  const test::TempFolder folder;
  const RunFolder run = RunFolder::at(folder.path() / "r", false);
  for (int epoch = 1; epoch <= 4; ++epoch) run.log(Json::object({{"epoch", epoch}}));
  std::ofstream(run.path() / "metrics.jsonl", std::ios::app) << "{\"epoch\": 5, \"lo";
  EXPECT_EQ(run.logged().size(), 4u);
  run.trim_log([](const Json& line, const Json& limit) { return line.at("epoch").as_int() <= limit.as_int(); }, Json(2));
  EXPECT_EQ(run.logged().size(), 2u);
}

TEST(Report, EverythingIsEscapedAndInside) {
  Page page("a <b> & \"c\"", "sub");
  page.panels({{Page::picture("abc", "x"), "<script>"}});
  const std::string html = page.finish("end");
  EXPECT_EQ(html.find("<script>"), std::string::npos);
  EXPECT_NE(html.find("a &lt;b&gt; &amp; &quot;c&quot;"), std::string::npos);
  EXPECT_NE(html.find("base64,YWJj\""), std::string::npos);
  EXPECT_EQ(html.find("http"), std::string::npos) << "a page that stands alone";
  EXPECT_EQ(base64("M"), "TQ==");
  EXPECT_EQ(base64("Ma"), "TWE=");
  EXPECT_EQ(base64("Man"), "TWFu");
  EXPECT_EQ(base64(""), "");
}

}  // namespace
