// SPDX-License-Identifier: Apache-2.0
// Many cases judged, and the files that say how well they did.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "apps/deepis/evaluation_report.h"
#include "apps/deepis/postprocess.h"
#include "apps/progress.h"

namespace cuboid::deepis {

struct EvaluationCase {
  std::string name, reference_file, prediction_file;
  std::function<ShownCase()> load;  // labels both; the image where there is one
};

struct Evaluation {
  std::vector<CaseScore> cases;
  Json summary;
};

/// Loads and scores one case after the other, then writes eval/summary.json, eval/cases.csv and pictures of the worst and best
/// cases. DataError names the case that does not fit.
Evaluation evaluate(const std::vector<EvaluationCase>& cases, const ScoreOptions& options, const app::RunFolder& folder,
                    app::Progress& progress);

/// What a dataset says is true of case i, as labels (D,H,W) i32: its labels, or what its distances come to. The image's first
/// channel is there too.
ShownCase truth_of(const LabelledDataset& dataset, std::int64_t i);
/// Labels of a file, or of a distance map (NAME.distance.*) by the options.
Tensor predicted_labels(const std::filesystem::path& file, Head head, const Spacing& spacing_um,
                        const PostprocessOptions& options);

}  // namespace cuboid::deepis
