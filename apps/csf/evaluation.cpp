// SPDX-License-Identifier: Apache-2.0
#include "apps/csf/evaluation.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "apps/progress.h"
#include "apps/text.h"
#include "core/profiler.h"
#include "data/formats/csv.h"
#include "data/loader.h"

namespace cuboid::csf {
namespace {

using metrics::Interval;

Json interval_json(const Interval& i) { return Json::array({finite(i.low), finite(i.high)}); }

void merge(Json& to, const Json& from) {
  for (const auto& [key, value] : from.as_object()) to[key] = value;
}

Predictions selected(const Predictions& all, const std::function<bool(const Prediction&)>& wanted) {
  Predictions some{all.classes, {}};
  std::copy_if(all.cells.begin(), all.cells.end(), std::back_inserter(some.cells), wanted);
  return some;
}

/// AUROC of one class against the rest, with DeLong, a bootstrap over cells and, where patients are known, one over patients.
Json ranking_json(const Predictions& predictions, std::int64_t c, const EvaluationOptions& options, bool intervals) {
  const auto scores = metrics::column(predictions.probabilities(), c);
  metrics::Labels is_class;
  for (const auto& cell : predictions.cells) is_class.push_back(cell.label == c);
  Json json =
      Json::object({{"auroc", finite(metrics::auroc(scores, is_class))}, {"aupr", finite(metrics::aupr(scores, is_class))}});
  if (!intervals) return json;
  json["auroc_delong_95"] = interval_json(metrics::delong(scores, is_class).interval);
  const auto area_of = [&](const std::vector<std::int64_t>& drawn) {
    metrics::Scores s;
    metrics::Labels l;
    for (const auto i : drawn)
      s.push_back(scores[static_cast<std::size_t>(i)]), l.push_back(is_class[static_cast<std::size_t>(i)]);
    return metrics::auroc(s, l);
  };
  std::vector<std::vector<std::int64_t>> cells;
  for (std::size_t i = 0; i < scores.size(); ++i) cells.push_back({static_cast<std::int64_t>(i)});
  const metrics::BootstrapOptions bootstrap{.resamples = options.bootstrap, .seed = options.seed};
  json["auroc_bootstrap_95"] = interval_json(metrics::bootstrap(cells, is_class, area_of, bootstrap));
  const auto bags = metrics::bags_of(predictions.groups(), is_class);
  if (!bags.empty()) {
    cells.clear();
    metrics::Labels strata;
    for (const auto& bag : bags) cells.push_back(bag.members), strata.push_back(bag.label);
    json["auroc_patient_bootstrap_95"] = interval_json(metrics::bootstrap(cells, strata, area_of, bootstrap));
  }
  return json;
}

Json decisions_json(const metrics::Confusion& confusion) {
  return Json::object({{"accuracy", finite(confusion.accuracy())},
                       {"balanced_accuracy", finite(confusion.balanced_accuracy())},
                       {"f1_weighted", finite(confusion.f1_weighted())},
                       {"f1_macro", finite(confusion.f1_macro())},
                       {"mcc", finite(confusion.mcc())}});
}

Json confusion_json(const metrics::Confusion& confusion) {
  Json rows = Json::array();
  for (const auto& row : confusion.counts) rows.push_back(Json(row));
  return rows;
}

Json cells_curve_json(const std::vector<metrics::CellsPoint>& curve) {
  Json points = Json::array();
  for (const auto& p : curve)
    points.push_back(Json::object({{"k", p.k},
                                   {"accuracy", finite(p.accuracy)},
                                   {"accuracy_95", interval_json(p.accuracy_interval)},
                                   {"auroc", finite(p.auroc)},
                                   {"auroc_95", interval_json(p.auroc_interval)}}));
  return points;
}

/// One row per patient with all its test cells, and the decisions they amount to.
Json patients_json(const Predictions& predictions, const EvaluationOptions& options) {
  const auto probabilities = predictions.probabilities();
  const auto labels = predictions.labels();
  const auto bags = metrics::bags_of(predictions.groups(), labels);
  if (bags.empty()) return {};
  const auto classes = static_cast<std::int64_t>(predictions.classes.size());
  Json rows = Json::array();
  metrics::Probabilities pooled;
  metrics::Labels truth;
  std::size_t largest = 0;
  for (const auto& bag : bags) {
    pooled.push_back(metrics::pool(probabilities, bag.members, metrics::Vote::mean_softmax));
    truth.push_back(bag.label);
    largest = std::max(largest, bag.members.size());
    std::int64_t right = 0;
    std::set<std::int64_t> folds;
    for (const auto i : bag.members) {
      const auto& p = probabilities[static_cast<std::size_t>(i)];
      right += std::max_element(p.begin(), p.end()) - p.begin() == bag.label;
      folds.insert(predictions.cells[static_cast<std::size_t>(i)].fold);
    }
    const auto decided = std::max_element(pooled.back().begin(), pooled.back().end()) - pooled.back().begin();
    rows.push_back(Json::object({{"patient", bag.name},
                                 {"label", bag.label},
                                 {"predicted", static_cast<std::int64_t>(decided)},
                                 {"probabilities", Json(pooled.back())},
                                 {"cells", static_cast<std::int64_t>(bag.members.size())},
                                 {"cells_right", right},
                                 {"fold", *folds.begin()}}));
  }
  const auto confusion = metrics::confusion(truth, metrics::argmax(pooled), classes);
  Json json = decisions_json(confusion);
  json["patients"] = static_cast<std::int64_t>(bags.size());
  json["auroc"] = finite(classes == 2 ? metrics::auroc(metrics::column(pooled, 1), truth) : metrics::macro_auroc(pooled, truth));
  json["confusion"] = confusion_json(confusion);
  json["per_patient"] = rows;
  const std::int64_t k = std::min<std::int64_t>(options.max_k, static_cast<std::int64_t>(largest));
  json["cells_curve"] =
      Json::object({{"repeats", options.repeats},
                    {"mean_softmax", cells_curve_json(metrics::cells_curve(probabilities, labels, bags, k, options.repeats,
                                                                           metrics::Vote::mean_softmax, options.seed))},
                    {"majority", cells_curve_json(metrics::cells_curve(probabilities, labels, bags, k, options.repeats,
                                                                       metrics::Vote::majority, options.seed))}});
  return json;
}

}  // namespace

metrics::Probabilities Predictions::probabilities() const {
  metrics::Probabilities all;
  for (const auto& cell : cells) all.push_back(cell.probabilities);
  return all;
}
metrics::Labels Predictions::labels() const {
  metrics::Labels all;
  for (const auto& cell : cells) all.push_back(cell.label);
  return all;
}
std::vector<std::string> Predictions::groups() const {
  std::vector<std::string> all;
  for (const auto& cell : cells) all.push_back(cell.group);
  return all;
}

void predict_cells(Model& model, const Dataset& dataset, const std::vector<std::int64_t>& indices, std::int64_t fold,
                   std::int64_t batch, const InferenceOptions& options, Predictions& to,
                   const std::function<void(std::int64_t)>& progress) {
  const profiler::Range range("predict");
  if (indices.empty()) return;
  Loader loader(dataset, indices, {.batch = batch, .device = model.net->device()});
  std::int64_t done = 0;
  for (;;) {
    const auto loaded = loader.next();
    if (!loaded) break;
    const app::Stopwatch watch;
    const auto probabilities = predict(model, loaded->x, options);
    const double seconds = watch.seconds() / static_cast<double>(probabilities.size());
    for (std::size_t i = 0; i < probabilities.size(); ++i) {
      const Sample& sample = dataset[loaded->indices[i]];
      to.cells.push_back({sample.name, sample.group, sample.label, fold, probabilities[i], seconds});
    }
    done += static_cast<std::int64_t>(probabilities.size());
    if (progress) progress(done);
  }
}

Json metrics_json(const Predictions& predictions, const EvaluationOptions& options, bool intervals) {
  const auto probabilities = predictions.probabilities();
  const auto labels = predictions.labels();
  const auto classes = static_cast<std::int64_t>(predictions.classes.size());
  const auto confusion = metrics::confusion(labels, metrics::argmax(probabilities), classes);
  Json json = Json::object({{"cells", static_cast<std::int64_t>(labels.size())}});
  if (classes == 2) {
    merge(json, ranking_json(predictions, 1, options, intervals));
  } else {
    json["auroc"] = finite(metrics::macro_auroc(probabilities, labels));
    Json one_vs_rest = Json::array();
    for (std::int64_t c = 0; c < classes; ++c) one_vs_rest.push_back(ranking_json(predictions, c, options, intervals));
    json["one_vs_rest"] = one_vs_rest;
  }
  merge(json, decisions_json(confusion));
  json["log_loss"] = finite(metrics::log_loss(probabilities, labels));
  json["brier"] = finite(metrics::brier(probabilities, labels));
  const auto calibration = metrics::calibration(probabilities, labels, options.bins);
  Json bins = Json::array();
  for (const auto& b : calibration.bins)
    bins.push_back(Json::object(
        {{"low", b.low}, {"high", b.high}, {"count", b.count}, {"confidence", b.confidence}, {"accuracy", b.accuracy}}));
  json["calibration"] = Json::object({{"ece", calibration.ece}, {"mce", calibration.mce}, {"bins", bins}});
  json["confusion"] = confusion_json(confusion);
  Json per_class = Json::array();
  for (std::int64_t c = 0; c < classes; ++c)
    per_class.push_back(Json::object({{"class", predictions.classes[static_cast<std::size_t>(c)]},
                                      {"cells", confusion.of_class(c)},
                                      {"recall", finite(confusion.recall(c))},
                                      {"precision", finite(confusion.precision(c))},
                                      {"f1", finite(confusion.f1(c))}}));
  json["per_class"] = per_class;
  return json;
}

Json summarise(const Predictions& predictions, const EvaluationOptions& options) {
  const profiler::Range range("judge");
  Json summary = Json::object({{"classes", Json(predictions.classes)}, {"pooled", metrics_json(predictions, options, true)}});
  std::set<std::int64_t> numbers;
  for (const auto& cell : predictions.cells) numbers.insert(cell.fold);
  Json folds = Json::array();
  std::map<std::string, std::vector<double>> values;
  for (const auto number : numbers) {
    Json fold = metrics_json(selected(predictions, [&](const Prediction& p) { return p.fold == number; }), options, false);
    for (const char* key : {"auroc", "accuracy", "balanced_accuracy", "f1_weighted", "f1_macro", "mcc"})
      if (const Json* v = fold.find(key); v && v->is_number()) values[key].push_back(v->as_double());
    fold["fold"] = number;
    folds.push_back(fold);
  }
  summary["folds"] = folds;
  Json mean = Json::object();
  for (const auto& [key, list] : values) {
    double sum = 0, squares = 0;
    for (const double v : list) sum += v;
    sum /= static_cast<double>(list.size());
    for (const double v : list) squares += (v - sum) * (v - sum);
    mean[key] =
        Json::object({{"mean", sum}, {"sd", list.size() > 1 ? std::sqrt(squares / static_cast<double>(list.size() - 1)) : 0.0}});
  }
  summary["mean_of_folds"] = mean;
  summary["patient_level"] = patients_json(predictions, options);
  return summary;
}

Json curves_json(const Predictions& predictions) {
  const auto probabilities = predictions.probabilities();
  Json list = Json::array();
  const bool two = predictions.classes.size() == 2;
  for (std::size_t c = two ? 1 : 0; c < predictions.classes.size(); ++c) {
    metrics::Labels is_class;
    for (const auto& cell : predictions.cells) is_class.push_back(cell.label == static_cast<std::int64_t>(c));
    const auto scores = metrics::column(probabilities, static_cast<std::int64_t>(c));
    const auto points = [](const std::vector<metrics::CurvePoint>& curve) {
      Json all = Json::array();
      for (const auto& p : curve) all.push_back(Json::array({p.x, p.y}));
      return all;
    };
    list.push_back(Json::object({{"class", predictions.classes[c]},
                                 {"auroc", finite(metrics::auroc(scores, is_class))},
                                 {"roc", points(metrics::roc_curve(scores, is_class))},
                                 {"pr", points(metrics::pr_curve(scores, is_class))}}));
  }
  return list;
}

std::string predictions_csv(const Predictions& predictions) {
  std::string text = "case,label,pred";
  for (std::size_t c = 0; c < predictions.classes.size(); ++c) text += ",p_" + std::to_string(c);
  text += ",fold,group,seconds\n";
  for (const auto& cell : predictions.cells) {
    const auto best = std::max_element(cell.probabilities.begin(), cell.probabilities.end()) - cell.probabilities.begin();
    text += csv_cell(cell.name) + "," + (cell.label < 0 ? "" : std::to_string(cell.label)) + "," + std::to_string(best);
    for (const double p : cell.probabilities) text += "," + app::fixed(p, 6);
    text += "," + std::to_string(cell.fold) + "," + csv_cell(cell.group) + "," + app::fixed(cell.seconds, 4) + "\n";
  }
  return text;
}

std::string summary_text(const Json& summary) {
  const Json& pooled = summary.at("pooled");
  const auto show = [](const Json& v) { return v.is_number() ? app::fixed(v.as_double(), 3) : std::string("-"); };
  const auto interval = [&](const Json& of, const char* key) {
    const Json* i = of.find(key);
    return i && (*i)[0].is_number() ? " (" + show((*i)[0]) + " to " + show((*i)[1]) + ")" : std::string();
  };
  std::string text = "cells              " + std::to_string(pooled.at("cells").as_int()) + "\n";
  text += "AUROC              " + show(pooled.at("auroc")) + interval(pooled, "auroc_delong_95") + "\n";
  text += "accuracy           " + show(pooled.at("accuracy")) + "\n";
  text += "balanced accuracy  " + show(pooled.at("balanced_accuracy")) + "\n";
  text += "macro F1           " + show(pooled.at("f1_macro")) + "\n";
  text += "MCC                " + show(pooled.at("mcc")) + "\n";
  text += "calibration (ECE)  " + show(pooled.at("calibration").at("ece")) + "\n";
  if (summary.at("folds").size() > 1) {
    text += "per fold           ";
    for (const Json& fold : summary.at("folds").as_array())
      text += " " + show(fold.at("accuracy")) + "/" + show(fold.at("balanced_accuracy"));
    text += "  (accuracy/balanced)\n";
  }
  const Json& patients = summary.at("patient_level");
  if (patients.is_object())
    text += "patients           " + std::to_string(patients.at("patients").as_int()) + ", accuracy " +
            show(patients.at("accuracy")) + ", AUROC " + show(patients.at("auroc")) + "\n";
  text += "confusion matrix (rows true, columns predicted)\n";
  std::size_t width = 6;
  for (const Json& name : summary.at("classes").as_array()) width = std::max(width, name.as_string().size() + 2);
  const auto cell = [&](const std::string& s) { return std::string(width - std::min(width, s.size()), ' ') + s; };
  text += "  " + std::string(width, ' ');
  for (const Json& name : summary.at("classes").as_array()) text += cell(name.as_string());
  text += "\n";
  for (std::size_t r = 0; r < summary.at("classes").size(); ++r) {
    text += "  " + cell(summary.at("classes")[r].as_string());
    for (const Json& count : pooled.at("confusion")[r].as_array()) text += cell(std::to_string(count.as_int()));
    text += "\n";
  }
  return text;
}

void write_evaluation(const app::RunFolder& run, const Predictions& predictions, const Json& summary) {
  const profiler::Range range("write results");
  run.write("eval/summary.json", summary);
  run.write("eval/curves.json", curves_json(predictions));
  run.write("eval/predictions.csv", predictions_csv(predictions));
}

}  // namespace cuboid::csf
