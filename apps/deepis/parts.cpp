// SPDX-License-Identifier: Apache-2.0
#include "apps/deepis/parts.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "apps/app.h"
#include "apps/text.h"
#include "core/random.h"

namespace cuboid::deepis {
namespace {

constexpr std::uint64_t held_out_stream = 0x68656c64;  // "held"

std::vector<std::string> names(const LabelledDataset& dataset, const std::vector<std::int64_t>& cases) {
  std::vector<std::string> all;
  for (const auto i : cases) all.push_back(dataset[i].name);
  return all;
}

/// Cases that must stay together; one without a series is alone. In the order of their first case.
std::vector<std::vector<std::int64_t>> series_of(const LabelledDataset& dataset, const std::vector<std::int64_t>& cases) {
  std::vector<std::vector<std::int64_t>> groups;
  std::map<std::string, std::size_t> group_of;
  for (const auto i : cases) {
    const std::string& series = dataset[i].series;
    const auto known = series.empty() ? group_of.end() : group_of.find(series);
    if (known != group_of.end()) {
      groups[known->second].push_back(i);
      continue;
    }
    if (!series.empty()) group_of[series] = groups.size();
    groups.push_back({i});
  }
  return groups;
}

}  // namespace

Json Parts::to_json(const LabelledDataset& dataset) const {
  return Json::object(
      {{"train", Json(names(dataset, train))}, {"valid", Json(names(dataset, valid))}, {"test", Json(names(dataset, test))}});
}

std::string Parts::table(const LabelledDataset& dataset) const {
  std::string text;
  const auto line = [&](const char* title, const std::vector<std::int64_t>& cases) {
    std::vector<std::string> first = names(dataset, cases);
    if (first.size() > 4) first.resize(4), first.emplace_back("...");
    text +=
        "  " + std::string(title) + std::to_string(cases.size()) + (cases.empty() ? "" : ": " + app::join(first, ", ")) + "\n";
  };
  line("train        ", train);
  line("valid        ", valid);
  line("test         ", test);
  return text;
}

Parts parts_of(const LabelledDataset& dataset, double share, std::uint64_t seed) {
  Parts parts{.train = dataset.part("train"), .valid = dataset.part("valid"), .test = dataset.part("test"), .note = ""};
  check<DataError>(!parts.train.empty(), app::with_hint(join_text("none of the ", dataset.size(), " cases is there to train on"),
                                                        "\"split\": \"train\" in dataset.json, or a folder train/"));
  if (!parts.valid.empty()) return parts;
  const auto n = static_cast<std::int64_t>(parts.train.size());
  if (share <= 0) {
    parts.note = "warning: no validation: the weights of the last epoch are kept, however they are";
    return parts;
  }
  const auto groups = series_of(dataset, parts.train);
  if (groups.size() < 2) {
    parts.note = join_text("warning: the data has no part 'valid', and ", n == 1 ? "its one case" : "its one series",
                           " cannot be spared: no validation, the weights of the last epoch are kept");
    return parts;
  }
  const auto wanted = std::max<std::int64_t>(1, std::llround(share * static_cast<double>(n)));
  std::vector<std::int64_t> left;
  std::size_t taken = 0;
  for (const auto g : permutation({seed, held_out_stream, 0}, static_cast<std::int64_t>(groups.size()))) {
    const auto& group = groups[static_cast<std::size_t>(g)];
    const bool last = ++taken == groups.size();  // somebody must be trained on
    auto& to = static_cast<std::int64_t>(parts.valid.size()) < wanted && !last ? parts.valid : left;
    to.insert(to.end(), group.begin(), group.end());
  }
  std::sort(parts.valid.begin(), parts.valid.end());
  std::sort(left.begin(), left.end());
  parts.train = left;
  parts.note = join_text("warning: the data has no part 'valid': ", parts.valid.size(), " of its ", n,
                         " training cases are held out for validation and not trained on (--valid 0 trains on all)");
  return parts;
}

}  // namespace cuboid::deepis
