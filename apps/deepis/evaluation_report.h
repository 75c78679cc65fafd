// SPDX-License-Identifier: Apache-2.0
// The pages and pictures of an evaluation, from what lies in a folder's eval/: summary.json, pictures.json, NAME.png.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "apps/deepis/scores.h"
#include "apps/report.h"
#include "apps/run_folder.h"

namespace cuboid::deepis {

/// What a picture of a case needs: image, raw or normalised (D,H,W), and labels (D,H,W).
struct ShownCase {
  Tensor image, truth, prediction;
  Spacing spacing_um{};
};
/// Pictures of the worst and the best cases; `show` is asked for those alone, and may leave the image out: then there is none.
/// Without libpng nothing is drawn.
void write_case_pictures(const app::RunFolder& folder, const std::vector<CaseScore>& cases,
                         const std::function<ShownCase(std::size_t)>& show, std::int64_t worst = 3, std::int64_t best = 2);

/// Everything the folder knows of its evaluation, for a page that may hold more. Nothing when there was none.
void evaluation_sections(app::Page& page, const app::RunFolder& folder);

/// A page of its own, report.html; returns its path. `notes` are what a reader must know: what was assumed, what was left out.
std::string write_evaluation_report(const app::RunFolder& folder, const std::string& title,
                                    const std::vector<std::string>& notes);

}  // namespace cuboid::deepis
