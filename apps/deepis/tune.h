// SPDX-License-Identifier: Apache-2.0
// Post-processing chosen on validation cases, and kept in the model: what `cuboid deepis train` does at its end and
// `cuboid deepis tune` does again.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "apps/deepis/model.h"
#include "apps/deepis/predict.h"
#include "apps/deepis/sweep.h"
#include "apps/progress.h"
#include "apps/report.h"
#include "apps/run_folder.h"

namespace cuboid::deepis {

struct TuneOptions {
  bool mirror = false;  // the mean over the 8 mirror images, as predict's --tta mirror
  /// Voxels that are predicted, at most: of more cases the first ones, of a single larger one the planes in its middle.
  std::int64_t max_voxels = std::int64_t{16} << 20;
};

struct Tuned {
  Sweep sweep;
  std::vector<std::string> cases;  // on which
  std::int64_t left_out = 0, voxels = 0;
  double seconds = 0;
};

/// Predicts these cases by the sliding window that predict uses, and tries values of post-processing on what comes out.
/// app::Interrupted when the user asks to stop.
Tuned tune(const Model& model, const LabelledDataset& dataset, const std::vector<std::int64_t>& cases, const TuneOptions& options,
           app::Progress& progress);

/// The model file with other values of post-processing, in its place or as a new file; written as a whole or not at all.
void keep_postprocess(const std::filesystem::path& file, ModelCard card, const PostprocessOptions& options,
                      const std::filesystem::path& to);

/// Two lines: what was chosen of how much, and what the default is worth.
std::string text_of(const Tuned& tuned);
inline constexpr const char* tuned_file = "postprocess.json";  // of a run folder
Json to_json(const Tuned& tuned);
/// What was tried, from postprocess.json; nothing where there is none.
void add_tuning(app::Page& page, const app::RunFolder& run);

}  // namespace cuboid::deepis
