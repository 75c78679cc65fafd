// SPDX-License-Identifier: Apache-2.0
#include "data/normalise.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/parallel.h"

namespace cuboid {
namespace {

using Kind = Normalisation::Kind;

/// The D slices of a volume, or C x D of them: each [H,W].
class Slices {
 public:
  explicit Slices(const Tensor& image) : image_(image), axes_(image.rank() - 2) {
    check(image.rank() == 3 || image.rank() == 4, "normalise: needs [D,H,W] or [C,D,H,W], got ", image.shape());
  }
  std::int64_t channels() const { return axes_ == 2 ? image_.dim(0) : 1; }
  std::int64_t depth() const { return image_.dim(axes_ - 1); }
  std::int64_t voxels() const { return image_.dim(axes_) * image_.dim(axes_ + 1); }
  Tensor operator()(std::int64_t channel, std::int64_t z) const {
    const Strides& s = image_.strides();
    const std::int64_t at = image_.offset() + (axes_ == 2 ? channel * s[0] : 0) + z * s[axes_ - 1];
    return Tensor(image_.storage(), at, {image_.dim(axes_), image_.dim(axes_ + 1)}, {s[axes_], s[axes_ + 1]}, image_.dtype());
  }
  /// The slice as dense f32: itself or a copy in `room`.
  const float* read(std::int64_t channel, std::int64_t z, Tensor& room) const {
    const Tensor slice = (*this)(channel, z);
    if (slice.dtype() == DType::f32 && slice.is(Layout::contiguous)) return slice.data<float>();
    if (!room.defined()) room = empty(slice.shape());
    copy(slice, room);
    return room.data<float>();
  }

 private:
  Tensor image_;
  int axes_;
};

/// The sum of f(v) over a channel's finite voxels and their count; slice by slice, so threads change nothing.
template <class F>
std::pair<double, std::int64_t> sum_of(const Slices& slices, std::int64_t channel, F&& f) {
  std::vector<double> sums(static_cast<std::size_t>(slices.depth()));
  std::vector<std::int64_t> counts(sums.size());
  parallel_for(slices.depth(), [&](std::int64_t z) {
    Tensor room;
    const float* p = slices.read(channel, z, room);
    double sum = 0;
    std::int64_t count = 0;
    for (std::int64_t i = 0; i < slices.voxels(); ++i) {
      const double v = static_cast<double>(p[i]);
      if (!std::isfinite(v)) continue;
      sum += f(v);
      ++count;
    }
    sums[static_cast<std::size_t>(z)] = sum;
    counts[static_cast<std::size_t>(z)] = count;
  });
  std::pair<double, std::int64_t> all{0, 0};
  for (std::size_t z = 0; z < sums.size(); ++z) {
    all.first += sums[z];
    all.second += counts[z];
  }
  return all;
}

IntensityMap zscore(const Slices& slices, std::int64_t channel) {
  const auto [sum, count] = sum_of(slices, channel, [](double v) { return v; });
  if (count == 0) return {};
  const double mean = sum / static_cast<double>(count);
  const double variance =
      sum_of(slices, channel, [mean](double v) { return (v - mean) * (v - mean); }).first / static_cast<double>(count);
  return {mean, variance > 0 ? 1 / std::sqrt(variance) : 0};
}

/// Linear between the two nearest, as numpy.percentile.
double percentile(std::vector<float>& values, double percent) {
  const double at = percent / 100 * static_cast<double>(values.size() - 1);
  const auto below = values.begin() + static_cast<std::ptrdiff_t>(at);
  std::nth_element(values.begin(), below, values.end());
  const double low = static_cast<double>(*below), share = at - std::floor(at);
  if (share == 0) return low;
  return low + share * (static_cast<double>(*std::min_element(below + 1, values.end())) - low);
}

IntensityMap between(double low, double high) { return {low, high > low ? 1 / (high - low) : 0}; }

IntensityMap percentiles(const Slices& slices, std::int64_t channel, double low, double high) {
  std::vector<float> values;
  values.reserve(static_cast<std::size_t>(slices.depth() * slices.voxels()));
  Tensor room;
  for (std::int64_t z = 0; z < slices.depth(); ++z) {
    const float* p = slices.read(channel, z, room);
    std::copy_if(p, p + slices.voxels(), std::back_inserter(values), [](float v) { return std::isfinite(v); });
  }
  if (values.empty()) return {};
  const double from = percentile(values, low);
  return between(from, percentile(values, high));
}

}  // namespace

Json Normalisation::to_json() const {
  Json json = Json::object({{"kind", normalisation_names[static_cast<std::size_t>(kind)]}});
  if (kind == Kind::scale || kind == Kind::percentiles) {
    json["low"] = low;
    json["high"] = high;
  }
  return json;
}

Normalisation Normalisation::from_json(const Json& json) {
  const std::string& name = json.at("kind").as_string();
  const auto at = std::find(normalisation_names.begin(), normalisation_names.end(), name);
  check<DataError>(at != normalisation_names.end(), "normalisation: unknown kind '", name, "'");
  Normalisation n{.kind = static_cast<Kind>(at - normalisation_names.begin())};
  if (n.kind != Kind::scale && n.kind != Kind::percentiles) return n;
  n.low = json.at("low").as_double();
  n.high = json.at("high").as_double();
  check<DataError>(std::isfinite(n.low) && std::isfinite(n.high) && n.low < n.high, "normalisation: from ", n.low, " to ",
                   n.high);
  check<DataError>(n.kind == Kind::scale || (n.low >= 0 && n.high <= 100), "normalisation: percentiles ", n.low, " and ", n.high,
                   "; they lie in 0..100");
  return n;
}

std::string Normalisation::text() const {
  const std::string& name = normalisation_names[static_cast<std::size_t>(kind)];
  return kind == Kind::scale || kind == Kind::percentiles ? join_text(name, ' ', low, "..", high) : name;
}

std::vector<IntensityMap> measure(const Normalisation& n, const Tensor& image) {
  const Slices slices(image);
  std::vector<IntensityMap> maps;
  for (std::int64_t c = 0; c < slices.channels(); ++c) {
    if (n.kind == Kind::none) maps.emplace_back();
    else if (n.kind == Kind::scale) maps.push_back(between(n.low, n.high));
    else maps.push_back(n.kind == Kind::zscore ? zscore(slices, c) : percentiles(slices, c, n.low, n.high));
  }
  return maps;
}

Tensor mapped(const Tensor& image, const std::vector<IntensityMap>& maps) {
  const Slices slices(image);
  check(static_cast<std::int64_t>(maps.size()) == slices.channels(), "normalise: ", maps.size(), " maps for ", slices.channels(),
        " channels");
  const Tensor result = empty(image.shape());
  float* to = result.mutable_data<float>();
  parallel_for(slices.channels() * slices.depth(), [&](std::int64_t i) {
    Tensor room;
    const std::int64_t channel = i / slices.depth();
    const float* from = slices.read(channel, i % slices.depth(), room);
    const IntensityMap map = maps[static_cast<std::size_t>(channel)];
    float* out = to + i * slices.voxels();
    for (std::int64_t k = 0; k < slices.voxels(); ++k)
      out[k] = static_cast<float>((static_cast<double>(from[k]) - map.shift) * map.factor);
  });
  return result;
}

Tensor normalised(const Tensor& image, const Normalisation& normalisation) {
  return mapped(image, measure(normalisation, image));
}

void check_finite(const Tensor& image, const std::string& name) {
  if (!is_floating(image.dtype())) return;
  const Slices slices(image);
  const std::int64_t count = slices.channels() * slices.depth(), width = image.dim(image.rank() - 1);
  std::vector<std::int64_t> wrong(static_cast<std::size_t>(count)), first(static_cast<std::size_t>(count));
  parallel_for(count, [&](std::int64_t i) {
    Tensor room;
    const float* p = slices.read(i / slices.depth(), i % slices.depth(), room);
    std::int64_t bad = 0, at = 0;
    for (std::int64_t k = slices.voxels(); k-- > 0;)
      if (!std::isfinite(p[k])) ++bad, at = k;
    wrong[static_cast<std::size_t>(i)] = bad;
    first[static_cast<std::size_t>(i)] = at;
  });
  std::int64_t all = 0, where = -1;
  for (std::int64_t i = count; i-- > 0;)
    if (wrong[static_cast<std::size_t>(i)] > 0) all += wrong[static_cast<std::size_t>(i)], where = i;
  if (all == 0) return;
  const std::int64_t at = first[static_cast<std::size_t>(where)];
  fail<DataError>(name, ": ", all, " of ", image.size(), " voxels are NaN or infinite, the first at ",
                  slices.channels() > 1 ? join_text("channel ", where / slices.depth(), ", ") : "", "z ", where % slices.depth(),
                  ", y ", at / width, ", x ", at % width);
}

}  // namespace cuboid
