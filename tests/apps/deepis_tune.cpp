// SPDX-License-Identifier: Apache-2.0
// Post-processing chosen on validation cases: what is chosen of maps whose best values are known, and that the model keeps it.
#include "apps/deepis/tune.h"

#include <gtest/gtest.h>

#include <cmath>

#include "apps/app.h"
#include "core/safetensors.h"
#include "data/morphology/distance.h"
#include "kernels/views/views.h"
#include "tests/apps/program.h"
#include "tests/data/labelled_folder.h"

using namespace cuboid;
using namespace cuboid::deepis;
namespace fs = std::filesystem;

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

/// The distance of each label's border, changed by f(value, label); 1,D,H,W.
template <class F>
SweepCase distances(Head head, const Tensor& truth, F f, const Spacing& spacing = {1, 1, 1}) {
  const Tensor d = head == Head::instances ? instance_distance(truth, spacing) : signed_distance(truth, spacing);
  const Tensor scores = empty({1, truth.dim(0), truth.dim(1), truth.dim(2)});
  for (std::int64_t i = 0; i < d.size(); ++i)
    scores.mutable_data<float>()[i] = static_cast<float>(f(d.data<float>()[i], truth.data<std::uint8_t>()[i]));
  return {.scores = scores, .truth = truth, .spacing_um = spacing};
}

Tensor two_balls() { return test::balls({14, 16, 28}, {{7, 8, 7, 5}, {7, 8, 20, 5}}); }

TEST(DeepisSweep, InstancesInAHazeNeedAHigherThreshold) {
  // Inside from 2 on, outside 1.2: of 0.25, 0.5, ... 1, 1.5, 2, 3 voxels only 1.5 tells the two apart and loses nothing.
  for (const double voxel : {1.0, 0.2}) {
    const Spacing spacing = {2 * voxel, voxel, voxel};
    const auto hazy = [&](double d, int label) { return label ? d + voxel : 1.2 * voxel; };
    const Sweep s = sweep(Head::instances, {distances(Head::instances, two_balls(), hazy, spacing)}, spacing);
    EXPECT_NEAR(s.best().options.threshold_um, 1.5 * voxel, 1e-12);
    EXPECT_DOUBLE_EQ(s.best().merit, 1);
    EXPECT_EQ(s.best().instances.tp, 2);
    EXPECT_LT(s.standard().merit, 0.5);
    EXPECT_NEAR(s.best().options.min_volume_um3, 515 * 2 * voxel * voxel * voxel / 2, 1e-9) << "half a ball";
    EXPECT_EQ(s.best().options.prominence_um, -1);
    EXPECT_EQ(s.best().options.peak_distance_um, -1);
  }
}

TEST(DeepisSweep, SpecksAreSmallerThanTheSmallestObject) {
  SweepCase one = distances(Head::instances, two_balls(), [](double d, int) { return d; });
  for (std::int64_t k = 0; k < 6; ++k)  // 5 specks of 2 x 2 x 2
    for (std::int64_t i = 0; i < 8; ++i) one.scores.mutable_data<float>()[(i / 4 * 16 + i / 2 % 2) * 28 + i % 2 + 4 * k] = 2;
  const Sweep s = sweep(Head::instances, {one}, {1, 1, 1});
  EXPECT_DOUBLE_EQ(s.standard().merit, 2. / 8);
  EXPECT_DOUBLE_EQ(s.best().merit, 1);
  EXPECT_DOUBLE_EQ(s.best().options.min_volume_um3, 515. / 2) << "half of what the balls have";
  EXPECT_EQ(s.best().options.threshold_um, -1);
  // Of nine in ten true objects elsewhere: specks are of their kind, and 16 is the first step above 8.
  std::vector<double> volumes(20, 500);
  volumes[3] = volumes[9] = volumes[12] = 8;
  EXPECT_DOUBLE_EQ(sweep(Head::instances, {one}, {1, 1, 1}, {.volumes = volumes, .poll = {}}).best().options.min_volume_um3, 16);
}

TEST(DeepisSweep, OneObjectWithManyPeaksIsNotSeveral) {
  const auto bumpy = [](double d, int label) { return label && d > 2 ? d + 1.5 * std::cos(3 * d) : d; };
  const Sweep s = sweep(Head::instances, {distances(Head::instances, two_balls(), bumpy)}, {1, 1, 1});
  EXPECT_LT(s.standard().merit, 1);
  EXPECT_DOUBLE_EQ(s.best().merit, 1);
  EXPECT_TRUE(s.best().options.prominence_um > 1 || s.best().options.peak_distance_um > 3);
}

TEST(DeepisSweep, TheThresholdOfASignedDistanceStaysUnlessMuchIsGained) {
  const Tensor truth = two_balls();
  const auto chosen = [&](auto f) {
    return sweep(Head::signed_distance, {distances(Head::signed_distance, truth, f)}, {1, 1, 1});
  };
  const Sweep clear = chosen([](double d, int) { return d; });
  EXPECT_EQ(clear.chosen, 0u);
  EXPECT_DOUBLE_EQ(clear.best().merit, 1);
  EXPECT_EQ(clear.best().options.threshold_um, -1);
  // The border of one ball is a voxel wider, at 0.9: a threshold of 1 would lose the true border, which is 1.
  const Sweep wide = chosen([](double d, int label) { return d > 0 ? d + 0.5 : label == 2 ? d - 0.5 : 0.9; });
  EXPECT_EQ(wide.best().options.threshold_um, 1);
  EXPECT_GT(wide.best().merit, wide.standard().merit + 0.01);
  // A few voxels outside are 0.9: Dice gains less than a hundredth, which is chance.
  int left = 4;
  const Sweep hardly = chosen([&](double d, int label) { return label || left-- <= 0 ? d * 1.5 : 0.9; });
  double most = 0;
  for (const Trial& t : hardly.trials) most = std::max(most, t.merit);
  EXPECT_GE(most, hardly.standard().merit);
  EXPECT_EQ(hardly.chosen, 0u);
}

TEST(DeepisSweep, ClassesInSeveralPiecesKeepThem) {
  const auto scores_of = [](const Tensor& labels) {
    const Tensor s = zeros({3, labels.dim(0), labels.dim(1), labels.dim(2)});
    for (std::int64_t i = 0; i < labels.size(); ++i)
      s.mutable_data<float>()[labels.data<std::uint8_t>()[i] * labels.size() + i] = 1;
    return s;
  };
  Tensor truth = test::balls({12, 12, 30}, {{6, 6, 5, 4}, {6, 6, 15, 3}, {6, 6, 24, 4}});
  for (std::int64_t i = 0; i < truth.size(); ++i)
    if (auto& v = truth.mutable_data<std::uint8_t>()[i]; v == 3) v = 1;
  const Sweep all = sweep(Head::classes, {{.scores = scores_of(truth), .truth = truth, .spacing_um = {1, 1, 1}}}, {1, 1, 1});
  EXPECT_FALSE(all.best().options.keep_largest);
  EXPECT_DOUBLE_EQ(all.best().merit, 1);
  EXPECT_EQ(all.best().options.min_volume_um3, 0);
  const Tensor speckled = empty(truth.shape(), {.dtype = DType::u8});
  copy(truth, speckled);
  for (std::int64_t k = 0; k < 12; ++k) speckled.mutable_data<std::uint8_t>()[2 * k + k % 2 * 330] = 2;
  const Sweep clean = sweep(Head::classes, {{.scores = scores_of(speckled), .truth = truth, .spacing_um = {1, 1, 1}}}, {1, 1, 1});
  EXPECT_FALSE(clean.best().options.keep_largest);
  EXPECT_DOUBLE_EQ(clean.best().merit, 1);
  EXPECT_GT(clean.best().options.min_volume_um3, 1) << "of a voxel each";
  const Tensor one_piece = test::balls({12, 12, 30}, {{6, 6, 5, 4}, {6, 6, 15, 3}});
  const Sweep largest =
      sweep(Head::classes, {{.scores = scores_of(one_piece), .truth = one_piece, .spacing_um = {1, 1, 1}}}, {1, 1, 1});
  EXPECT_EQ(largest.chosen, 0u) << "no difference: the default";
}

TEST(DeepisSweep, NothingFoundOrNothingThereLeavesTheDefault) {
  for (const Head head : {Head::instances, Head::signed_distance}) {
    const Sweep blind = sweep(head, {distances(head, two_balls(), [](double, int) { return 0; })}, {1, 1, 1});
    EXPECT_EQ(blind.chosen, 0u);
    EXPECT_EQ(blind.best().merit, 0);
    const Sweep empty = sweep(head, {distances(head, zeros({6, 6, 6}, {.dtype = DType::u8}), [](double, int) { return 0; })}, {});
    EXPECT_EQ(empty.chosen, 0u);
    EXPECT_TRUE(std::isnan(empty.best().merit));
    EXPECT_TRUE(to_json(empty).at("trials")[0].at("merit").is_null());
    EXPECT_EQ(sweep_table(to_json(empty)).size(), empty.trials.size() + 1);
  }
}

TEST(DeepisSweep, OfWhatIsAsGoodTheNearestIsChosen) {
  const auto trial = [](int steps, double merit, double second = 0, std::int64_t objects = 0) {
    Trial t{.steps = steps, .merit = merit, .second = second, .instances = {}};
    t.instances.tp = objects;
    return t;
  };
  EXPECT_EQ(choose({trial(0, 0.9), trial(2, 0.95), trial(1, 0.941), trial(1, 0.93)}), 2u);
  EXPECT_EQ(choose({trial(0, 0.9), trial(1, 0.909)}), 0u);
  EXPECT_EQ(choose({trial(0, 0.9), trial(1, 0.911)}), 1u);
  EXPECT_EQ(choose({trial(0, 0.5, 0.5, 10), trial(3, 0.6, 0.5, 10)}), 0u) << "one object of ten";
  EXPECT_EQ(choose({trial(0, 0.5, 0.5, 10), trial(3, 0.6, 0.52, 10)}), 1u) << "but all of them fit better";
  EXPECT_EQ(choose({trial(0, 0.5, 0.5, 1000), trial(3, 0.6, 0.5, 1000)}), 1u);
  EXPECT_EQ(choose({trial(0, nan), trial(1, nan)}), 0u);
  EXPECT_EQ(choose({trial(0, nan), trial(1, 0.2)}), 1u);
}

TEST(DeepisSweep, AskedToStopItStops) {
  const auto all = [] { throw app::Interrupted("enough"); };
  EXPECT_THROW(sweep(Head::instances, {distances(Head::instances, two_balls(), [](double d, int) { return d; })}, {1, 1, 1},
                     {.volumes = {}, .poll = all}),
               app::Interrupted);
}

// ---- with a net ----------------------------------------------------------------------------------

class DeepisTune : public testing::Test {
 protected:
  void SetUp() override { test::write_pairs(folder_ / "pairs", 5); }
  void TearDown() override { app::request_stop(0); }

  Model make_model(const std::string& file, const Json& post = Json::object()) const {
    ModelCard card;
    card.net.features = {4, 4, 8, 8, 8};
    card.net.trans = 4;
    card.net.auxiliary = 0;
    card.patch = {8, 8, 8};
    card.spacing_um = {1, 1, 1};
    card.postprocess = post;
    GcnUnet net(card.net);
    save_model(folder_ / file, net, card);
    return load_model(folder_ / file);
  }
  test::Outcome run(std::vector<std::string> words) const {
    words.insert(words.begin(), "deepis");
    return test::run_program(folder_.path(), words);
  }
  std::vector<std::string> training(const std::string& where, const std::string& more = "--tune") const {
    return {"train", "-d", "pairs", "--head", "signed", "--features", "4,4,8,8,8", "--trans",      "4",    "-e",   "2", "-b",
            "2",     "-o", where,   "-j",     "1",      "--valid",    "0.4",       "--no-augment", "--lr", "0.01", more};
  }
  std::string best(const std::string& where) const { return test::slurp(folder_ / where / best_checkpoint); }
  Json card(const std::string& where) const { return load_model(folder_ / where).card.postprocess; }

  test::TempFolder folder_;
};

TEST_F(DeepisTune, TheModelKeepsWhatIsChosenAndPredictUsesIt) {
  const Model model = make_model("m.safetensors");
  PostprocessOptions chosen;
  chosen.threshold_um = 0.015625;
  chosen.keep_largest = false;
  keep_postprocess(folder_ / "m.safetensors", model.card, chosen, folder_ / "tuned.safetensors");
  const Model tuned = load_model(folder_ / "tuned.safetensors");
  EXPECT_EQ(tuned.card.postprocess, to_json(chosen));
  EXPECT_TRUE(load_model(folder_ / "m.safetensors").card.postprocess.as_object().empty());
  const auto before = read_safetensors(folder_ / "m.safetensors"), after = read_safetensors(folder_ / "tuned.safetensors");
  ASSERT_EQ(before.size(), after.size());
  for (std::size_t i = 0; i < before.size(); ++i) {
    EXPECT_EQ(before[i].first, after[i].first);
    EXPECT_EQ(before[i].second.to_vector(), after[i].second.to_vector()) << before[i].first;
  }
  const auto labels = [&](const std::string& name, std::vector<std::string> more) {
    std::vector<std::string> words = {"predict", name + ".safetensors", "pairs/images/c0.npy", "-o", name, "-q", "--overwrite"};
    words.insert(words.end(), more.begin(), more.end());
    const auto outcome = run(words);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return read_npy(folder_ / name / "c0.labels.npy").to_vector();
  };
  const auto own = labels("tuned", {});
  EXPECT_EQ(own, labels("m", {"--threshold", "0.015625", "--all-components"}));
  EXPECT_NE(own, labels("m", {}));
  EXPECT_EQ(labels("tuned", {"--threshold", "0.5"}), labels("m", {"--all-components"})) << "an option goes before the model";
}

TEST_F(DeepisTune, PredictsAsPredictDoesAndNoMoreThanItMay) {
  const Model model = make_model("m.safetensors");
  const LabelledDataset data = open_labelled_dataset(folder_ / "pairs", {.head = Head::signed_distance});
  app::Progress quiet("cases", app::Progress::Mode::quiet);
  const Tuned all = tune(model, data, {0, 2, 4}, {}, quiet);
  EXPECT_EQ(all.cases, (std::vector<std::string>{"c0", "c2", "c4"}));
  EXPECT_EQ(all.voxels, (10 + 12 + 14) * 12 * 14);
  std::vector<SweepCase> cases;
  for (const int i : {0, 2, 4}) {
    const LabelledVolume v = open_labelled_dataset(folder_ / "pairs", {.head = Head::signed_distance,
                                                                       .normalise = {.kind = Normalisation::Kind::none}})
                                 .load(i);
    cases.push_back({.scores = predict_scores(model, v.image, {}), .truth = v.labels, .spacing_um = {1, 1, 1}});
  }
  const Sweep same = sweep(Head::signed_distance, cases, {1, 1, 1});
  ASSERT_EQ(same.trials.size(), all.sweep.trials.size());
  for (std::size_t i = 0; i < same.trials.size(); ++i) EXPECT_EQ(same.trials[i].merit, all.sweep.trials[i].merit);

  const Tuned some = tune(model, data, {0, 2, 4}, {.max_voxels = 23 * 12 * 14}, quiet);
  EXPECT_EQ(some.cases.size(), 2u);
  EXPECT_EQ(some.left_out, 1);
  const Tuned planes = tune(model, data, {4, 2}, {.max_voxels = 5 * 12 * 14 + 3}, quiet);
  EXPECT_EQ(planes.voxels, 5 * 12 * 14);
  EXPECT_EQ(planes.left_out, 1);

  app::request_stop(SIGINT);
  EXPECT_THROW(tune(model, data, {0}, {}, quiet), app::Interrupted);
}

TEST_F(DeepisTune, TrainingChoosesOnceAndSaysSo) {
  const auto done = run(training("whole"));
  ASSERT_EQ(done.code, 0) << done.err;
  EXPECT_NE(done.err.find("post-processing: 6 values tried on 2 of 2 validation cases"), std::string::npos) << done.err;
  const Json tried = Json::parse(test::slurp(folder_ / "whole/postprocess.json"));
  EXPECT_EQ(tried.at("values"), card("whole"));
  EXPECT_EQ(tried.at("trials").size(), 6u);
  const std::string page = test::slurp(folder_ / "whole/report.html");
  EXPECT_NE(page.find("Post-processing"), std::string::npos);
  EXPECT_NE(page.find("6 values were tried"), std::string::npos);

  // Stopped between training and choosing, it goes on to the same bits; once chosen, nothing changes.
  ASSERT_EQ(run(training("parts", "--no-tune")).code, 0);
  EXPECT_TRUE(card("parts").as_object().empty());
  EXPECT_NE(best("parts"), best("whole"));
  const auto resumed = run({"train", "--resume", "parts", "--tune", "-j", "1"});
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_NE(resumed.err.find("finished before"), std::string::npos) << resumed.err;
  EXPECT_EQ(best("parts"), best("whole"));
  const auto again = run({"train", "--resume", "parts", "--tune", "-j", "1"});
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_EQ(again.err.find("post-processing"), std::string::npos) << again.err;
  EXPECT_EQ(best("parts"), best("whole"));

  // The command does the same, also on other data and into another file.
  const auto command = run({"tune", "whole"});
  ASSERT_EQ(command.code, 0) << command.err;
  EXPECT_NE(command.out.find("threshold um"), std::string::npos) << command.out;
  EXPECT_EQ(best("parts"), best("whole"));
  EXPECT_EQ(run({"tune", "whole/checkpoints/best.safetensors"}).code, app::usage_error) << "whose data?";
  const auto none = run({"tune", "whole/checkpoints/best.safetensors", "-d", "pairs", "-o", "x.safetensors"});
  EXPECT_EQ(none.code, app::bad_data);
  EXPECT_NE(none.err.find("no cases of the part 'valid'"), std::string::npos) << none.err;
  EXPECT_FALSE(fs::exists(folder_ / "x.safetensors"));
  ASSERT_EQ(run({"tune", "whole/checkpoints/best.safetensors", "-d", "pairs", "--split", "train", "-o", "x.safetensors"}).code,
            0);
  EXPECT_NO_THROW(load_model(folder_ / "x.safetensors"));
}

TEST_F(DeepisTune, WithoutValidationTheDefaultsStayAndThatIsSaid) {
  auto words = training("run");
  *std::find(words.begin(), words.end(), "0.4") = "0";
  const auto done = run(words);
  ASSERT_EQ(done.code, 0) << done.err;
  EXPECT_NE(done.err.find("post-processing: the defaults, as there are no validation cases"), std::string::npos) << done.err;
  EXPECT_TRUE(card("run").as_object().empty());
  EXPECT_FALSE(fs::exists(folder_ / "run/postprocess.json"));
}

}  // namespace
