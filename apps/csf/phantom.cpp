// SPDX-License-Identifier: Apache-2.0
#include "apps/csf/phantom.h"

#include <atomic>
#include <cmath>
#include <mutex>
#include <set>

#include "core/files.h"
#include "core/json.h"
#include "core/parallel.h"
#include "data/formats/npy.h"
#include "data/formats/tiff.h"

namespace cuboid::csf {
namespace {

namespace fs = std::filesystem;

std::string numbered(const char* stem, std::int64_t i, const char* end) {
  const std::string n = std::to_string(i);
  return stem + std::string(n.size() < 4 ? 4 - n.size() : 0, '0') + n + end;
}

/// The instrument's export: whole numbers, refractive index x 10,000, 16 bits where TIFF can be written.
std::string write_field(const fs::path& folder, std::int64_t number, const Tensor& ri, const std::array<double, 3>& spacing) {
  Volume volume{.image = empty(ri.shape(), {.dtype = DType::i32}), .spacing = spacing, .spacing_known = true};
  const float* in = ri.data<float>();
  auto* out = volume.image.mutable_data<std::int32_t>();
  for (std::int64_t i = 0; i < ri.size(); ++i) out[i] = static_cast<std::int32_t>(std::lround(in[i] * 1e4f));
#if defined(CUBOID_TIFF)
  const std::string name = numbered("field_", number, ".tiff");
  write_tiff(folder / name, volume);
#else
  const std::string name = numbered("field_", number, ".npy");
  write_npy(folder / name, volume.image);
#endif
  return name;
}

}  // namespace

PhantomFolderReport write_phantom(const PhantomFolderOptions& o) {
  check<DataError>(!fs::exists(o.output) || (fs::is_directory(o.output) && fs::is_empty(o.output)), o.output.string(),
                   ": not an empty folder");
  const std::int64_t n = o.cells.cells;
  std::array<double, 3> spacing{};
  for (std::size_t a = 0; a < 3; ++a) spacing[a] = phantom_field_um[a] / static_cast<double>(o.cells.size);
  phantom_cell(o.cells, 0);  // wrong options are found before anything is written
  fs::create_directories(o.output / "cells");
  if (o.masks) fs::create_directories(o.output / "masks");

  PhantomFolderReport report{.cells = n, .fields = o.raw_fields, .labels = o.output / "labels.csv"};
  std::vector<std::string> rows(static_cast<std::size_t>(n));
  std::atomic<std::int64_t> done = 0;
  std::mutex telling;
  parallel_for(n, [&](std::int64_t i) {
    const PhantomCell cell = phantom_cell(o.cells, i);
    const std::string name = numbered("cell_", i, ".npy");
    write_npy(o.output / "cells" / name, cell.ri);
    if (o.masks) write_npy(o.output / "masks" / name, cell.mask);
    rows[static_cast<std::size_t>(i)] = join_text(
        "cells/", name, ',', cell.label, ',', cell.patient, ',', phantom_class_names()[static_cast<std::size_t>(cell.label)], ',',
        cell.lobes, ',', cell.droplets, ',', cell.radius_um, ',', cell.volume_um3, ',', cell.mean_ri, '\n');
    const std::int64_t now = ++done;
    if (o.progress) {
      const std::scoped_lock lock(telling);
      o.progress(now, n + o.raw_fields);
    }
  });
  std::string table = "file,label,group,class,lobes,droplets,radius_um,volume_um3,mean_ri\n";
  for (const auto& row : rows) table += row;

  if (o.raw_fields > 0) {
    fs::create_directories(o.output / "raw");
    report.centres = o.output / "raw" / "centres.csv";
    std::string centres = "file,x,y,z,label,group,class\n";
    for (std::int64_t f = 0; f < o.raw_fields; ++f) {
      const PhantomField field = phantom_field(o.cells, f * o.cells_per_field, o.cells_per_field, o.raw_shape);
      const std::string name = write_field(o.output / "raw", f, field.ri, spacing);
      for (std::size_t c = 0; c < field.cells.size(); ++c) {
        const auto& [z, y, x] = field.centres[c];
        const std::int64_t label = phantom_label(o.cells, field.cells[c]);
        centres += join_text(name, ',', x, ',', y, ',', z, ',', label, ',', phantom_patient(o.cells, field.cells[c]), ',',
                             phantom_class_names()[static_cast<std::size_t>(label)], '\n');
      }
      if (o.progress) o.progress(n + f + 1, n + o.raw_fields);
    }
    atomic_write(report.centres, centres);
  }

  std::set<std::string> patients[2];
  for (std::int64_t i = 0; i < n; ++i) patients[phantom_label(o.cells, i)].insert(phantom_patient(o.cells, i));
  std::string task = "phantom:\n  celltype: phantom\n";
  for (std::size_t c = 0; c < 2; ++c) {
    task += join_text("  group", c + 1, ": ", phantom_class_names()[c], "\n  group", c + 1, "_patients: [");
    for (const auto& p : patients[c]) task += (p == *patients[c].begin() ? "" : ", ") + p;
    task += "]\n";
  }
  atomic_write(o.output / "task.yaml", task);
  atomic_write(o.output / "dataset.json", Json::object({{"made_by", "phantom csf"},
                                                        {"seed", o.cells.seed},
                                                        {"cells", n},
                                                        {"patients", o.cells.patients},
                                                        {"size", o.cells.size},
                                                        {"noise", o.cells.noise},
                                                        {"values", "refractive index"},
                                                        {"spacing_um", Json::array({spacing[0], spacing[1], spacing[2]})},
                                                        {"class_names", phantom_class_names()}})
                                                  .dump(2) +
                                              "\n");
  atomic_write(report.labels, table);  // last: a folder with labels.csv is complete
  for (const auto& entry : fs::recursive_directory_iterator(o.output))
    if (entry.is_regular_file()) report.bytes += static_cast<std::int64_t>(entry.file_size());
  return report;
}

}  // namespace cuboid::csf
