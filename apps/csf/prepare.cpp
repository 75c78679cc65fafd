// SPDX-License-Identifier: Apache-2.0
#include "apps/csf/prepare.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>

#include "core/files.h"
#include "core/json.h"
#include "core/parallel.h"
#include "data/formats/csv.h"
#include "data/formats/npy.h"
#include "data/volume.h"

namespace cuboid::csf {
namespace {

namespace fs = std::filesystem;

/// The medium's refractive index x 1e4, and how far above it a voxel belongs to a cell (1.345, as the paper's features).
constexpr double cell_threshold = 13450;

struct Target {
  PrepareRow row;
  std::string label, group, title;
  std::size_t line = 0;
};

fs::path output_name(const fs::path& file, std::size_t cell, std::size_t of) {
  std::string stem = file.filename().string();
  for (const char* end : {".gz", ".npy", ".npz", ".tif", ".tiff", ".TCF", ".tcf", ".h5", ".safetensors"})
    if (stem.size() > std::string_view(end).size() && stem.ends_with(end))
      stem.resize(stem.size() - std::string_view(end).size());
  return file.parent_path() / (stem + (of > 1 ? join_text("_", cell + 1) : "") + ".npy");
}

/// The rows of the centres file, by volume, in the order of the file.
std::vector<std::vector<Target>> read_centres(const PrepareOptions& o, bool& has_labels, bool& has_groups, bool& has_titles) {
  const CsvTable table = read_csv(o.centres);
  const std::string name = o.centres.string();
  const auto optional = [&](const char* a, const char* b) {
    return table.has(a) ? std::optional(table.column(a)) : table.has(b) ? std::optional(table.column(b)) : std::nullopt;
  };
  const std::size_t file = table.column("file"), x = table.column("x"), y = table.column("y"), z = table.column("z");
  const auto label = optional("label", "label"), group = optional("group", "patient"), title = optional("class", "class_name");
  has_labels = label.has_value();
  has_groups = group.has_value();
  has_titles = title.has_value();
  check<DataError>(!table.rows.empty(), name, ": no rows");
  std::vector<std::vector<Target>> volumes;
  std::map<std::string, std::size_t> volume_of;
  std::set<std::string> seen;
  for (std::size_t r = 0; r < table.rows.size(); ++r) {
    Target t;
    t.line = static_cast<std::size_t>(table.lines[r]);
    t.row.file = fs::path(table.rows[r][file]).lexically_normal().generic_string();
    const std::string where = join_text(name, " line ", t.line);
    check<DataError>(fs::is_regular_file(o.input / t.row.file), where, ": file ", (o.input / t.row.file).string(),
                     " does not exist");
    check<DataError>(!fs::path(t.row.file).is_absolute() && !t.row.file.starts_with(".."), where, ": ", t.row.file,
                     " is not below the input folder");
    t.row.centre = {table.integer(r, z), table.integer(r, y), table.integer(r, x)};
    if (label) {
      table.integer(r, *label);  // says so when it is none
      t.label = table.rows[r][*label];
    }
    if (group) t.group = table.rows[r][*group];
    if (title) t.title = table.rows[r][*title];
    const auto& c = t.row.centre;
    check<DataError>(seen.insert(join_text(t.row.file, ' ', c[0], ' ', c[1], ' ', c[2])).second, where, ": ", t.row.file,
                     " with this centre is there already");
    const auto [at, fresh] = volume_of.emplace(t.row.file, volumes.size());
    if (fresh) volumes.emplace_back();
    volumes[at->second].push_back(std::move(t));
  }
  return volumes;
}

/// (y,x,z) as stored by the original's export -> (z,y,x).
Tensor in_zyx(const Tensor& t, AxisOrder order) {
  if (order == AxisOrder::zyx) return t;
  const Tensor view(t.storage(), t.offset(), {t.dim(2), t.dim(0), t.dim(1)}, {t.strides()[2], t.strides()[0], t.strides()[1]},
                    t.dtype());
  Tensor dense = empty(view.shape());
  copy(view, dense);
  return dense;
}

/// Whether anything brighter than medium lies on a face of the cube.
bool touches(const Tensor& cube, double scale) {
  const float* p = cube.data<float>();
  const std::int64_t n = cube.dim(0);
  std::int64_t bright = 0;
  for (std::int64_t z = 0; z < n; ++z)
    for (std::int64_t y = 0; y < n; ++y)
      for (std::int64_t x = 0; x < n; ++x) {
        const bool face = z == 0 || y == 0 || x == 0 || z == n - 1 || y == n - 1 || x == n - 1;
        bright += face && static_cast<double>(p[(z * n + y) * n + x]) * scale > cell_threshold;
      }
  return bright > n / 4;  // a few noisy voxels are no cell
}

class Preparation {
 public:
  explicit Preparation(const PrepareOptions& o) : o_(o) {}

  PrepareReport run() {
    check(o_.size >= 2 && o_.size <= 1024 && o_.size % 2 == 0, "prepare: size ", o_.size,
          " is not an even number from 2 to 1024");
    check<DataError>(fs::is_directory(o_.input), o_.input.string(), ": no such folder");
    for (const char* name : {"quality.csv", "labels.csv"})
      check<DataError>(!fs::exists(o_.output / name), (o_.output / name).string(),
                       ": exists already; choose an empty output folder");
    auto volumes = read_centres(o_, labels_, groups_, titles_);
    name_outputs(volumes);
    fs::create_directories(o_.output);
    std::int64_t total = 0, done = 0;
    for (const auto& cells : volumes) total += static_cast<std::int64_t>(cells.size());
    for (auto& cells : volumes) {  // one after the other: raw tomograms are large, reading and medians are parallel inside
      prepare_volume(cells);
      done += static_cast<std::int64_t>(cells.size());
      if (o_.progress) o_.progress(done, total);
    }
    write_tables(volumes);
    for (auto& cells : volumes)
      for (auto& t : cells) report_.rows.push_back(std::move(t.row));
    return std::move(report_);
  }

 private:
  void name_outputs(std::vector<std::vector<Target>>& volumes) const {
    std::map<std::string, std::string> taken;
    for (auto& cells : volumes)
      for (std::size_t i = 0; i < cells.size(); ++i) {
        PrepareRow& row = cells[i].row;
        row.output = output_name(row.file, i, cells.size()).generic_string();
        const auto [other, fresh] = taken.emplace(row.output, row.file);
        check<DataError>(fresh, o_.centres.string(), " line ", cells[i].line, ": ", row.file, " and ", other->second,
                         " would both become ", row.output);
      }
  }

  void prepare_volume(std::vector<Target>& cells) {
    const std::string& file = cells[0].row.file;
    try {
      const Volume loaded = load_volume(o_.input / file, {.dtype = DType::f32});
      check<DataError>(loaded.image.rank() == 3, file, ": a tomogram needs three axes, got shape ", loaded.image.shape());
      const Tensor image = in_zyx(loaded.image, o_.order);
      const VoxelStats all = voxel_stats(image);
      check<DataError>(all.not_finite == 0, file, ": ", all.not_finite, " of ", image.size(), " voxels are NaN or infinite");
      // Refractive indices lie near 1.3; instruments export them times 10,000. The table speaks of the latter.
      const double scale = std::abs(all.mean) < 10 ? 1e4 : 1;
      if (loaded.spacing_known && spacing_[0] == 0) spacing_ = spacing_um(loaded);
      const bool out = o_.filter_mean && (all.mean * scale < o_.mean_from || all.mean * scale >= o_.mean_below);
      for (auto& t : cells) {
        t.row.volume_mean = all.mean * scale;
        if (out) {
          t.row.status = "excluded";
          t.row.problem = join_text("mean outside ", o_.mean_from, "..", o_.mean_below);
          ++report_.excluded;
        }
      }
      if (out) return;
      for (auto& t : cells) cut(t, image, all, scale);
    } catch (const DataError& error) {
      if (!o_.keep_going) throw;
      for (auto& t : cells)
        if (t.row.status.empty()) fail_row(t, error.what());
    }
  }

  void cut(Target& t, const Tensor& image, const VoxelStats& all, double scale) {
    PrepareRow& row = t.row;
    Crop crop;
    try {
      crop = crop_cube(image, row.centre, o_.size, o_.padding);
    } catch (const DataError& error) {
      const std::string text = join_text(o_.centres.string(), " line ", t.line, ": ", row.file, ": ", error.what());
      check<DataError>(o_.keep_going, text);
      return fail_row(t, text);
    }
    row.missing = crop.missing;
    row.crop = voxel_stats(crop.voxels);
    row.crop.mean *= scale;
    row.crop.min *= scale;
    row.crop.max *= scale;
    row.touches_border = touches(crop.voxels, scale);
    if (o_.normalise == Normalise::after_crop) rescale_minmax(crop.voxels);
    else if (o_.normalise == Normalise::before_crop) {
      float* p = crop.voxels.mutable_data<float>();
      const float low = static_cast<float>(all.min), range = static_cast<float>(all.max) - low;
      for (std::int64_t i = 0; i < crop.voxels.size(); ++i) p[i] = range > 0 ? (p[i] - low) / range : 0;
    }
    const fs::path to = o_.output / row.output;
    check(!fs::exists(to), to.string(), ": exists already; choose an empty output folder");
    fs::create_directories(to.parent_path());
    write_npy(to, crop.voxels);
    row.status = "ok";
    ++report_.written;
    report_.clipped += crop.clipped();
    report_.touching += row.touches_border;
  }

  void fail_row(Target& t, const std::string& why) {
    t.row.status = "failed";
    t.row.problem = why;
    ++report_.failed;
  }

  void write_tables(const std::vector<std::vector<Target>>& volumes) const {
    std::ostringstream quality, labels;
    quality << "file,output,status,z,y,x,missing_z,missing_y,missing_x,touches_border,volume_mean,crop_mean,crop_min,crop_max,"
               "problem\n";
    labels << "file,label" << (groups_ ? ",group" : "") << (titles_ ? ",class" : "") << '\n';
    for (const auto& cells : volumes)
      for (const auto& t : cells) {
        const PrepareRow& r = t.row;
        quality << csv_cell(r.file) << ',' << csv_cell(r.output) << ',' << r.status;
        for (const auto v : r.centre) quality << ',' << v;
        for (const auto v : r.missing) quality << ',' << v;
        quality << ',' << r.touches_border << ',' << r.volume_mean << ',' << r.crop.mean << ',' << r.crop.min << ',' << r.crop.max
                << ',' << csv_cell(r.problem) << '\n';
        if (r.status != "ok") continue;
        labels << csv_cell(r.output) << ',' << t.label;
        if (groups_) labels << ',' << csv_cell(t.group);
        if (titles_) labels << ',' << csv_cell(t.title);
        labels << '\n';
      }
    atomic_write(o_.output / "quality.csv", quality.str());
    if (labels_) atomic_write(o_.output / "labels.csv", labels.str());
    Json about = Json::object({{"made_by", "csf prepare"}, {"size", o_.size}});
    if (spacing_[0] > 0) about["spacing_um"] = Json::array({spacing_[0], spacing_[1], spacing_[2]});
    atomic_write(o_.output / "dataset.json", about.dump(2) + "\n");
  }

  const PrepareOptions& o_;
  PrepareReport report_;
  bool labels_ = false, groups_ = false, titles_ = false;
  std::array<double, 3> spacing_{};
};

}  // namespace

PrepareReport prepare(const PrepareOptions& options) { return Preparation(options).run(); }

}  // namespace cuboid::csf
