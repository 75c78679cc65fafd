// SPDX-License-Identifier: Apache-2.0
#include "apps/bench/compare.h"

#include "apps/app.h"

namespace cuboid::bench {
namespace {

const Row* find(const Result& r, const std::string& id) {
  for (const Row& row : r.rows)
    if (row.id == id) return &row;
  return nullptr;
}

void warn_where_other(const Json& a, const Json& b, const std::string& what, std::vector<std::string>& warnings) {
  for (const auto& [key, value] : a.as_object()) {
    const Json* other = b.find(key);
    if (other && *other == value) continue;
    warnings.push_back(what + " '" + key + "' differs: " + value.dump() + " and " + (other ? other->dump() : "nothing"));
  }
}

}  // namespace

Comparison compare(const Result& before, const Result& after) {
  Comparison c;
  warn_where_other(before.machine, after.machine, "machine:", c.warnings);
  Json old_versions = before.versions, new_versions = after.versions;
  for (Json* v : {&old_versions, &new_versions})
    std::erase_if(v->as_object(), [](const Json::Member& m) { return m.first != "libtorch"; });  // ours is what is compared
  warn_where_other(old_versions, new_versions, "version of", c.warnings);
  warn_where_other(before.options, after.options, "option", c.warnings);
  for (const Result* r : {&before, &after})
    if (!r->complete || r->quick)
      c.warnings.push_back(
          join_text("the ", r == &before ? "old" : "new", " file is of ", r->quick ? "a quick" : "an interrupted", " run"));
  for (const Row& row : before.rows) {
    const Row* now = find(after, row.id);
    if (!now) {
      c.warnings.push_back("only the old file has the row " + row.id);
      continue;
    }
    for (const Side* old_side : row.ours()) {
      const Side* new_side = now->side(old_side->id);
      if (!new_side) {
        c.warnings.push_back("only the old file has " + old_side->id + " in the row " + row.id);
        continue;
      }
      const auto old_times = row.times(*old_side), new_times = now->times(*new_side);
      if (old_times.empty() || new_times.empty()) {
        c.warnings.push_back("no times of " + old_side->id + " in the row " + row.id);
        continue;
      }
      c.changes.push_back({row.id, old_side->id, median(old_times), median(new_times), bootstrap_ratio(new_times, old_times),
                           old_side->peak_mib, new_side->peak_mib});
    }
  }
  for (const Row& row : after.rows)
    if (!find(before, row.id)) c.warnings.push_back("only the new file has the row " + row.id);
  check<DataError>(!c.changes.empty(),
                   app::with_hint("the two files have no row in common", "were both made with the same --filter?"));
  return c;
}

double threshold_of(const std::string& text) {
  std::size_t end = 0;
  double value = -1;
  try {
    value = std::stod(text, &end);
  } catch (const std::exception&) {
    end = 0;
  }
  std::string rest = text.substr(end);
  std::erase(rest, ' ');
  if (rest == "%") value /= 100;
  check<app::UsageError>(end > 0 && (rest.empty() || rest == "%") && value >= 0 && value <= 10, "--fail-above ", text,
                         ": a share like 5% or 0.05");
  return value;
}

}  // namespace cuboid::bench
