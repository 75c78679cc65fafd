// SPDX-License-Identifier: Apache-2.0
#include "apps/csf/split.h"

#include <set>

#include "apps/csf/task.h"
#include "core/profiler.h"

namespace cuboid::csf {

Dataset open_data(const DataSource& source) {
  const profiler::Range range("open data");
  if (source.task_file.empty()) return open_dataset(source.data, source.options);
  return open_task(source.data, read_task(find_task_file(source.task_file), source.task), source.options);
}

SplitReport split_data(const DataSource& source, const SplitOptions& options, const std::filesystem::path& output, bool force) {
  check(output.empty() || force || !std::filesystem::exists(output), "split: ", output.string(), " exists already");
  SplitReport report{.dataset = open_data(source)};
  report.split = make_split(report.dataset, options);
  if (!output.empty()) write_split(output, report.split, report.dataset);
  return report;
}

std::string SplitReport::table() const {
  std::ostringstream out;
  const auto part = [&](const char* name, const std::vector<std::int64_t>& indices) {
    out << "  " << name << ' ' << indices.size() << " (";
    for (std::int64_t c = 0; c < dataset.classes(); ++c) {
      std::set<std::string> patients;
      std::int64_t cells = 0;
      for (const auto i : indices)
        if (dataset[i].label == c) {
          ++cells;
          patients.insert(dataset[i].group);
        }
      out << (c ? ", " : "") << cells << ' ' << dataset.class_names()[static_cast<std::size_t>(c)];
      if (dataset.has_groups()) out << " of " << patients.size() << (patients.size() == 1 ? " patient" : " patients");
    }
    out << ')';
  };
  for (std::size_t f = 0; f < split.folds.size(); ++f) {
    out << "fold " << f + 1 << ':';
    part("train", split.folds[f].train);
    part("valid", split.folds[f].valid);
    part("test", split.folds[f].test);
    out << '\n';
  }
  if (!split.held_out.empty()) {
    out << "held out:";
    part("", split.held_out);
    out << '\n';
  }
  return out.str();
}

}  // namespace cuboid::csf
