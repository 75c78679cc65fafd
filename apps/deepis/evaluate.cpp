// SPDX-License-Identifier: Apache-2.0
#include "apps/deepis/evaluate.h"

#include "apps/deepis/label_files.h"
#include "apps/text.h"
#include "data/morphology/distance.h"
#include "data/normalise.h"
#include "data/volume.h"

namespace cuboid::deepis {
namespace {

Tensor first_channel(const Tensor& x) {
  if (x.rank() == 3) return x;
  return Tensor(x.storage(), x.offset(), {x.dim(1), x.dim(2), x.dim(3)}, {x.strides()[1], x.strides()[2], x.strides()[3]},
                x.dtype());
}

}  // namespace

ShownCase truth_of(const LabelledDataset& dataset, std::int64_t i) {
  const LabelledVolume v = dataset.load(i);
  ShownCase shown{.image = first_channel(v.image), .truth = v.labels, .prediction = {}, .spacing_um = v.spacing_um};
  if (v.labels.defined()) return shown;
  const PostprocessOptions as_it_is{.keep_largest = false, .fill_holes = false};
  check<DataError>(v.target.defined(), dataset[i].name, ": neither labels nor a target");
  shown.truth = dataset.head() == Head::signed_distance ? labels_of_signed(v.target, v.spacing_um, as_it_is)
                                                        : labels_of_instances(v.target, v.spacing_um, as_it_is);
  return shown;
}

Tensor predicted_labels(const std::filesystem::path& file, Head head, const Spacing& spacing_um,
                        const PostprocessOptions& options) {
  if (file.filename().string().find(".distance.") == std::string::npos) {
    const LabelVolume v = load_labels(file);
    common_spacing(v.spacing_um, file.string(), spacing_um, "the truth");
    return v.labels;
  }
  const Tensor distance = first_channel(load_volume(file, {.dtype = DType::f32}).image);
  check_finite(distance, file.string());
  check<DataError>(head != Head::classes, file.string(), ": a distance map, but the truth has classes");
  return head == Head::signed_distance ? labels_of_signed(distance, spacing_um, options)
                                       : labels_of_instances(distance, spacing_um, options);
}

Evaluation evaluate(const std::vector<EvaluationCase>& cases, const ScoreOptions& options, const app::RunFolder& folder,
                    app::Progress& progress) {
  Evaluation result;
  progress.begin("evaluate", static_cast<std::int64_t>(cases.size()));
  for (const EvaluationCase& one : cases) {
    const ShownCase loaded = one.load();
    check<DataError>(loaded.truth.shape() == loaded.prediction.shape(), one.name, ": prediction of shape ",
                     loaded.prediction.shape(), " (", one.prediction_file, "), truth of shape ", loaded.truth.shape(), " (",
                     one.reference_file, ")");
    try {
      result.cases.push_back(score(loaded.truth, loaded.prediction, loaded.spacing_um, options));
    } catch (const DataError& e) {
      fail<DataError>(one.name, ": ", e.what());
    }
    CaseScore& c = result.cases.back();
    c.name = one.name, c.reference_file = one.reference_file, c.prediction_file = one.prediction_file;
    progress.update(static_cast<std::int64_t>(result.cases.size()), "Dice " + app::fixed(c.classes.front().overlap.dice(), 3));
  }
  result.summary = summarise(result.cases, options);
  folder.write("eval/summary.json", result.summary);
  folder.write("eval/cases.csv", scores_csv(result.cases, options));
  write_case_pictures(folder, result.cases, [&](std::size_t i) { return cases[i].load(); });
  return result;
}

}  // namespace cuboid::deepis
