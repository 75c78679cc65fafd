// SPDX-License-Identifier: Apache-2.0
#include "apps/bench/result.h"

#include "apps/app.h"
#include "core/files.h"

namespace cuboid::bench {
namespace {

Json numbers(const std::vector<double>& values) {
  Json list = Json::array();
  for (const double v : values) list.push_back(std::isfinite(v) ? Json(v) : Json());
  return list;
}
std::vector<double> numbers(const Json& list) {
  std::vector<double> values;
  for (const Json& v : list.as_array()) values.push_back(v.is_null() ? std::nan("") : v.as_double());
  return values;
}
Json interval_json(const Interval& i) { return Json::object({{"median", i.median}, {"low", i.low}, {"high", i.high}}); }

Json side_json(const Row& row, const Side& s) {
  const std::vector<double> times = row.times(s);
  Json json = Json::object({{"id", s.id},
                            {"library", s.library},
                            {"dtype", s.dtype},
                            {"layout", s.layout},
                            {"malloc", s.malloc},
                            {"min_ms", s.min_ms},
                            {"peak_mib", s.peak_mib},
                            {"rounds_ms", numbers(s.rounds)}});
  if (times.empty()) return json;
  json["median_ms"] = median(times);
  json["iqr_ms"] = quantile(times, 0.75) - quantile(times, 0.25);
  if (s.ours()) return json;
  json["best"] = row.best() == &s;
  Json ratios = Json::object();
  for (const Side* o : row.ours())
    if (const Interval r = row.ratio(*o, s); std::isfinite(r.median)) ratios[o->id] = interval_json(r);
  json["ratio_of"] = ratios;
  return json;
}

Json row_json(const Row& row) {
  Json numerics = Json::array(), sides = Json::array(), calibrations = Json::array(), kept = Json::array();
  for (const auto& a : row.numerics)
    numerics.push_back(Json::object({{"side", a.side}, {"outputs", a.outputs}, {"gradient", a.gradient}}));
  for (const auto& s : row.sides) sides.push_back(side_json(row, s));
  for (const auto& c : row.calibrations)
    calibrations.push_back(Json::object({{"flops_per_s", c.flops}, {"bytes_per_s", c.bytes}}));
  for (const bool k : row.kept.kept) kept.push_back(k);
  return Json::object({{"id", row.id},
                       {"title", row.title},
                       {"mode", row.mode},
                       {"gflop", row.gflop},
                       {"numerics", numerics},
                       {"sides", sides},
                       {"calibrations", calibrations},
                       {"steal", numbers(row.steal)},
                       {"kept", kept},
                       {"enough_undisturbed", row.kept.enough}});
}

Side side_of(const Json& json) {
  return {.id = json.at("id").as_string(),
          .library = json.at("library").as_string(),
          .dtype = json.get("dtype", ""),
          .layout = json.get("layout", ""),
          .malloc = json.get("malloc", ""),
          .rounds = numbers(json.at("rounds_ms")),
          .min_ms = json.get("min_ms", 0.),
          .peak_mib = json.get("peak_mib", 0.)};
}

Row row_of(const Json& json) {
  Row row{.id = json.at("id").as_string(),
          .title = json.at("title").as_string(),
          .mode = json.at("mode").as_string(),
          .gflop = json.get("gflop", 0.)};
  for (const Json& a : json.at("numerics").as_array())
    row.numerics.push_back({a.at("side").as_string(), a.at("outputs").as_double(), a.at("gradient").as_double()});
  for (const Json& s : json.at("sides").as_array()) row.sides.push_back(side_of(s));
  for (const Json& c : json.at("calibrations").as_array())
    row.calibrations.push_back({c.at("flops_per_s").as_double(), c.at("bytes_per_s").as_double()});
  row.steal = numbers(json.at("steal"));
  for (const Json& k : json.at("kept").as_array()) row.kept.kept.push_back(k.as_bool());
  row.kept.enough = json.get("enough_undisturbed", true);
  for (const Side& s : row.sides)
    check<DataError>(s.rounds.size() == row.kept.kept.size(), "row ", row.id, ": ", s.id, " has ", s.rounds.size(),
                     " rounds, the row has ", row.kept.kept.size());
  return row;
}

}  // namespace

std::string Side::name() const {
  if (ours()) return "Cuboid " + dtype;
  return "LibTorch " + layout + (malloc == "tuned" ? ", tuned malloc" : "");
}

const Side* Row::side(const std::string& side_id) const {
  for (const Side& s : sides)
    if (s.id == side_id) return &s;
  return nullptr;
}

std::vector<const Side*> Row::ours() const {
  std::vector<const Side*> found;
  for (const Side& s : sides)
    if (s.ours()) found.push_back(&s);
  return found;
}

std::vector<double> Row::times(const Side& s) const {
  std::vector<double> undisturbed, all;
  for (std::size_t i = 0; i < s.rounds.size(); ++i) {
    if (!std::isfinite(s.rounds[i])) continue;
    all.push_back(s.rounds[i]);
    if (i < kept.kept.size() && kept.kept[i]) undisturbed.push_back(s.rounds[i]);
  }
  return undisturbed.empty() ? all : undisturbed;  // a side that sat out early may have no other
}

Interval Row::ratio(const Side& over, const Side& under) const {
  std::vector<double> undisturbed, all;
  for (std::size_t i = 0; i < std::min(over.rounds.size(), under.rounds.size()); ++i) {
    const double r = over.rounds[i] / under.rounds[i];
    if (!std::isfinite(r)) continue;
    all.push_back(r);
    if (i < kept.kept.size() && kept.kept[i]) undisturbed.push_back(r);
  }
  if (all.empty()) return {std::nan(""), std::nan(""), std::nan("")};
  return bootstrap_median(undisturbed.empty() ? all : undisturbed);
}

namespace {
const Side* fastest(const Row& row, bool (*wanted)(const Side&)) {
  const Side* found = nullptr;
  for (const Side& s : row.sides)
    if (!s.ours() && !s.rounds.empty() && wanted(s) && (!found || median(row.times(s)) < median(row.times(*found)))) found = &s;
  return found;
}
}  // namespace

const Side* Row::best() const {
  return fastest(*this, [](const Side& s) { return std::isfinite(s.rounds.back()); });
}
const Side* Row::as_installed() const {
  return fastest(*this, [](const Side& s) { return s.malloc == "default"; });
}

Json Result::to_json() const {
  Json row_list = Json::array(), figure_list = Json::array();
  for (const Row& row : rows) row_list.push_back(row_json(row));
  for (const Figure& f : figures)
    figure_list.push_back(Json::object(
        {{"id", f.id}, {"title", f.title}, {"unit", f.unit}, {"cuboid", numbers(f.cuboid)}, {"libtorch", numbers(f.libtorch)}}));
  Json growth_list = Json::array();
  for (const Growth& g : growth)
    growth_list.push_back(Json::object({{"net", g.net},
                                        {"title", g.title},
                                        {"mode", g.mode},
                                        {"batch", g.batch},
                                        {"side", g.side},
                                        {"threads", g.threads},
                                        {"ms_per_million_voxels", 1e6 * median(g.ms) / g.voxels()},
                                        {"ms", numbers(g.ms)}}));
  return Json::object({{"schema", schema},
                       {"date", date},
                       {"command", command},
                       {"complete", complete},
                       {"quick", quick},
                       {"machine", machine},
                       {"versions", versions},
                       {"options", options},
                       {"best_calibration", Json::object({{"flops_per_s", best.flops}, {"bytes_per_s", best.bytes}})},
                       {"rows", row_list},
                       {"figures", figure_list},
                       {"scaling", growth_list}});
}

namespace {
const char* const hint = "give it a file that 'cuboid bench --out DIR' wrote";
}

Result Result::from_json(const Json& json, const std::string& source) {
  check<DataError>(json.is_object() && json.contains("schema"),
                   app::with_hint(source + ": not a result of cuboid bench (it has no \"schema\")", hint));
  check<DataError>(
      json.at("schema").is_string() && json.at("schema").as_string() == schema,
      app::with_hint(join_text(source, ": its schema is ", json.at("schema").dump(), ", this program reads \"", schema, "\""),
                     "measure again, or use the program that wrote it"));
  try {
    Result r{.date = json.at("date").as_string(),
             .command = json.at("command").as_string(),
             .machine = json.at("machine"),
             .versions = json.at("versions"),
             .options = json.at("options"),
             .complete = json.get("complete", true),
             .quick = json.get("quick", false),
             .best = {json.at("best_calibration").at("flops_per_s").as_double(),
                      json.at("best_calibration").at("bytes_per_s").as_double()}};
    for (const Json& row : json.at("rows").as_array()) r.rows.push_back(row_of(row));
    for (const Json& f : json.at("figures").as_array())
      r.figures.push_back({f.at("id").as_string(), f.at("title").as_string(), f.at("unit").as_string(), numbers(f.at("cuboid")),
                           numbers(f.at("libtorch"))});
    const Json none = Json::array(), *growth = json.find("scaling");
    for (const Json& g : (growth ? *growth : none).as_array())
      r.growth.push_back({g.at("net").as_string(), g.at("title").as_string(), g.at("mode").as_string(), g.at("batch").as_int(),
                          g.at("side").as_int(), g.at("threads").as_int(), numbers(g.at("ms"))});
    return r;
  } catch (const DataError& e) {
    fail<DataError>(app::with_hint(source + ": broken result: " + e.what(), hint));
  }
}

Result Result::read(const std::filesystem::path& file) {
  Json json;
  try {
    json = Json::parse(read_file(file), file.string());
  } catch (const DataError& e) {
    fail<DataError>(app::with_hint(e.what(), hint));
  }
  return from_json(json, file.string());
}

void Result::write(const std::filesystem::path& file) const { atomic_write(file, to_json().dump(2) + "\n"); }

}  // namespace cuboid::bench
