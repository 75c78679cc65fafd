// SPDX-License-Identifier: Apache-2.0
// `deepis predict` after its options are read: many volumes, one after the other, and the record of them in predict.json.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "apps/deepis/predict_input.h"
#include "apps/deepis/predict_memory.h"
#include "apps/deepis/predict_output.h"
#include "apps/progress.h"

namespace cuboid::deepis {

struct PredictSettings {
  std::filesystem::path output;
  std::string format;    // of output_formats; empty: as the input
  Spacing spacing_um{};  // of files that do not say; zeros: the model's
  bool distance = true, labels = true;
  std::int64_t max_ram = 0;
  bool resume = false, overwrite = false;
  PredictOptions predict;
};

/// One volume, looked at but not read.
struct PlannedCase {
  PredictCase what;
  Shape shape;  // C,D,H,W
  Spacing spacing_um{};
  OutputOptions output;
  Shape seen;               // D,H,W at which the net sees it
  std::int64_t images = 0;  // that the net is called on
  std::vector<std::string> notes;
};

class PredictRun {
 public:
  PredictRun(const Model& model, std::vector<PredictCase> cases, const PredictSettings& settings);

  /// Opens every file, looks at what the folder holds, and calls the net once. UsageError for a folder with other predictions and
  /// neither resume nor overwrite. DataError that names the file for what cannot be predicted: unreadable, another number of
  /// channels.
  void plan(app::Progress& progress);
  /// A few lines: model, volumes, windows, memory, time.
  std::string plan_text() const;
  /// What is odd about the volumes, each thing once.
  std::vector<std::string> notes() const;
  const std::vector<PlannedCase>& planned() const { return planned_; }
  const MemoryEstimate& memory() const { return memory_; }
  /// OutOfMemory with the smallest limit that would do, when --max-ram is less than what the plan needs.
  void check_memory() const;

  /// All that is not there already. Volumes that cannot be read are reported, and the others go on. `stop` is asked after each
  /// window; Interrupted, with what is done, when it says so. Returns predict.json.
  Json run(app::Progress& progress, const std::function<bool()>& stop);

 private:
  Json settings_json() const;
  PlannedCase look_at(const PredictCase& one) const;
  void check_folder();
  void check_files() const;
  void add_result(const Json& result);
  void write_record() const;
  bool is_done(const PlannedCase& one) const;
  Json predict_one(const PlannedCase& one, app::Progress& progress, const std::function<bool()>& stop);

  const Model& model_;
  std::vector<PredictCase> cases_;
  PredictSettings settings_;
  std::vector<PlannedCase> planned_;
  MemoryEstimate memory_;
  Json record_;
  std::int64_t images_ = 0, images_done_ = 0;
};

}  // namespace cuboid::deepis
