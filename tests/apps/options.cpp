// SPDX-License-Identifier: Apache-2.0
#include "apps/options.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "apps/app.h"
#include "apps/text.h"

using namespace cuboid;
using namespace cuboid::app;

namespace {

/// A command like any other, for every test.
struct Fixture {
  double lr = 0.1;
  std::int64_t epochs = 10;
  bool ema = false, augment = true;
  std::string net = "small", recipe = "default", config;
  std::vector<std::string> inputs;
  std::vector<std::int64_t> blocks = {2, 2};
  Options options{"csf train", "Trains."};

  Fixture() {
    options.other_commands({"csf train", "csf evaluate", "demo"});
    options.positional("inputs", &inputs, "files");
    options.add("-e,--epochs", &epochs, "passes over the data").at_least(1).at_most(1000);
    options.add("--learning-rate", &lr, "step size");
    options.add("--ema", &ema, "average the weights");
    options.add("--augment", &augment, "turn and flip");
    options.add("--net", &net, "which").choices({"small", "csf"});
    options.add("--blocks", &blocks, "layers per block");
    options.add("--recipe", &recipe, "a set of values");
    options.add("-c,--config", &config, "file").not_saved();
    options.recipe("recipe", [](const std::string& name) -> OptionValues {
      if (name == "paper") return {{"learning-rate", {"0.0001"}}, {"epochs", {"300"}}};
      return {};
    });
  }
  std::string error(const std::vector<std::string>& arguments) {
    try {
      options.parse(arguments);
    } catch (const UsageError& e) {
      return e.what();
    }
    return "no error";
  }
};

std::string temporary_file(const std::string& content) {
  const auto path = std::filesystem::temp_directory_path() / ("cuboid_options_" + std::to_string(getpid()) + ".toml");
  std::ofstream(path) << content;
  return path.string();
}

TEST(Options, EverySpelling) {
  Fixture f;
  f.options.parse(
      {"a,b.npy", "-e", "5", "--learning_rate=1e-3", "--ema", "--no-augment", "--blocks", "1,2,3", "--net=csf", "c.npy"});
  EXPECT_EQ(f.epochs, 5);
  EXPECT_EQ(f.lr, 1e-3);
  EXPECT_TRUE(f.ema);
  EXPECT_FALSE(f.augment);
  EXPECT_EQ(f.blocks, (std::vector<std::int64_t>{1, 2, 3}));
  EXPECT_EQ(f.net, "csf");
  EXPECT_EQ(f.inputs, (std::vector<std::string>{"a,b.npy", "c.npy"}));
}

TEST(Options, PrecedenceAndOrigin) {
  const std::string file =
      temporary_file("learning_rate = 0.3\nblocks = [4, 5]\n[csf.train]\nema = true\n[csf.evaluate]\nbins = 3\n");
  setenv("CUBOID_LEARNING_RATE", "0.4", 1);
  Fixture f;
  f.options.parse({"--recipe", "paper", "--config", file, "-e", "7"});
  unsetenv("CUBOID_LEARNING_RATE");
  EXPECT_EQ(f.lr, 0.4);
  EXPECT_EQ(f.options.origin("learning-rate"), Origin::environment);
  EXPECT_EQ(f.epochs, 7);
  EXPECT_EQ(f.options.origin("epochs"), Origin::command_line);
  EXPECT_EQ(f.blocks, (std::vector<std::int64_t>{4, 5}));
  EXPECT_EQ(f.options.origin("blocks"), Origin::config);
  EXPECT_TRUE(f.ema);
  EXPECT_EQ(f.options.origin("net"), Origin::standard);
  EXPECT_EQ(f.options.origin("recipe"), Origin::command_line);

  Fixture g;
  g.options.parse({"--recipe=paper"});
  EXPECT_EQ(g.lr, 1e-4);
  EXPECT_EQ(g.epochs, 300);
  EXPECT_EQ(g.options.origin("epochs"), Origin::recipe);
  EXPECT_NE(g.options.origin_table().find("300"), std::string::npos);
}

TEST(Options, AResolvedRunCanBeRepeated) {
  Fixture f;
  f.options.parse({"--learning-rate", "0.1234567890123", "--ema", "--blocks", "6,12", "x \"y\".npy", "--recipe", "paper"});
  const std::string file = temporary_file(f.options.to_toml());
  Fixture g;
  g.options.parse({"--config", file});
  const auto first = f.options.resolved(), second = g.options.resolved();
  ASSERT_EQ(first.size(), second.size());
  for (std::size_t i = 0; i < first.size(); ++i)
    if (first[i].first != "config") {
      EXPECT_EQ(first[i], second[i]);
    }
}

TEST(Options, MistakesNameTheNearestWord) {
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{"--epoch", "3"}, "unknown option '--epoch'; did you mean '--epochs'?"},
      {{"--lerning-rate=3"}, "did you mean '--learning-rate'?"},
      {{"--net", "smal"}, "'smal' is not one of small, csf; did you mean 'small'?"},
      {{"--epochs", "three"}, "'three' is not a whole number"},
      {{"--epochs", "3.5"}, "'3.5' is not a whole number"},
      {{"--epochs", "0"}, "0 is below 1"},
      {{"--epochs", "1001"}, "1001 is not within its limit of 1000"},
      {{"--learning-rate", "nan"}, "limit"},
      {{"--epochs"}, "--epochs"},
      {{"--blocks", "1,,2"}, "'' is not a whole number"},
  };
  for (const auto& [arguments, text] : cases) {
    Fixture f;
    const std::string got = f.error(arguments);
    EXPECT_NE(got.find(text), std::string::npos) << got;
  }
}

TEST(Options, MistakesInAFileNameTheFile) {
  const std::pair<const char*, const char*> cases[] = {
      {"epocs = 3\n", "unknown key 'epocs'; did you mean 'epochs'?"},
      {"epochs = \"many\"\n", "(from the config file)"},
      {"epochs = \n", "at line 1"},
      {"[csf.trian]\nepochs = 3\n", "no command is named [csf trian]; did you mean 'csf train'?"},
      {"epochs = 1979-05-27\n", "must be text, a number, true or false"},
  };
  for (const auto& [content, text] : cases) {
    Fixture f;
    const std::string got = f.error({"--config", temporary_file(content)});
    EXPECT_NE(got.find(text), std::string::npos) << got;
  }
  Fixture f;
  EXPECT_NE(f.error({"--config", "/nowhere/x.toml"}).find("/nowhere/x.toml"), std::string::npos);
}

TEST(Options, HelpShowsEverything) {
  Fixture f;
  EXPECT_FALSE(f.options.parse({"--help"}));
  const std::string help = f.options.help();
  for (const char* text : {"--epochs", "passes over the data", "[10]", "(small | csf)", "--no-augment", "<inputs>"})
    EXPECT_NE(help.find(text), std::string::npos) << text;
}

TEST(Text, EditDistance) {
  EXPECT_EQ(edit_distance("trian", "train"), 1);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(closest("zzzzz", {"train", "split"}), "");
  EXPECT_EQ(closest("evalute", {"train", "evaluate"}), "evaluate");
}

TEST(Text, NumbersForPeople) {
  EXPECT_EQ(grouped(18525826), "18,525,826");
  EXPECT_EQ(grouped(-1234), "-1,234");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(bytes_text(1536), "1.5 KiB");
  EXPECT_EQ(duration_text(200), "3 min 20 s");
  EXPECT_EQ(shortest(0.0001), "0.0001");
}

TEST(Commands, ExitCodes) {
  static const std::vector<Command> table = {
      {"csf train", "", [](const Arguments&) -> int { throw DataError("x.npy: truncated"); }},
      {"csf split", "", [](const Arguments&) -> int { throw std::bad_alloc(); }},
      {"demo", "", [](const Arguments&) -> int { throw DeviceError("no device"); }},
      {"info", "", [](const Arguments& a) -> int { return static_cast<int>(a.size()); }},
  };
  const auto run = [](std::vector<std::string> words) {
    words.insert(words.begin(), "cuboid");
    std::vector<char*> argv;
    for (auto& w : words) argv.push_back(w.data());
    return run_main(static_cast<int>(argv.size()), argv.data(), table);
  };
  EXPECT_EQ(run({"info", "a", "b"}), 2);
  EXPECT_EQ(run({"csf", "train"}), bad_data);
  EXPECT_EQ(run({"csf", "split"}), out_of_memory);
  EXPECT_EQ(run({"demo"}), device_error);
  testing::internal::CaptureStderr();
  EXPECT_EQ(run({"csf", "trian"}), usage_error);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("unknown command 'csf trian'; did you mean 'train'?"), std::string::npos);
  testing::internal::CaptureStderr();
  EXPECT_EQ(run({"dmeo"}), usage_error);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("did you mean 'demo'?"), std::string::npos);
}

}  // namespace
