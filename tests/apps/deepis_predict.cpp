// SPDX-License-Identifier: Apache-2.0
// `deepis predict` on files: what it writes is what the net says, whatever the format, the memory, and who interrupts it.
#include <chrono>
#include <cstring>
#include <thread>

#include "apps/deepis/predict_run.h"
#include "apps/text.h"
#include "data/formats/mat.h"
#include "data/formats/nifti.h"
#include "data/formats/npy.h"
#include "data/resample.h"
#include "kernels/views/views.h"
#include "tests/apps/program.h"

using namespace cuboid;
using namespace cuboid::deepis;
namespace fs = std::filesystem;

namespace {

class DeepisPredict : public testing::Test {
 protected:
  /// A small net with random weights, for windows of 8 x 16 x 16.
  void make_model(Head head = Head::signed_distance, const std::string& file = "model.safetensors",
                  const Normalisation& normalise = {}) {
    ModelCard card;
    card.head = head;
    card.net.features = {4, 4, 8, 8, 8};
    card.net.trans = 4;
    card.net.auxiliary = 0;
    card.net.out_channels = head == Head::classes ? 3 : 1;
    card.classes = head == Head::instances ? std::vector<std::string>{"background", "object"}
                                           : std::vector<std::string>{"background", "cart19", "k562"};
    card.normalise = normalise;
    card.spacing_um = {0.2, 0.1, 0.1};
    card.patch = {8, 16, 16};
    GcnUnet net(card.net);
    save_model(folder_ / file, net, card);
  }
  /// Smooth, noisy, u8.
  static Tensor image(const Shape& shape, std::uint64_t seed = 1) {
    test::Random random(seed);
    const Tensor x = empty(shape, {.dtype = DType::u8});
    auto* p = x.mutable_data<std::uint8_t>();
    for (std::int64_t i = 0; i < x.size(); ++i)
      p[i] = static_cast<std::uint8_t>(120 + 60 * std::sin(static_cast<double>(i) / 37) +
                                       static_cast<double>(random.integer(0, 40)));
    return x;
  }
  test::Outcome predict(const std::vector<std::string>& arguments) const {
    std::vector<std::string> all = {"deepis", "predict"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return test::run_program(folder_.path(), all);
  }
  Json record(const std::string& out) const {
    return Json::parse(test::slurp(folder_ / (out + "/predict.json")), test::slurp(folder_ / (out + "/predict.json")));
  }
  void expect_same_file(const std::string& a, const std::string& b) const {
    ASSERT_TRUE(fs::exists(folder_ / a)) << a;
    ASSERT_TRUE(fs::exists(folder_ / b)) << b;
    EXPECT_EQ(test::slurp(folder_ / a), test::slurp(folder_ / b)) << a << " " << b;
  }
  /// predict.json and results; nothing half-written.
  void expect_only_whole_files(const std::string& out) const {
    for (const auto& file : test::files_in(folder_ / out)) {
      const std::string name = file.filename().string();
      EXPECT_TRUE(name == "predict.json" || name.ends_with(".npy")) << name;
      if (name.ends_with(".npy")) {
        EXPECT_NO_THROW(read_npy(file)) << name;
      }
    }
  }

  test::TempFolder folder_;
};

void expect_same(const Tensor& a, const Tensor& b, double tolerance = 0) {
  ASSERT_EQ(a.shape(), b.shape());
  const auto x = a.to_vector(), y = b.to_vector();
  for (std::size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(x[i], y[i], tolerance) << i;
}

TEST_F(DeepisPredict, FilesHoldWhatTheNetSays) {
  for (const Head head : {Head::signed_distance, Head::instances, Head::classes}) {
    make_model(head);
    const Tensor x = image({13, 37, 29});
    write_npy(folder_ / "cell.npy", x);
    const std::string out = name_of(head);
    const auto outcome = predict({"model.safetensors", "cell.npy", "-o", out, "--threshold", "0.02"});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    const Model model = load_model(folder_ / "model.safetensors");
    PostprocessOptions post;
    post.threshold_um = 0.02;
    const Tensor scores = predict_scores(model, x, {0.2, 0.1, 0.1});
    const Tensor labels = labels_of(head, scores, {0.2, 0.1, 0.1}, post);
    expect_same(read_npy(folder_ / (out + "/cell.labels.npy"), {.dtype = DType::i32}), labels);
    EXPECT_EQ(fs::exists(folder_ / (out + "/cell.distance.npy")), head != Head::classes);
    if (head != Head::classes) expect_same(read_npy(folder_ / (out + "/cell.distance.npy")), select(scores, 0, 0));
    const Json one = record(out).at("cases")[0];
    EXPECT_EQ(one.at("spacing_um")[0].as_double(), 0.2);
    EXPECT_EQ(one.at("postprocess").at("threshold_um").as_double(), 0.02);
    EXPECT_TRUE(one.at("files").contains("labels"));
  }
}

TEST_F(DeepisPredict, NormalisationOfAStreamIsThatOfTheWholeVolume) {
  const Tensor x = image({17, 11, 12});
  write_npy(folder_ / "x.npy", x);
  for (const Normalisation& n : {Normalisation{}, Normalisation{.kind = Normalisation::Kind::none},
                                 Normalisation{.kind = Normalisation::Kind::scale, .low = 10, .high = 200},
                                 Normalisation{.kind = Normalisation::Kind::percentiles, .low = 1, .high = 99}}) {
    PredictInput input({.name = "x", .file = folder_ / "x.npy"});
    input.check_and_measure(n);
    const Tensor got = empty({1, 17, 11, 12});
    input.planes()(0, slice(got, 1, 0, 10));
    input.planes()(10, slice(got, 1, 10, 7));
    expect_same(squeeze(got, 0), normalised(x, n));
  }
}

TEST_F(DeepisPredict, ALimitOnMemoryChangesNothingAndIsKept) {
  make_model();
  write_npy(folder_ / "x.npy", image({21, 40, 39}));
  ASSERT_EQ(predict({"model.safetensors", "x.npy", "-o", "free", "--tta", "mirror"}).code, 0);
  const auto refused = predict({"model.safetensors", "x.npy", "-o", "small", "--tta", "mirror", "--max-ram", "4M"});
  EXPECT_EQ(refused.code, 4);
  EXPECT_FALSE(fs::exists(folder_ / "small"));
  const std::string words = "the least that will do is --max-ram ";
  const auto at = refused.err.find(words);
  ASSERT_NE(at, std::string::npos) << refused.err;
  const std::string least =
      refused.err.substr(at + words.size(), refused.err.find('M', at + words.size()) + 1 - at - words.size());
  // What the system's own parts take differs a little from call to call.
  const std::string enough = std::to_string(std::stol(least) + 4) + "M";
  const auto kept = predict({"model.safetensors", "x.npy", "-o", "small", "--tta", "mirror", "--max-ram", enough});
  ASSERT_EQ(kept.code, 0) << kept.err;
  expect_same_file("small/x.distance.npy", "free/x.distance.npy");
  expect_same_file("small/x.labels.npy", "free/x.labels.npy");
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // which take memory of their own
  EXPECT_LE(record("small").at("memory").at("measured").as_int(), (std::stol(least) + 4) << 20);
#endif
}

TEST_F(DeepisPredict, TheEstimateIsWithinATenthOfThePeak) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers take memory of their own";
#endif
  make_model();
  write_npy(folder_ / "x.npy", image({70, 150, 140}));
  for (const std::string patch : {"32,64,64", "64,96,96"}) {
    const auto outcome = predict({"model.safetensors", "x.npy", "-o", patch, "--patch", patch, "--overlap", "0"});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    const Json memory = record(patch).at("memory");
    const double estimate = memory.at("peak").as_double(), measured = memory.at("measured").as_double();
    EXPECT_NEAR(estimate / measured, 1, 0.1) << patch << " " << memory.dump();
    EXPECT_NE(outcome.err.find("memory   " + app::bytes_text(estimate)), std::string::npos) << outcome.err;
  }
}

TEST_F(DeepisPredict, OtherVoxelsAreResampledAndBack) {
  make_model();
  const Tensor x = image({12, 20, 24});
  Volume volume;
  volume.image = x;
  volume.spacing = {0.2, 0.2, 0.15};
  volume.spacing_known = true;
  write_nifti(folder_ / "x.nii", volume);
  const auto outcome = predict({"model.safetensors", "x.nii", "-o", "out", "--format", "npy"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(outcome.err.find("resampled to 12 x 40 x 36"), std::string::npos) << outcome.err;
  const Model model = load_model(folder_ / "model.safetensors");
  const Tensor fine = resample(normalised(x, model.card.normalise), {12, 40, 36}, Resampling::linear);
  const Tensor y = app::slide(patch_net(model, false), unsqueeze(fine, 0), 1, {.window = model.card.patch});
  expect_same(read_npy(folder_ / "out/x.distance.npy"), squeeze(resample(y, {12, 20, 24}, Resampling::linear), 0));
  ASSERT_EQ(predict({"model.safetensors", "x.nii", "-o", "as_is", "--no-resample", "--format", "npy"}).code, 0);
  expect_same(read_npy(folder_ / "as_is/x.distance.npy"),
              squeeze(predict_scores(model, x, {0.2, 0.2, 0.15}, {.resample = false}), 0));
}

TEST_F(DeepisPredict, SpacingAndOrientationAreKept) {
  make_model();
  Volume volume;
  volume.image = image({9, 18, 17});
  volume.spacing = {0.2, 0.1, 0.1};
  volume.spacing_known = true;
  volume.origin = {3, -4, 5};
  volume.direction = {0, 0, -1, 1, 0, 0, 0, 1, 0};
  volume.orientation_known = true;
  write_nifti(folder_ / "x.nii.gz", volume);
  ASSERT_EQ(predict({"model.safetensors", "x.nii.gz", "-o", "out"}).code, 0);
  const Volume before = load_volume(folder_ / "x.nii.gz");
  for (const char* what : {"out/x.distance.nii.gz", "out/x.labels.nii.gz"}) {
    const Volume after = load_volume(folder_ / what);
    EXPECT_EQ(after.image.shape(), before.image.shape());
    for (std::size_t i = 0; i < 9; ++i) EXPECT_NEAR(after.direction[i], before.direction[i], 1e-6) << what;
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_NEAR(spacing_um(after)[i], spacing_um(before)[i], 1e-6) << what;
      EXPECT_NEAR(after.origin[i], before.origin[i], 1e-5) << what;
    }
  }
}

TEST_F(DeepisPredict, MatFilesAreThoseOfTheOriginal) {
  make_model();
  const Tensor x = image({9, 18, 17});
  write_mat(folder_ / "x.mat", {{"input", x, Number::u8}});
  const auto outcome = predict({"model.safetensors", "x.mat", "-o", "out"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const fs::path file = folder_ / "out/x.distance.mat";
  EXPECT_EQ(read_mat(file, "coeff_mag").to_vector(), std::vector<double>{2000});
  expect_same(read_mat(file, "input"), x);
  const Tensor scores = predict_scores(load_model(folder_ / "model.safetensors"), x, {0.2, 0.1, 0.1});
  const auto stored = read_mat(file, "output").to_vector(), expected = scores.to_vector();
  ASSERT_EQ(stored.size(), expected.size());
  for (std::size_t i = 0; i < stored.size(); ++i)
    ASSERT_EQ(stored[i],
              std::round(std::min(32767.0, std::max(-32768.0, static_cast<double>(static_cast<float>(expected[i]) * 2000.0F)))));
  EXPECT_EQ(read_mat(folder_ / "out/x.labels.mat", "labels").shape(), x.shape());
}

TEST_F(DeepisPredict, ATimeLapseIsASeriesInTheOrderOfItsNumbers) {
  make_model();
  fs::create_directories(folder_ / "lapse");
  for (const int t : {1, 2, 10, 9})
    write_npy(folder_ / ("lapse/t" + std::to_string(t) + ".npy"), image({8, 16, 16}, static_cast<std::uint64_t>(t)));
  ASSERT_EQ(predict({"model.safetensors", "lapse", "-o", "out"}).code, 0);
  const Json cases = record("out").at("cases");
  ASSERT_EQ(cases.size(), 4U);
  const std::vector<std::string> order = {"t1", "t2", "t9", "t10"};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(cases[i].at("name").as_string(), order[i]);
    EXPECT_EQ(cases[i].at("series").as_string(), "lapse");
    EXPECT_EQ(cases[i].at("frame").as_int(), static_cast<std::int64_t>(i));
  }
  // A frame more: the others are left alone.
  const auto written = fs::last_write_time(folder_ / "out/t9.distance.npy");
  write_npy(folder_ / "lapse/t3.npy", image({8, 16, 16}, 3));
  EXPECT_EQ(predict({"model.safetensors", "lapse", "-o", "out"}).code, 2);
  const auto outcome = predict({"model.safetensors", "lapse", "-o", "out", "--resume"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(outcome.err.find("4 of 5 volumes are there already"), std::string::npos) << outcome.err;
  EXPECT_EQ(fs::last_write_time(folder_ / "out/t9.distance.npy"), written);
  EXPECT_EQ(record("out").at("cases")[2].at("name").as_string(), "t3");
  EXPECT_EQ(predict({"model.safetensors", "lapse", "-o", "out", "--resume", "--overlap", "0.25"}).code, 2);
}

TEST_F(DeepisPredict, NanAndInfiniteVoxelsAreCountedAndTheOtherFramesGoOn) {
  make_model();
  fs::create_directories(folder_ / "lapse");
  write_npy(folder_ / "lapse/a.npy", image({8, 16, 16}));
  const Tensor bad = test::random({8, 16, 17}, {.dtype = DType::f32});
  const Tensor host = to(bad, Device::cpu);
  host.mutable_data<float>()[3 * 16 * 17 + 5 * 17 + 7] = std::nanf("");
  host.mutable_data<float>()[7 * 16 * 17] = INFINITY;
  write_npy(folder_ / "lapse/b.npy", host);
  write_npy(folder_ / "lapse/c.npy", image({8, 16, 16}, 3));
  const auto outcome = predict({"model.safetensors", "lapse", "-o", "out"});
  EXPECT_EQ(outcome.code, 3);
  EXPECT_NE(outcome.err.find("b.npy: 2 of 2176 voxels are NaN or infinite, the first at z 3, y 5, x 7"), std::string::npos)
      << outcome.err;
  EXPECT_EQ(record("out").at("cases").size(), 2U);
  EXPECT_EQ(record("out").at("failed")[0].at("name").as_string(), "b");
  expect_only_whole_files("out");
}

TEST_F(DeepisPredict, KilledInTheMiddleItGoesOnToTheSameBits) {
  make_model();
  fs::create_directories(folder_ / "lapse");
  for (const int t : {1, 2, 3})
    write_npy(folder_ / ("lapse/t" + std::to_string(t) + ".npy"), image({16, 32, 40}, static_cast<std::uint64_t>(t)));
  const std::vector<std::string> command = {"deepis", "predict", "model.safetensors", "lapse", "-q", "-j", "1",
                                            "--tta",  "mirror"};
  const auto with = [&](std::initializer_list<std::string> more) {
    auto all = command;
    all.insert(all.end(), more);
    return all;
  };
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_EQ(test::run_program(folder_.path(), with({"-o", "whole"})).code, 0);
  const auto all = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin).count();
  test::Random random(5);
  for (const int signal : {SIGKILL, SIGINT, SIGTERM, SIGKILL}) {
    test::Program program(folder_.path(), with({"-o", "cut", "--resume"}));
    std::this_thread::sleep_for(std::chrono::milliseconds(random.integer(all / 5, all / 2)));
    program.kill(signal);
    const auto outcome = program.wait();
    if (signal != SIGKILL && outcome.code == 130) {
      EXPECT_NE(outcome.err.find("of 3 volumes are done and whole"), std::string::npos) << outcome.err;
      expect_only_whole_files("cut");
    }
    for (const char* name : {"t1", "t2", "t3"}) {  // what is there under its own name is whole
      const fs::path file = folder_ / (std::string("cut/") + name + ".distance.npy");
      if (fs::exists(file)) {
        EXPECT_NO_THROW(read_npy(file));
      }
    }
  }
  const auto outcome = test::run_program(folder_.path(), with({"-o", "cut", "--resume"}));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  for (const char* file : {"t1.distance.npy", "t2.labels.npy", "t3.distance.npy"})
    expect_same_file(std::string("cut/") + file, std::string("whole/") + file);
  expect_only_whole_files("cut");
}

TEST_F(DeepisPredict, InputsAreFoundAndNamed) {
  EXPECT_TRUE(app::natural_less("t2", "t10"));
  EXPECT_TRUE(app::natural_less("a1b2", "a1b10"));
  EXPECT_TRUE(app::natural_less("t2", "t2a"));
  EXPECT_FALSE(app::natural_less("t02", "t1"));
  EXPECT_NE(app::natural_less("t01", "t1"), app::natural_less("t1", "t01"));
  for (const char* sub : {"a", "b/day2"}) fs::create_directories(folder_ / sub);
  const Tensor x = image({2, 2, 2});
  for (const char* file : {"a/x.npy", "b/x.npy", "b/day2/y.npy"}) write_npy(folder_ / file, x);
  const std::string root = folder_.path().string();
  auto cases = find_cases({root + "/a/x.npy", root + "/b"});
  ASSERT_EQ(cases.size(), 3U);
  EXPECT_EQ(cases[0].name, "a/x");
  EXPECT_EQ(cases[1].name, "day2/y");
  EXPECT_EQ(cases[1].series, "day2");
  EXPECT_EQ(cases[2].name, "b/x");
  EXPECT_EQ(cases[2].series, "b");
  EXPECT_EQ(find_cases({root + "/b"}, {.series = false})[0].series, "");
  EXPECT_THROW(find_cases({root + "/a/x.npy", root + "/a/x.npy"}), DataError);
  EXPECT_THROW(find_cases({root + "/nothing.npy"}), DataError);
  fs::create_directories(folder_ / "empty");
  EXPECT_THROW(find_cases({root + "/empty"}), DataError);
}

TEST_F(DeepisPredict, MessagesSayWhatIsWrong) {
  make_model();
  write_npy(folder_ / "x.npy", image({8, 16, 16}));
  write_npy(folder_ / "two.npy", image({2, 8, 16, 16}));
  const auto says = [&](const std::vector<std::string>& arguments, int code, const std::string& words) {
    const auto outcome = predict(arguments);
    EXPECT_EQ(outcome.code, code) << outcome.err;
    EXPECT_NE(outcome.err.find(words), std::string::npos) << outcome.err;
  };
  says({"model.safetensors", "two.npy", "-o", "o"}, 3, "two.npy: 2 channels");
  says({"model.safetensors", "-o", "o"}, 2, "nothing is left to predict");
  says({"model.safetensors", "x.npy", "-o", "o", "--max-ram", "much"}, 2, "no amount of memory");
  says({"model.safetensors", "x.npy", "-o", "o", "--patch", "8,8"}, 2, "expected z,y,x");
  says({"model.safetensors", "x.npy", "-o", "o", "--no-labels", "--no-distance"}, 2, "nothing to write");
  Volume coarse;
  coarse.image = image({8, 16, 16});
  coarse.spacing = {1, 1, 1};
  coarse.spacing_known = true;
  coarse.unit = "mm";
  write_nifti(folder_ / "ct.nii", coarse);
  says({"model.safetensors", "ct.nii", "-o", "o"}, 3, "resampling would make");
  says({"model.safetensors", "gone.npy", "-o", "o"}, 3, "gone.npy: no such file");
  EXPECT_FALSE(fs::exists(folder_ / "o"));
  const auto dry = predict({"-m", "model.safetensors", "x.npy", "-o", "o", "--dry-run"});
  EXPECT_EQ(dry.code, 0) << dry.err;
  EXPECT_NE(dry.out.find("windows  1 of 8 x 16 x 16"), std::string::npos) << dry.out;
  EXPECT_FALSE(fs::exists(folder_ / "o"));
}

TEST(DeepisMemory, AmountsAreRead) {
  EXPECT_EQ(bytes_of("2G", "max-ram"), std::int64_t{2} << 30);
  EXPECT_EQ(bytes_of("1.5 GiB", "max-ram"), std::int64_t{3} << 29);
  EXPECT_EQ(bytes_of("800m", "max-ram"), std::int64_t{800} << 20);
  EXPECT_EQ(bytes_of("12345", "max-ram"), 12345);
  for (const char* text : {"", "G", "-1G", "2X", "2GG", "nan", "1e300", "2 G B"})
    EXPECT_THROW(bytes_of(text, "max-ram"), Error) << text;
}

}  // namespace
