// SPDX-License-Identifier: Apache-2.0
// The built program: whatever is wrong ends in one line that says what, where and why, a hint, and the right exit code.
#include "tests/apps/program.h"

#include <gtest/gtest.h>

#include "apps/csf/model.h"
#include "apps/csf/phantom.h"
#include "data/formats/npy.h"

using namespace cuboid;
using test::run_program;
namespace fs = std::filesystem;

namespace {

/// A folder with 24 small cells of 4 patients, a model for them, and one broken thing after the other.
class Program : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new test::TempFolder;
    csf::write_phantom({.output = *folder_ / "cells", .cells = {.cells = 24, .size = 16, .patients = 4}, .masks = false});
    csf::ModelCard card{.net = csf::named_net("tiny", 2), .classes = {"round", "lobed"}, .input = {1, 16, 16, 16}};
    DenseNet net(card.net);
    csf::save_model(*folder_ / "model.safetensors", net, card);
  }
  static void TearDownTestSuite() { delete folder_; }
  static fs::path at(const std::string& name) { return *folder_ / name; }
  /// A copy of the cells to be spoiled.
  static std::string copy_of_cells(const std::string& name) {
    fs::copy(at("cells"), at(name), fs::copy_options::recursive);
    return name;
  }
  static void expect(int code, const std::vector<std::string>& parts, const std::vector<std::string>& arguments) {
    const test::Outcome got = run_program(folder_->path(), arguments);
    EXPECT_EQ(got.code, code) << got.out << got.err;
    for (const auto& part : parts) EXPECT_NE(got.err.find(part), std::string::npos) << "'" << part << "' is not in: " << got.err;
    if (code == 0) return;
    // One error line, and what to do.
    EXPECT_EQ(got.err.rfind("error: "), got.err.find("error: ")) << got.err;
    EXPECT_NE(got.err.find("\n  hint: "), std::string::npos) << got.err;
  }
  static std::vector<std::string> train(const std::string& data) {
    return {"csf", "train", "-d", data, "--net", "tiny", "-e", "1", "--folds", "2", "-q", "-o", "run_" + data};
  }

  static inline test::TempFolder* folder_ = nullptr;
};

TEST_F(Program, UsageIsExplained) {
  expect(2, {"unknown command 'csf trian'; did you mean 'train'?"}, {"csf", "trian"});
  expect(2, {"unknown command 'dmeo'; did you mean 'demo'?"}, {"dmeo"});
  expect(2, {"unknown option '--epoch'; did you mean '--epochs'?"}, {"csf", "train", "-d", "cells", "--epoch", "3"});
  expect(2, {"'abc' is not a whole number"}, {"csf", "train", "-d", "cells", "--epochs", "abc"});
  expect(2, {"missing option --data"}, {"csf", "train"});
  expect(5, {"no CUDA support"}, {"csf", "train", "-d", "cells", "--device", "cuda"});
  test::spit(at("typo.toml"), "lerning_rate = 3\n");
  expect(2, {"typo.toml: unknown key 'lerning_rate'"}, {"csf", "train", "-d", "cells", "--config", "typo.toml"});
  EXPECT_EQ(run_program(folder_->path(), {"--version"}).code, 0);
  EXPECT_EQ(run_program(folder_->path(), {"csf", "train", "--help"}).code, 0);
}

TEST_F(Program, ADryRunShowsTheOriginOfEachValue) {
  const auto got = run_program(folder_->path(), {"csf", "train", "-d", "cells", "--recipe", "paper", "--epochs", "7", "--folds",
                                                 "2", "--split", "grouped", "--net", "tiny", "--dry-run"});
  EXPECT_EQ(got.code, 0) << got.err;
  for (const char* text : {"recipe", "command line", "default", "0.0001", "memory", "can be read"})
    EXPECT_NE(got.out.find(text), std::string::npos) << text << "\n" << got.out;
}

TEST_F(Program, BrokenVolumes) {
  const std::string whole = test::slurp(at("cells/cells/cell_0003.npy"));
  std::string object = whole;
  object.replace(object.find("<f4"), 3, "|O ");
  std::string poisoned = whole;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  poisoned.replace(poisoned.size() - 4, 4, reinterpret_cast<const char*>(&nan), 4);
  std::string huge = whole;
  huge.replace(huge.find("(16, 16, 16)"), 12, "(9999999999,");
  write_npy(at("flat.npy"), full({16, 16, 8}, 1));
  const struct {
    const char* name;
    std::string content;
    std::vector<std::string> parts;
  } cases[] = {
      {"truncated", whole.substr(0, whole.size() / 2), {"cell_0003.npy"}},
      {"oversized", whole + std::string(64, 'x'), {"cell_0003.npy"}},
      {"object", object, {"cell_0003.npy", "object"}},
      {"nan", poisoned, {"cell_0003.npy", "NaN"}},
      {"huge", huge, {"cell_0003.npy"}},
      {"other_shape", test::slurp(at("flat.npy")), {"cell_0003.npy", "[1,16,16,8]", "[1,16,16,16]"}},
      {"not_npy", "hello", {"cell_0003.npy"}},
      {"empty", "", {"cell_0003.npy"}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    copy_of_cells(c.name);
    test::spit(at(c.name) / "cells" / "cell_0003.npy", c.content);
    auto arguments = train(c.name);
    arguments.push_back("--dry-run");
    expect(3, c.parts, arguments);
    if (std::string(c.name) != "other_shape")
      expect(3, c.parts, {"csf", "predict", "-m", "model.safetensors", std::string(c.name) + "/cells/cell_0003.npy"});
  }
  expect(3, {"flat.npy", "[1,16,16,8]"}, {"csf", "predict", "-m", "model.safetensors", "flat.npy"});
  test::spit(at("bad.tif"), "II*\0garbage that is no image");
  test::spit(at("bad.tcf"), "\x89HDF\r\n\x1a\n and nothing more");
  expect(3, {"bad.tif"}, {"csf", "predict", "-m", "model.safetensors", "bad.tif"});
  expect(3, {"bad.tcf"}, {"csf", "predict", "-m", "model.safetensors", "bad.tcf"});
  expect(3, {"none.npy"}, {"csf", "predict", "-m", "model.safetensors", "none.npy"});
}

TEST_F(Program, BrokenFoldersAndTables) {
  fs::create_directory(at("nothing"));
  expect(3, {"nothing"}, train("nothing"));
  expect(3, {"not_there"}, train("not_there"));
  copy_of_cells("missing_file");
  fs::remove(at("missing_file/cells/cell_0005.npy"));
  expect(3, {"cell_0005.npy"}, train("missing_file"));
  // one class has a single patient: no two folds can hold it
  copy_of_cells("one_patient");
  std::string labels = test::slurp(at("one_patient/labels.csv"));
  for (const char* patient : {"P03"})
    for (std::size_t i; (i = labels.find(patient)) != labels.npos;) labels.replace(i, 3, "P01");
  test::spit(at("one_patient/labels.csv"), labels);
  expect(3, {"fold"}, train("one_patient"));
  test::spit(at("task.yaml"), "t:\n  group1: A\n  group1_patients: [P01, P02]\n  group2: B\n  group2_patients: [P02, P03]\n");
  auto arguments = train("cells");
  arguments.insert(arguments.end(), {"--task-file", "task.yaml"});
  expect(3, {"P02"}, arguments);
}

TEST_F(Program, BrokenCheckpoints) {
  const std::string cell = "cells/cells/cell_0000.npy";
  std::string whole = test::slurp(at("model.safetensors"));
  test::spit(at("cut.safetensors"), whole.substr(0, whole.size() - 100));
  expect(3, {"cut.safetensors"}, {"csf", "predict", "-m", "cut.safetensors", cell});
  std::string flipped = whole;
  flipped[flipped.size() - 9] = static_cast<char>(flipped[flipped.size() - 9] ^ 1);
  test::spit(at("flipped.safetensors"), flipped);
  expect(3, {"flipped.safetensors", "checksum"}, {"csf", "predict", "-m", "flipped.safetensors", cell});
  expect(3, {"features.", "["},
         {"csf", "predict", "-m", "model.safetensors", "--net", "small", cell});  // another model: key, shapes
  expect(3, {"no checkpoint"}, {"csf", "predict", "-m", "cells", cell});
  expect(3, {"not a run folder"}, {"csf", "evaluate", "cells"});
  EXPECT_EQ(run_program(folder_->path(), {"csf", "predict", "-m", "model.safetensors", cell}).code, 0);
}

TEST_F(Program, FullDisksAndExistingFolders) {
  const test::Outcome full = test::Program(folder_->path(), {"info", "--net", "tiny"}, "/dev/full").wait();
  EXPECT_EQ(full.code, 1);
  EXPECT_NE(full.err.find("No space left"), std::string::npos) << full.err;
  fs::create_directory(at("mine"));
  test::spit(at("mine/work.txt"), "years");
  expect(2, {"mine", "not empty"}, {"csf", "train", "-d", "cells", "--net", "tiny", "-e", "1", "-o", "mine"});
  EXPECT_EQ(test::slurp(at("mine/work.txt")), "years");
  if (geteuid() != 0) {
    fs::create_directory(at("nothing2"));
    fs::permissions(at("nothing2"), fs::perms::owner_read | fs::perms::owner_exec);
    expect(1, {"nothing2"}, {"csf", "train", "-d", "cells", "--net", "tiny", "-e", "1", "-o", "nothing2/run"});
  }
}

TEST_F(Program, TrainEvaluatePredictExplain) {
  const auto trained = run_program(
      folder_->path(), {"csf", "train", "-d", "cells", "--net", "tiny", "-e", "2", "--folds", "2", "-o", "run", "--json"});
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_EQ(Json::parse(trained.out).at("pooled").at("cells").as_int(), 24);
  for (const char* file :
       {"run.toml", "manifest.json", "metrics.jsonl", "split.json", "eval/summary.json", "eval/predictions.csv", "report.html",
        "checkpoints/fold1/best.safetensors", "checkpoints/fold2/last.safetensors"})
    EXPECT_TRUE(fs::exists(at("run") / file)) << file;
  // run.toml makes the same run again
  const auto again = run_program(folder_->path(), {"csf", "train", "--config", "run/run.toml", "-o", "again", "-q", "--json"});
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_EQ(trained.out, again.out);
  const auto judged = run_program(folder_->path(), {"csf", "evaluate", "run", "--json", "-q"});
  EXPECT_EQ(Json::parse(judged.out).at("pooled").at("confusion"), Json::parse(trained.out).at("pooled").at("confusion"))
      << judged.err;
  const auto predicted = run_program(folder_->path(), {"csf", "predict", "-m", "run", "cells/cells", "--json", "-q"});
  EXPECT_EQ(Json::parse(predicted.out).size(), 24u) << predicted.err;
  const auto explained =
      run_program(folder_->path(), {"csf", "explain", "-m", "run", "cells/cells/cell_0001.npy", "-o", "cams", "-q"});
  EXPECT_EQ(explained.code, 0) << explained.err;
  EXPECT_EQ(read_npy(at("cams/cell_0001_cam.npy")).shape(), (Shape{16, 16, 16}));
}

}  // namespace
