// SPDX-License-Identifier: Apache-2.0
#include "apps/deepis/prepare.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "apps/app.h"
#include "apps/text.h"
#include "core/files.h"
#include "data/crop.h"
#include "data/formats/csv.h"
#include "data/formats/npy.h"
#include "data/labelled_read.h"
#include "data/morphology/components.h"
#include "data/patch_cut.h"
#include "data/resample.h"

namespace cuboid::deepis {
namespace {

namespace fs = std::filesystem;

/// A case on its way: image [..,D,H,W], labels and target [D,H,W], what there is of them dense.
struct Piece {
  PrepareRow row;
  RawCase data;
};

/// `t` from `first` to `end` along its last three axes, dense.
Tensor cropped(const Tensor& t, const std::array<std::array<std::int64_t, 2>, 3>& box) {
  if (!t.defined()) return t;
  Shape size = t.shape();
  std::int64_t at = t.offset();
  for (std::size_t a = 0; a < 3; ++a) {
    const int axis = t.rank() - 3 + static_cast<int>(a);
    const std::int64_t end = box[a][1] < 0 ? t.dim(axis) : box[a][1];
    size[axis] = end - box[a][0];
    at += box[a][0] * t.strides()[axis];
  }
  Tensor dense = empty(size, {.dtype = t.dtype()});
  copy(Tensor(t.storage(), at, size, t.strides(), t.dtype()), dense);
  return dense;
}

void crop_all(RawCase& raw, const std::array<std::array<std::int64_t, 2>, 3>& box, const std::string& name, const char* option) {
  for (std::size_t a = 0; a < 3; ++a) {
    const std::int64_t extent = raw.image.dim(raw.image.rank() - 3 + static_cast<int>(a));
    check<DataError>(box[a][0] < extent && box[a][1] <= extent, option, ": ", name, " has ", extent, " voxels along ", "zyx"[a],
                     ", asked for ", box[a][0], ":", box[a][1] < 0 ? "" : std::to_string(box[a][1]));
  }
  raw.image = cropped(raw.image, box);
  raw.labels = cropped(raw.labels, box);
  raw.target = cropped(raw.target, box);
}

/// i32: the labels present become 1, 2, ... in their order, those of fewer than `least` voxels 0.
Tensor numbered(const Tensor& labels, std::int64_t least) {
  std::map<std::int64_t, std::int32_t> number = {{0, 0}};
  std::int32_t next = 1;
  for (const auto& [label, voxels] : count_labels({.image = {}, .labels = labels}))
    number.emplace(label, voxels < least ? 0 : next++);
  Tensor result = empty(labels.shape(), {.dtype = DType::i32});
  copy(labels, result);
  std::int32_t* p = result.mutable_data<std::int32_t>();
  for (std::int64_t i = 0, last = 0, to = 0; i < result.size(); ++i) {
    if (p[i] != last) last = p[i], to = number.at(last);
    p[i] = static_cast<std::int32_t>(to);
  }
  return result;
}

class Preparation {
 public:
  explicit Preparation(const PrepareOptions& o) : o_(o), cases_(raw_cases(o)) {}

  PrepareReport run() {
    if (!o_.check_only) {
      std::error_code error;
      check<DataError>(!fs::exists(o_.output) || (fs::is_directory(o_.output) && fs::is_empty(o_.output, error)),
                       o_.output.string(), ": exists already and is not empty; choose another folder");
    }
    look_at_all();
    if (o_.check_only) return std::move(report_);
    fs::create_directories(o_.output);
    std::int64_t done = 0;
    std::vector<PrepareRow> seen = std::move(report_.rows);
    report_.rows.clear();
    for (const auto& c : cases_) {
      if (!failed_.contains(c.name))
        for (Piece& piece : pieces_of(c)) write(piece);
      progress(++done);
    }
    for (auto& row : seen)
      if (!row.problem.empty()) report_.rows.push_back(std::move(row));
    atomic_write(o_.output / "cases.csv", report_.table());
    atomic_write(o_.output / "dataset.json", about().dump(2) + "\n");
    return std::move(report_);
  }

 private:
  void progress(std::int64_t done) const {
    if (o_.progress) o_.progress(done + (o_.check_only ? 0 : std::ssize(cases_)), std::ssize(cases_) * (o_.check_only ? 1 : 2));
  }

  /// Everything that could go wrong goes wrong here, before anything is written.
  void look_at_all() {
    choose_head();
    std::vector<std::string> problems;
    std::vector<std::int64_t> totals;
    std::int64_t done = 0;
    for (const auto& c : cases_) {
      try {
        for (Piece& piece : pieces_of(c)) {
          for (std::size_t k = 0; k < piece.row.voxels.size(); ++k) {
            if (totals.size() <= k) totals.resize(k + 1);
            totals[k] += piece.row.voxels[k];
          }
          note(piece.row);
          report_.rows.push_back(std::move(piece.row));
        }
      } catch (const DataError& error) {
        problems.emplace_back(error.what());
        failed_.insert(c.name);
        report_.rows.push_back({.name = c.name, .split = c.split, .problem = error.what()});
      }
      o_.progress ? o_.progress(++done, std::ssize(cases_) * (o_.check_only ? 1 : 2)) : void();
    }
    report_.failed = std::ssize(problems);
    if (!problems.empty() && (!o_.keep_going || problems.size() == cases_.size())) {
      if (problems.size() == 1) fail<DataError>(problems[0]);
      fail<DataError>(problems.size(), " of ", cases_.size(), " cases are wrong:\n  ", app::join(problems, "\n  "));
    }
    name_classes(totals);
  }

  void choose_head() {
    const bool targets = std::all_of(cases_.begin(), cases_.end(), [](const auto& c) { return c.labels.empty(); });
    check<app::UsageError>(o_.head || targets,
                           app::with_hint("deepis prepare: what do the labels mean?",
                                          "--head signed (two cells), instances (separate objects) or classes"));
    report_.head = o_.head.value_or(Head::signed_distance);
    check<DataError>(report_.head != Head::classes || !targets, "--head classes needs labels; there are targets only");
  }

  void name_classes(const std::vector<std::int64_t>& totals) {
    auto& names = report_.class_names;
    names = {"background"};
    if (report_.head == Head::instances) names.push_back("object");
    else {
      const std::size_t known = report_.head == Head::signed_distance ? 3 : std::max(totals.size(), o_.class_names.size() + 1);
      for (std::size_t k = 1; k < known; ++k)
        names.push_back(k <= o_.class_names.size() ? o_.class_names[k - 1] : std::to_string(k));
    }
    if (std::string text = missing_classes(names, totals); !text.empty()) report_.warnings.push_back(std::move(text));
  }

  void note(const PrepareRow& row) {
    if (row.spacing_um[0] == 0)
      report_.warnings.push_back(row.name + ": its voxel size is unknown, 1 x 1 x 1 um will be assumed; --spacing z,y,x says it");
    if (row.high == row.low) report_.warnings.push_back(join_text(row.name, ": the image is constant (", row.low, ")"));
  }

  std::vector<Piece> pieces_of(const LabelledCase& c) const {
    RawCase raw = read_raw(c, o_.spacing_um.value_or(Spacing{}));
    if (raw.labels.defined()) raw.labels = renamed(raw.labels);
    if (o_.crop) crop_all(raw, o_.box, c.name, "--crop");
    if (o_.resample_um) resample_all(raw, c.name);
    std::vector<Piece> pieces;
    if (o_.slices.empty() || c.split == "test" || c.split == "valid") {
      pieces.push_back(finished(c, c.name, c.split, std::move(raw)));
      return pieces;
    }
    std::map<std::string, int> several;
    for (const SliceRange& s : o_.slices) {
      RawCase part = raw;
      crop_all(part, {{{s.first, s.end}, {0, -1}, {0, -1}}}, c.name, "--split-z");
      const int again = several[s.split]++;
      pieces.push_back(finished(c, c.name + "_" + s.split + (again ? std::to_string(again + 1) : ""), s.split, std::move(part)));
    }
    return pieces;
  }

  /// --map.
  Tensor renamed(const Tensor& labels) const {
    Tensor result = labels;
    if (!o_.relabel.empty()) {
      result = empty(labels.shape(), {.dtype = DType::i32});
      copy(labels, result);
      std::int32_t* p = result.mutable_data<std::int32_t>();
      for (std::int64_t i = 0; i < result.size(); ++i)
        if (const auto at = o_.relabel.find(p[i]); at != o_.relabel.end()) p[i] = static_cast<std::int32_t>(at->second);
    }
    return o_.components ? connected_components(result).labels : result;
  }

  void resample_all(RawCase& raw, const std::string& name) const {
    check<DataError>(raw.spacing_um[0] > 0, "--resample: the voxel size of ", name, " is unknown; --spacing z,y,x says it");
    Shape size;
    Spacing now{};
    for (std::size_t a = 0; a < 3; ++a) {
      const std::int64_t extent = raw.image.dim(raw.image.rank() - 3 + static_cast<int>(a));
      const double length = static_cast<double>(extent) * raw.spacing_um[a];
      size.push_back(std::max<std::int64_t>(1, std::llround(length / (*o_.resample_um)[a])));
      now[a] = length / static_cast<double>(size[static_cast<int>(a)]);
      check<DataError>(size[static_cast<int>(a)] <= 65536, "--resample: ", name, " would have ", size[static_cast<int>(a)],
                       " voxels along ", "zyx"[a]);
    }
    check<DataError>(size.count() <= (std::int64_t{1} << 33), "--resample: ", name, " would become ", size);
    raw.image = resample(raw.image, size, Resampling::linear);
    if (raw.labels.defined()) raw.labels = resample(raw.labels, size, Resampling::nearest);
    if (raw.target.defined()) raw.target = resample(raw.target, size, Resampling::linear);
    raw.spacing_um = *o_.resample_um;
  }

  /// Labels held against the head, counted, and for instances numbered from 1 on.
  Piece finished(const LabelledCase& c, const std::string& name, const std::string& split, RawCase raw) const {
    Piece piece;
    PrepareRow& row = piece.row;
    row.name = name;
    row.split = split.empty() ? "train" : split;
    row.series = c.series;
    row.frame = c.frame;
    row.spacing_um = raw.spacing_um;
    const int first = raw.image.rank() - 3;
    row.channels = first ? raw.image.dim(0) : 1;
    row.shape = {raw.image.dim(first), raw.image.dim(first + 1), raw.image.dim(first + 2)};
    const VoxelStats stats = voxel_stats(raw.image);
    row.low = stats.min, row.high = stats.max, row.mean = stats.mean;
    if (raw.labels.defined()) {
      const auto classes = report_.head == Head::signed_distance ? 3 : std::ssize(o_.class_names) + 1;
      if (report_.head == Head::instances) raw.labels = numbered(raw.labels, o_.min_voxels);
      else if (report_.head == Head::signed_distance || !o_.class_names.empty())
        check_known(raw.labels, classes, report_.head, name);
      raw.labels = whole_labels(raw.labels, name);
      const auto present = count_labels({.image = {}, .labels = raw.labels});
      row.objects = std::ssize(present);
      row.at_border = touching(raw.labels);
      check<DataError>(report_.head != Head::classes || present.empty() || present.back().first <= 255, name, ": labels up to ",
                       present.empty() ? 0 : present.back().first, " are no classes; for separate objects use --head instances");
    }
    if (raw.target.defined()) {
      check_target(raw.target, report_.head, name);
    }
    row.voxels = voxels_by_class({.image = {}, .labels = raw.labels, .target = raw.target}, report_.head);
    std::int64_t labelled = 0;
    for (std::size_t k = 1; k < row.voxels.size(); ++k) labelled += row.voxels[k];
    check<DataError>(labelled > 0 || o_.allow_empty,
                     app::with_hint(name + ": an empty mask, nothing is labelled",
                                    "--allow-empty takes such cases, --keep-going leaves them out"));
    piece.data = std::move(raw);
    return piece;
  }

  /// Labels that reach a face of the volume.
  static std::int64_t touching(const Tensor& labels) {
    const std::int64_t d = labels.dim(0), h = labels.dim(1), w = labels.dim(2);
    std::set<std::int64_t> found;
    const auto look = [&](const auto* p) {
      for (std::int64_t z = 0; z < d; ++z)
        for (std::int64_t y = 0; y < h; ++y) {
          const bool face = z == 0 || z == d - 1 || y == 0 || y == h - 1;
          for (std::int64_t x = 0; x < w; x += face || w == 1 ? 1 : w - 1) found.insert(p[(z * h + y) * w + x]);
        }
    };
    if (labels.dtype() == DType::u8) look(labels.data<std::uint8_t>());
    else look(labels.data<std::int32_t>());
    found.erase(0);
    return std::ssize(found);
  }

  void write(Piece& piece) {
    const std::string file = piece.row.name + ".npy";
    const auto put = [&](const char* folder, const Tensor& t) {
      if (!t.defined()) return;
      fs::create_directories((o_.output / folder / file).parent_path());
      write_npy(o_.output / folder / file, t);
    };
    put("images", piece.data.image);
    put("labels", piece.data.labels);
    Tensor target = piece.data.target;
    if (o_.write_targets && !target.defined()) {
      const Spacing& s = piece.data.spacing_um;
      target = target_of(piece.data.labels, s[0] > 0 ? s : Spacing{1, 1, 1}, truth_kind(report_.head));
    }
    put("targets", target);
    ++report_.written;
    Json entry = Json::object({{"name", piece.row.name}, {"image", "images/" + file}});
    if (piece.data.labels.defined()) entry["labels"] = "labels/" + file;
    if (target.defined()) entry["target"] = "targets/" + file;
    entry["split"] = piece.row.split;
    if (!piece.row.series.empty()) {
      entry["series"] = piece.row.series;
      entry["frame"] = piece.row.frame;
    }
    const Spacing& s = piece.row.spacing_um;
    if (s[0] > 0) entry["spacing_um"] = Json::array({s[0], s[1], s[2]});
    written_.push_back(std::move(entry));
    report_.rows.push_back(std::move(piece.row));
  }

  Json about() const {
    Json about = Json::object({{"made_by", "deepis prepare"}, {"head", name_of(report_.head)}});
    Json labels = Json::object();
    for (std::size_t k = 0; k < report_.class_names.size(); ++k)
      labels.set(report_.class_names[k]) = static_cast<std::int64_t>(k);
    about["labels"] = std::move(labels);
    about["cases"] = written_;
    return about;
  }

  const PrepareOptions& o_;
  std::vector<LabelledCase> cases_;
  std::set<std::string> failed_;
  Json written_ = Json::array();
  PrepareReport report_;
};

}  // namespace

std::string PrepareReport::table() const {
  std::ostringstream out;
  out << "name,split,series,frame,channels,z,y,x,spacing_z,spacing_y,spacing_x,low,high,mean,objects,at_border";
  for (const auto& name : class_names) out << ',' << csv_cell("voxels " + name);
  out << ",problem\n";
  for (const auto& r : rows) {
    out << csv_cell(r.name) << ',' << r.split << ',' << csv_cell(r.series) << ',';
    if (r.frame >= 0) out << r.frame;
    out << ',' << r.channels;
    for (int a = 0; a < 3; ++a) out << ',' << (r.shape.rank() == 3 ? r.shape[a] : 0);
    for (const double s : r.spacing_um) out << ',' << app::shortest(s);
    out << ',' << app::shortest(r.low) << ',' << app::shortest(r.high) << ',' << app::shortest(r.mean) << ',' << r.objects << ','
        << r.at_border;
    for (std::size_t k = 0; k < class_names.size(); ++k) out << ',' << (k < r.voxels.size() ? r.voxels[k] : 0);
    out << ',' << csv_cell(r.problem) << '\n';
  }
  return out.str();
}

PrepareReport prepare(const PrepareOptions& options) { return Preparation(options).run(); }

}  // namespace cuboid::deepis
