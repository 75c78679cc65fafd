// SPDX-License-Identifier: Apache-2.0
#include "apps/deepis/phantom.h"

#include <atomic>
#include <cmath>
#include <mutex>

#include "core/files.h"
#include "core/json.h"
#include "core/parallel.h"
#include "data/formats/npy.h"

namespace cuboid::deepis {
namespace {

namespace fs = std::filesystem;

std::string numbered(const char* stem, std::int64_t i, std::size_t digits) {
  const std::string n = std::to_string(i);
  return stem + std::string(n.size() < digits ? digits - n.size() : 0, '0') + n;
}

/// Pairs in the last parts of the list.
std::int64_t share_of(double share, std::int64_t pairs) {
  if (share <= 0 || pairs < 3) return 0;
  return std::max<std::int64_t>(1, std::lround(share * static_cast<double>(pairs)));
}

}  // namespace

std::string phantom_split(const PhantomFolderOptions& o, std::int64_t i) {
  const std::int64_t test = share_of(o.test, o.pairs.pairs), valid = share_of(o.valid, o.pairs.pairs);
  return i >= o.pairs.pairs - test ? "test" : i >= o.pairs.pairs - test - valid ? "valid" : "train";
}

PhantomFolderReport write_phantom(const PhantomFolderOptions& o) {
  check<DataError>(!fs::exists(o.output) || (fs::is_directory(o.output) && fs::is_empty(o.output)), o.output.string(),
                   ": not an empty folder");
  check(o.valid >= 0 && o.test >= 0 && o.valid + o.test < 1, "phantom: shares of ", o.valid, " and ", o.test,
        " leave nothing to train with");
  phantom_pair(o.pairs, 0);  // wrong options are found before anything is written
  fs::create_directories(o.output / "images");
  fs::create_directories(o.output / "labels");

  const std::int64_t frames = o.pairs.frames, n = o.pairs.pairs * frames;
  PhantomFolderReport report{.volumes = n, .dataset = o.output / "dataset.json", .truth = o.output / "truth.csv"};
  std::vector<std::string> rows(static_cast<std::size_t>(n));
  std::vector<Json> cases(rows.size());
  std::atomic<std::int64_t> done = 0;
  std::mutex telling;
  parallel_for(n, [&](std::int64_t k) {
    const std::int64_t i = k / frames, frame = k % frames;
    const PhantomPair pair = phantom_pair(o.pairs, i, frame);
    const std::string series = frames > 1 ? numbered("pair_", i, 4) : "", split = phantom_split(o, i);
    const std::string name = frames > 1 ? series + numbered("_t", frame, 3) : numbered("pair_", i, 4);
    write_npy(o.output / "images" / (name + ".npy"), pair.ri);
    write_npy(o.output / "labels" / (name + ".npy"), pair.labels);
    Json item = Json::object(
        {{"name", name}, {"image", "images/" + name + ".npy"}, {"labels", "labels/" + name + ".npy"}, {"split", split}});
    if (frames > 1) {
      item["series"] = series;
      item["frame"] = frame;
    }
    cases[static_cast<std::size_t>(k)] = item;
    const auto& [cart, k562] = pair.cells;
    rows[static_cast<std::size_t>(k)] =
        join_text(name, ',', split, ',', series, ',', frame, ',', pair.synapse_um2, ',', cart.volume_um3, ',', k562.volume_um3,
                  ',', cart.mean_ri, ',', k562.mean_ri, ',', cart.dry_mass_pg, ',', k562.dry_mass_pg, '\n');
    const std::int64_t now = ++done;
    if (o.progress) {
      const std::scoped_lock lock(telling);
      o.progress(now, n);
    }
  });
  std::string table =
      "name,split,series,frame,synapse_area_um2,cart19_volume_um3,k562_volume_um3,cart19_mean_ri,k562_mean_ri,cart19_dry_mass_pg,"
      "k562_dry_mass_pg\n";
  for (const auto& row : rows) table += row;
  atomic_write(report.truth, table);

  const auto spacing = phantom_pair_spacing(o.pairs);
  Json labels = Json::object();
  for (std::size_t c = 0; c < phantom_pair_class_names().size(); ++c) labels[phantom_pair_class_names()[c]] = c;
  const Json dataset = Json::object({{"spacing_um", Json::array({spacing[0], spacing[1], spacing[2]})},
                                     {"head", "signed"},
                                     {"labels", labels},
                                     {"made_by", "phantom deepis"},
                                     {"seed", o.pairs.seed},
                                     {"pairs", o.pairs.pairs},
                                     {"frames", frames},
                                     {"size", o.pairs.size},
                                     {"noise", o.pairs.noise},
                                     {"missing_cone", o.pairs.missing_cone},
                                     {"values", "refractive index"},
                                     {"cases", cases}});
  atomic_write(report.dataset, dataset.dump(2) + "\n");  // last: a folder with dataset.json is complete
  for (std::int64_t i = 0; i < o.pairs.pairs; ++i) {
    const std::string split = phantom_split(o, i);
    (split == "train" ? report.train : split == "valid" ? report.valid : report.test) += frames;
  }
  for (const auto& entry : fs::recursive_directory_iterator(o.output))
    if (entry.is_regular_file()) report.bytes += static_cast<std::int64_t>(entry.file_size());
  return report;
}

}  // namespace cuboid::deepis
