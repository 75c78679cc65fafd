// SPDX-License-Identifier: Apache-2.0
// Predictions for labelled cells, and everything that can be said about them.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "apps/csf/model.h"
#include "apps/metrics.h"
#include "apps/run_folder.h"
#include "core/json.h"

namespace cuboid::csf {

struct Prediction {
  std::string name, group;
  std::int64_t label = -1, fold = 1;
  std::vector<double> probabilities;
  double seconds = 0;
};

struct Predictions {
  std::vector<std::string> classes;
  std::vector<Prediction> cells;

  metrics::Probabilities probabilities() const;
  metrics::Labels labels() const;
  std::vector<std::string> groups() const;
};

struct EvaluationOptions {
  int bootstrap = 2000, repeats = 200, bins = 10;
  std::int64_t max_k = 20;
  std::uint64_t seed = 42;
};

/// Runs `model` over these cells and appends to `to`.
void predict_cells(Model& model, const Dataset& dataset, const std::vector<std::int64_t>& indices, std::int64_t fold,
                   std::int64_t batch, const InferenceOptions& options, Predictions& to,
                   const std::function<void(std::int64_t done)>& progress = {});

/// Accuracy, balanced accuracy, F1, MCC, AUROC with intervals, AUPR, calibration, confusion matrix (rows true).
Json metrics_json(const Predictions& predictions, const EvaluationOptions& options, bool intervals);
/// All folds pooled, per fold with mean and standard deviation, per patient, and the k-cells curves.
Json summarise(const Predictions& predictions, const EvaluationOptions& options);
/// Points of the ROC and precision-recall curves, one pair per class (the second one only where there are two).
Json curves_json(const Predictions& predictions);

/// case,label,pred,p_0..p_n,fold,group,seconds
std::string predictions_csv(const Predictions& predictions);
/// A few lines for a terminal.
std::string summary_text(const Json& summary);

/// eval/summary.json, eval/curves.json, eval/predictions.csv.
void write_evaluation(const app::RunFolder& run, const Predictions& predictions, const Json& summary);

using app::finite;

}  // namespace cuboid::csf
