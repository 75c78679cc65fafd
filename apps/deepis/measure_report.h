// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "apps/deepis/measurement.h"

namespace cuboid::deepis {

struct MeasuredFrame {
  std::string name, series, file;
  std::int64_t frame = 0;  // place within its series, from 0
  double minutes = -1;     // since the first frame; negative: unknown
  Spacing spacing_um{};
  std::vector<std::string> cell_names;  // one per cell of `measured`
  FrameMeasure measured;
};

/// One line per frame and cell.
std::string cells_csv(const std::vector<MeasuredFrame>& frames);
/// One line per frame with a pair of cells; empty without.
std::string synapses_csv(const std::vector<MeasuredFrame>& frames);
Json measure_json(const std::vector<MeasuredFrame>& frames, const MeasureOptions& options);
/// A table for people; the first `limit` cells.
std::string measure_text(const std::vector<MeasuredFrame>& frames, std::size_t limit = 40);

/// Into the folder: cells.csv, synapses.csv, measure.json, and, for pairs in two frames or more, plots over time (volume.svg,
/// surface.svg, synapse.svg, ri.svg, dry_mass.svg) and measure.html. Returns the files written.
std::vector<std::filesystem::path> write_measures(const std::filesystem::path& folder, const std::vector<MeasuredFrame>& frames,
                                                  const MeasureOptions& options, const std::vector<std::string>& notes);

}  // namespace cuboid::deepis
