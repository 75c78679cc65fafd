// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "apps/deepis/scores.h"
#include "apps/run_folder.h"

namespace cuboid::deepis {

/// What a picture of a case needs: image raw or normalised (D,H,W) or undefined, labels (D,H,W).
struct ShownCase {
  Tensor image, truth, prediction;
  Spacing spacing_um{};
};

struct EvaluationReport {
  std::string title;
  std::vector<std::string> notes;              // lines a reader must know: what was left out, what was assumed
  std::int64_t worst = 3, best = 2;            // pictures
  std::function<ShownCase(std::size_t)> show;  // of case i
};

/// Pictures of the worst and the best cases into eval/, and report.html; returns its path. Figures and pictures need gnuplot and
/// libpng; without them the page says so.
std::string write_evaluation_report(const app::RunFolder& folder, const std::vector<CaseScore>& cases,
                                    const ScoreOptions& options, const Json& summary, const EvaluationReport& report);

}  // namespace cuboid::deepis
