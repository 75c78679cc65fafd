// SPDX-License-Identifier: Apache-2.0
#include "apps/deepis/predict_input.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "apps/app.h"
#include "apps/deepis/label_files.h"
#include "apps/text.h"
#include "core/parallel.h"
#include "data/dataset.h"
#include "data/labelled.h"
#include "kernels/views/views.h"

namespace cuboid::deepis {
namespace fs = std::filesystem;
namespace {

constexpr std::int64_t block = 8;  // planes read at a time

void add_folder(const fs::path& folder, bool series, const std::string& entry, std::vector<PredictCase>& cases) {
  std::vector<std::string> names = list_volumes(folder);
  check<DataError>(!names.empty(),
                   app::with_hint(folder.string() + ": no volumes in this folder", "readable: " + volume_formats()));
  std::sort(names.begin(), names.end(), app::natural_less);
  std::map<std::string, std::int64_t> frames;  // so far, by folder
  const fs::path own = folder.has_filename() ? folder.filename() : folder.parent_path().filename();
  const std::string of_root = own.empty() || own == "." || own == ".." ? fs::canonical(folder).filename().string() : own.string();
  for (const std::string& name : names) {
    const fs::path below = fs::path(name).parent_path();
    PredictCase one{.name = (below / case_name(name)).generic_string(), .file = folder / name, .entry = entry};
    if (series) {
      one.series = below.empty() ? of_root : below.generic_string();
      one.frame = frames[one.series]++;
    }
    cases.push_back(one);
  }
}

/// The images of a dataset; with `split` of one part of it.
void add_dataset(const fs::path& folder, const std::string& entry, const std::string& split, std::vector<PredictCase>& cases) {
  const LabelledDataset dataset = open_labelled_dataset(folder, {.need_truth = false});
  for (const LabelledCase& one : dataset.cases())
    if (split.empty() || one.split == split)
      cases.push_back({one.name, one.image, entry.empty() ? one.image_entry : entry, one.series, one.frame, one.spacing_um});
}

/// Two files a/cell.npy and b/cell.npy: the folders tell them apart.
void make_unique(std::vector<PredictCase>& cases) {
  std::map<std::string, int> seen;
  for (const auto& one : cases) ++seen[one.name];
  std::set<std::string> taken;
  for (auto& one : cases) {
    if (seen[one.name] > 1) one.name = (fs::absolute(one.file).parent_path().filename() / one.name).generic_string();
    check<DataError>(taken.insert(one.name).second, one.file.string(),
                     ": another input would have its results in the same files (", one.name,
                     "); predict them one after the other, into two folders");
  }
}

}  // namespace

std::vector<PredictCase> find_cases(const std::vector<std::string>& inputs, const FindOptions& options) {
  std::vector<PredictCase> cases;
  for (const std::string& input : inputs) {
    std::error_code error;
    check<DataError>(fs::exists(input, error), input, ": no such file or folder");
    if (!fs::is_directory(input, error)) cases.push_back({.name = case_name(input), .file = input, .entry = options.entry});
    else if (fs::exists(fs::path(input) / "dataset.json", error) || fs::is_directory(fs::path(input) / "images", error))
      add_dataset(input, options.entry, options.split, cases);
    else add_folder(input, options.series, options.entry, cases);
  }
  check<DataError>(!cases.empty(), app::join(inputs, ", "), ": no case of the part '", options.split, "'");
  make_unique(cases);
  return cases;
}

PredictInput::PredictInput(const PredictCase& one) : name_(one.file.string()), reader_(one.file, {.entry = one.entry}) {
  about_ = reader_.about();
  shape_ = reader_.shape();
  if (shape_.rank() == 3) shape_ = {1, shape_[0], shape_[1], shape_[2]};
}

void PredictInput::set_spacing(const std::array<double, 3>& um) {
  if (about_.spacing_known || !std::all_of(um.begin(), um.end(), [](double s) { return s > 0; })) return;
  about_.spacing = um;
  about_.unit = "um";
  about_.spacing_known = true;
}

Tensor PredictInput::raw(std::int64_t first, std::int64_t count) {
  if (reader_.forward_only() && shape_[0] > 1 && !whole_.defined()) whole_ = reader_.read(0, shape_[1]);
  if (whole_.defined()) return slice(whole_, 1, first, count);
  const Tensor x = reader_.read(first, first + count);
  return x.rank() == 3 ? unsqueeze(x, 0) : x;
}

void PredictInput::check_and_measure(const Normalisation& normalisation) {
  const std::int64_t channels = shape_[0], depth = shape_[1], voxels = shape_[2] * shape_[3];
  struct Slice {
    double sum = 0, low = 0, high = 0;
    std::int64_t wrong = 0, first = -1;
  };
  std::vector<Slice> slices(static_cast<std::size_t>(channels * depth));
  // f(slice's numbers, its voxels), for all slices.
  const auto pass = [&](auto&& f) {
    for (std::int64_t z = 0; z < depth; z += block) {
      const std::int64_t count = std::min(block, depth - z);
      const Tensor x = contiguous(raw(z, count));
      const float* data = x.data<float>();
      parallel_for(channels * count, [&](std::int64_t i) {
        f(i / count, slices[static_cast<std::size_t>(i / count * depth + z + i % count)], data + i * voxels);
      });
    }
  };
  pass([&](std::int64_t, Slice& s, const float* v) {
    s.low = std::numeric_limits<double>::infinity();
    s.high = -s.low;
    for (std::int64_t i = 0; i < voxels; ++i) {
      const double x = static_cast<double>(v[i]);
      if (!std::isfinite(x)) {
        if (s.wrong++ == 0) s.first = i;
        continue;
      }
      s.sum += x;
      s.low = std::min(s.low, x);
      s.high = std::max(s.high, x);
    }
  });
  std::int64_t wrong = 0, where = -1;
  low_ = std::numeric_limits<double>::infinity();
  high_ = -low_;
  std::vector<double> mean(static_cast<std::size_t>(channels)), square(mean.size());
  for (std::size_t i = 0; i < slices.size(); ++i) {
    if (slices[i].wrong > 0 && where < 0) where = static_cast<std::int64_t>(i);
    wrong += slices[i].wrong;
    low_ = std::min(low_, slices[i].low);
    high_ = std::max(high_, slices[i].high);
    mean[i / static_cast<std::size_t>(depth)] += slices[i].sum;
  }
  if (wrong > 0) {
    const std::int64_t at = slices[static_cast<std::size_t>(where)].first;
    fail<DataError>(
        app::with_hint(join_text(name_, ": ", wrong, " of ", shape_.count(), " voxels are NaN or infinite, the first at ",
                                 channels > 1 ? join_text("channel ", where / depth, ", ") : std::string(), "z ", where % depth,
                                 ", y ", at / shape_[3], ", x ", at % shape_[3]),
                       "put a number in their place: no net can say anything about them"));
  }
  if (normalisation.kind != Normalisation::Kind::zscore) {
    const bool needs_voxels = normalisation.kind == Normalisation::Kind::percentiles;
    maps_ = measure(normalisation, needs_voxels ? raw(0, depth) : zeros({channels, 1, 1, 1}));
    return;
  }
  // As measure() does it: sums slice by slice, so the same bits.
  const auto count = static_cast<double>(depth * voxels);
  for (double& m : mean) m /= count;
  pass([&](std::int64_t channel, Slice& s, const float* v) {
    const double m = mean[static_cast<std::size_t>(channel)];
    s.sum = 0;
    for (std::int64_t i = 0; i < voxels; ++i) s.sum += (static_cast<double>(v[i]) - m) * (static_cast<double>(v[i]) - m);
  });
  for (std::size_t i = 0; i < slices.size(); ++i) square[i / static_cast<std::size_t>(depth)] += slices[i].sum;
  maps_.clear();
  for (std::size_t c = 0; c < mean.size(); ++c) {
    const double variance = square[c] / count;
    maps_.push_back({mean[c], variance > 0 ? 1 / std::sqrt(variance) : 0});
  }
}

app::ReadPlanes PredictInput::planes() {
  return [this](std::int64_t first, const Tensor& planes) {
    for (std::int64_t i = 0; i < planes.dim(1); i += block) {
      const std::int64_t count = std::min(block, planes.dim(1) - i);
      copy(mapped(raw(first + i, count), maps_), slice(planes, 1, i, count));
    }
  };
}

std::int64_t PredictInput::bytes() const {
  const std::int64_t whole = reader_.forward_only() && shape_[0] > 1 ? shape_.count() * 4 : 0;
  return reader_.resident_bytes() + whole + 2 * 4 * shape_[0] * std::min(block, shape_[1]) * shape_[2] * shape_[3];
}

std::int64_t PredictInput::bytes_to_check(const Normalisation& normalisation) const {
  return bytes() + (normalisation.kind == Normalisation::Kind::percentiles ? 2 * 4 * shape_.count() : 0);
}

}  // namespace cuboid::deepis
