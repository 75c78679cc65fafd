// SPDX-License-Identifier: Apache-2.0
#include "apps/deepis/scores.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "apps/app.h"
#include "apps/deepis/measurement.h"
#include "apps/run_folder.h"
#include "apps/text.h"
#include "data/formats/csv.h"
#include "data/morphology/components.h"

namespace cuboid::deepis {
namespace {

constexpr double undefined = std::numeric_limits<double>::quiet_NaN();
constexpr int thresholds = 10;  // 0.50 to 0.95

/// The numbers of a class, under the names they have in summary.json; the first eight are nnU-Net's.
struct Number {
  const char* name;
  bool count;  // of voxels
  double (*of)(const ClassScore&);
};
constexpr Number numbers[] = {
    {"Dice", false, [](const ClassScore& c) { return c.overlap.dice(); }},
    {"IoU", false, [](const ClassScore& c) { return c.overlap.iou(); }},
    {"FP", true, [](const ClassScore& c) { return static_cast<double>(c.overlap.fp); }},
    {"FN", true, [](const ClassScore& c) { return static_cast<double>(c.overlap.fn); }},
    {"TP", true, [](const ClassScore& c) { return static_cast<double>(c.overlap.tp); }},
    {"TN", true, [](const ClassScore& c) { return static_cast<double>(c.overlap.tn); }},
    {"n_pred", true, [](const ClassScore& c) { return static_cast<double>(c.overlap.tp + c.overlap.fp); }},
    {"n_ref", true, [](const ClassScore& c) { return static_cast<double>(c.overlap.tp + c.overlap.fn); }},
    {"Precision", false, [](const ClassScore& c) { return c.overlap.precision(); }},
    {"Recall", false, [](const ClassScore& c) { return c.overlap.recall(); }},
    {"RVD", false, [](const ClassScore& c) { return c.overlap.volume_difference(); }},
    {"HD95", false, [](const ClassScore& c) { return c.surface.hd95; }},
    {"ASSD", false, [](const ClassScore& c) { return c.surface.assd; }},
    {"Hausdorff", false, [](const ClassScore& c) { return c.surface.hausdorff; }},
};

/// Mean of what is defined.
struct Mean {
  double sum = 0;
  std::int64_t n = 0, without = 0;
  void add(double v) {
    if (std::isfinite(v)) sum += v, ++n;
    else ++without;
  }
  double value() const { return n ? sum / static_cast<double>(n) : undefined; }
};

Tensor binary(const Tensor& labels) {
  Tensor mask = empty(labels.shape(), {.dtype = DType::u8});
  auto* m = mask.mutable_data<std::uint8_t>();
  const Tensor whole = morphology::as_labels(labels, "evaluate");
  if (whole.dtype() == DType::u8)
    for (std::int64_t i = 0; i < mask.size(); ++i) m[i] = whole.data<std::uint8_t>()[i] != 0;
  else
    for (std::int64_t i = 0; i < mask.size(); ++i) m[i] = whole.data<std::int32_t>()[i] != 0;
  return mask;
}

Json class_json(const ClassScore& c) {
  Json json = Json::object();
  for (const Number& n : numbers) {
    const double v = n.of(c);
    json[n.name] = n.count ? Json(static_cast<std::int64_t>(v)) : app::finite(v);
  }
  return json;
}

Json instance_json(const InstanceScore& s) {
  return Json::object({{"threshold", s.threshold},
                       {"AP", app::finite(s.average_precision())},
                       {"precision", app::finite(s.precision())},
                       {"recall", app::finite(s.recall())},
                       {"F1", app::finite(s.f1())},
                       {"mean_matched_IoU", app::finite(s.mean_iou())},
                       {"panoptic_quality", app::finite(s.panoptic_quality())},
                       {"TP", s.tp},
                       {"FP", s.fp},
                       {"FN", s.fn}});
}

Json instances_summary(const std::vector<CaseScore>& cases) {
  Json all = Json::array();
  for (std::size_t t = 0; t < thresholds; ++t) {
    InstanceScore pooled;
    Mean mean;
    for (const CaseScore& c : cases) pooled += c.instances[t], mean.add(c.instances[t].average_precision());
    pooled.threshold = cases.front().instances[t].threshold;
    Json one = instance_json(pooled);
    one["mean_AP_of_cases"] = app::finite(mean.value());
    all.push_back(one);
  }
  return all;
}

Json synapse_summary(const std::vector<CaseScore>& cases) {
  Mean dice, error, magnitude, truth, predicted;
  for (const CaseScore& c : cases) {
    dice.add(c.synapse->overlap.dice());
    error.add(c.synapse->area_error()), magnitude.add(std::abs(c.synapse->area_error()));
    truth.add(c.synapse->true_area_um2), predicted.add(c.synapse->area_um2);
  }
  return Json::object({{"Dice", app::finite(dice.value())},
                       {"area_error", app::finite(error.value())},
                       {"absolute_area_error", app::finite(magnitude.value())},
                       {"true_area_um2", app::finite(truth.value())},
                       {"area_um2", app::finite(predicted.value())},
                       {"cases", error.n},
                       {"without_synapse", error.without}});
}

}  // namespace

double SynapseScore::area_error() const { return true_area_um2 > 0 ? (area_um2 - true_area_um2) / true_area_um2 : undefined; }

double CaseScore::merit() const {
  if (!instances.empty()) return instances.front().average_precision();
  Mean mean;
  for (const ClassScore& c : classes) mean.add(c.overlap.dice());
  return mean.value();
}

CaseScore score(const Tensor& truth, const Tensor& prediction, const Spacing& given, const ScoreOptions& o) {
  check<DataError>(truth.shape() == prediction.shape(), "labels of shape ", truth.shape(), ", prediction of shape ",
                   prediction.shape());
  const bool known = given[0] > 0 && given[1] > 0 && given[2] > 0;
  const Spacing spacing = known ? given : Spacing{1, 1, 1};
  CaseScore result;
  result.spacing_um = given;
  const bool instances = o.head == Head::instances;
  const Tensor t = instances ? binary(truth) : truth, p = instances ? binary(prediction) : prediction;
  const auto classes = instances ? std::int64_t{2} : static_cast<std::int64_t>(o.classes.size());
  if (!instances)
    for (const auto& [labels, what] : {std::pair{&truth, "the truth"}, {&prediction, "the prediction"}}) {
      const auto present = labels_present(*labels);
      check<DataError>(present.empty() || present.back() < classes, "label ", present.empty() ? 0 : present.back(), " in ", what,
                       "; there are ", classes, " classes, 0 to ", classes - 1, " (", app::join(o.classes, ", "), ")");
    }
  const auto overlap = overlaps(t, p, classes);
  for (std::int64_t label = 1; label < classes; ++label) {
    ClassScore c{overlap[static_cast<std::size_t>(label)], {undefined, undefined, undefined}};
    if (o.surfaces) c.surface = surface_distance(t, p, label, spacing);
    result.classes.push_back(c);
  }
  if (o.head == Head::signed_distance) {
    SynapseScore s;
    s.overlap =
        overlaps(synapse_mask(truth, 1, 2, spacing, o.dilate_um), synapse_mask(prediction, 1, 2, spacing, o.dilate_um), 2)[1];
    s.true_area_um2 = contact_between(truth, 1, 2, spacing, o.cleft_um);
    s.area_um2 = contact_between(prediction, 1, 2, spacing, o.cleft_um);
    result.synapse = s;
  }
  if (instances) {
    const InstanceOverlap pairs(morphology::as_labels(truth, "truth"), morphology::as_labels(prediction, "prediction"));
    for (int i = 0; i < thresholds; ++i) result.instances.push_back(pairs.match((50 + 5 * i) / 100.0));
  }
  return result;
}

Json summarise(const std::vector<CaseScore>& cases, const ScoreOptions& o) {
  check<DataError>(!cases.empty(), "evaluate: no cases");
  const std::size_t classes = cases.front().classes.size();
  Json per_case = Json::array(), mean = Json::object(), foreground = Json::object(), undefined_counts = Json::object();
  for (const CaseScore& c : cases) {
    Json metrics = Json::object();
    for (std::size_t k = 0; k < classes; ++k) metrics[std::to_string(k + 1)] = class_json(c.classes[k]);
    Json one = Json::object({{"name", c.name},
                             {"metrics", metrics},
                             {"prediction_file", c.prediction_file},
                             {"reference_file", c.reference_file},
                             {"spacing_um", Json::array({c.spacing_um[0], c.spacing_um[1], c.spacing_um[2]})}});
    if (c.synapse)
      one["synapse"] = Json::object({{"Dice", app::finite(c.synapse->overlap.dice())},
                                     {"true_area_um2", c.synapse->true_area_um2},
                                     {"area_um2", c.synapse->area_um2},
                                     {"area_error", app::finite(c.synapse->area_error())}});
    if (!c.instances.empty()) {
      one["instances"] = Json::array();
      for (const InstanceScore& s : c.instances) one["instances"].push_back(instance_json(s));
    }
    per_case.push_back(one);
  }
  for (const Number& n : numbers) {
    Mean over_classes;
    for (std::size_t k = 0; k < classes; ++k) {
      Mean over_cases;
      for (const CaseScore& c : cases) over_cases.add(n.of(c.classes[k]));
      const std::string label = std::to_string(k + 1);
      mean[label][n.name] = app::finite(over_cases.value());
      undefined_counts[label][n.name] = over_cases.without;
      over_classes.add(over_cases.value());
    }
    foreground[n.name] = app::finite(over_classes.value());
  }
  Json summary = Json::object({{"foreground_mean", foreground},
                               {"mean", mean},
                               {"metric_per_case", per_case},
                               {"undefined", undefined_counts},
                               {"head", name_of(o.head)},
                               {"classes", Json(o.classes)},
                               {"cases", cases.size()}});
  if (cases.front().synapse) summary["synapse"] = synapse_summary(cases);
  if (!cases.front().instances.empty()) summary["instances"] = instances_summary(cases);
  summary["cuboid"] = app::version();
  return summary;
}

std::string summary_text(const Json& summary) {
  const auto cell = [](const Json& v, int decimals, double factor = 1) {
    return v.is_number() ? app::fixed(factor * v.as_double(), decimals) : std::string("-");
  };
  const auto pad = [](std::string text, std::size_t width) {
    return text.size() < width ? std::string(width - text.size(), ' ') + text : text;
  };
  const std::int64_t cases = summary.at("cases").as_int();
  std::size_t widest = 5;
  for (const Json& name : summary.at("classes").as_array()) widest = std::max(widest, name.as_string().size());
  const auto left = [&](std::string text) { return text + std::string(widest + 2 - std::min(widest + 2, text.size()), ' '); };
  constexpr std::array heads = {"Dice", "IoU", "precision", "recall", "RVD %", "HD95", "ASSD"};
  constexpr std::array keys = {"Dice", "IoU", "Precision", "Recall", "RVD", "HD95", "ASSD"};
  std::string text = left("class");
  for (const char* head : heads) text += pad(head, 11);
  text += "\n";
  for (const auto& [label, mean] : summary.at("mean").as_object()) {
    text += left(summary.at("classes")[static_cast<std::size_t>(std::stoul(label))].as_string());
    for (const char* key : keys) {
      const bool share = std::string_view(key) == "RVD";
      text += pad(cell(mean.at(key), share ? 1 : 3, share ? 100 : 1), 11);
    }
    const std::int64_t without = summary.at("undefined").at(label).at("Dice").as_int();
    if (without) text += "   in " + std::to_string(cases - without) + " of " + std::to_string(cases) + " cases";
    text += "\n";
  }
  if (const Json* s = summary.find("synapse"))
    text += left("synapse") + pad(cell(s->at("Dice"), 3), 11) + "   area " + cell(s->at("area_um2"), 2) + " um2, true " +
            cell(s->at("true_area_um2"), 2) + "; off by " + cell(s->at("absolute_area_error"), 1, 100) + " % on average\n";
  if (const Json* list = summary.find("instances")) {
    text += "\n" + left("IoU >=") + pad("AP", 11) + pad("precision", 11) + pad("recall", 11) + pad("F1", 11) + pad("PQ", 11) +
            pad("TP", 8) + pad("FP", 8) + pad("FN", 8) + "\n";
    for (const std::size_t i : {0U, 5U, 8U}) {
      const Json& s = (*list)[i];
      text += left(cell(s.at("threshold"), 2)) + pad(cell(s.at("AP"), 3), 11) + pad(cell(s.at("precision"), 3), 11) +
              pad(cell(s.at("recall"), 3), 11) + pad(cell(s.at("F1"), 3), 11) + pad(cell(s.at("panoptic_quality"), 3), 11) +
              pad(std::to_string(s.at("TP").as_int()), 8) + pad(std::to_string(s.at("FP").as_int()), 8) +
              pad(std::to_string(s.at("FN").as_int()), 8) + "\n";
    }
  }
  return text + "\n" + std::to_string(cases) + (cases == 1 ? " case" : " cases") +
         "; means over the cases in which a number is defined; distances in um\n";
}

std::string scores_csv(const std::vector<CaseScore>& cases, const ScoreOptions& o) {
  std::string text = "case,label,class";
  for (const Number& n : numbers) text += std::string(",") + n.name;
  text += "\n";
  for (const CaseScore& c : cases)
    for (std::size_t k = 0; k < c.classes.size(); ++k) {
      text += csv_cell(c.name) + "," + std::to_string(k + 1) + "," + csv_cell(o.classes[k + 1]);
      for (const Number& n : numbers) {
        const double v = n.of(c.classes[k]);
        text += "," + (std::isfinite(v) ? app::shortest(v) : std::string());
      }
      text += "\n";
    }
  return text;
}

}  // namespace cuboid::deepis
