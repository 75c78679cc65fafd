// SPDX-License-Identifier: Apache-2.0
#include "data/dataset.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <future>
#include <mutex>
#include <unordered_map>

#include "core/parallel.h"
#include "data/crop.h"
#include "data/fingerprint.h"
#include "data/formats/npy.h"
#include "data/volume.h"

namespace cuboid {
namespace {

/// Means over k x k x k voxels of f32 [C,D,H,W].
Tensor shrunk(const Tensor& x, std::int64_t k, const std::string& name) {
  const std::int64_t c = x.dim(0), d = x.dim(1), h = x.dim(2), w = x.dim(3);
  check<DataError>(d % k == 0 && h % k == 0 && w % k == 0, name, ": sizes ", x.shape(), " do not divide by ", k, " (shrink)");
  const Tensor y = empty({c, d / k, h / k, w / k});
  const float* in = x.data<float>();
  float* out = y.mutable_data<float>();
  const float share = 1.0f / static_cast<float>(k * k * k);
  for (std::int64_t z = 0; z < c * (d / k); ++z)
    for (std::int64_t i = 0; i < h / k; ++i)
      for (std::int64_t j = 0; j < w / k; ++j) {
        float sum = 0;
        for (std::int64_t dz = 0; dz < k; ++dz)
          for (std::int64_t di = 0; di < k; ++di)
            for (std::int64_t dj = 0; dj < k; ++dj) sum += in[((z * k + dz) * h + i * k + di) * w + j * k + dj];
        *out++ = sum * share;
      }
  return y;
}

}  // namespace

struct Dataset::State {
  std::vector<Sample> samples;
  std::vector<std::string> class_names;
  DatasetOptions options;
  std::array<double, 3> spacing{};

  std::once_flag shape_once, print_once;
  Shape shape;
  std::string fingerprint;

  std::mutex guard;  // of all below
  std::vector<Tensor> cache;
  std::int64_t cached_bytes = 0;
  std::unordered_map<std::string, std::shared_future<Tensor>> stacks;  // arrays that must be read whole

  /// The array `file` in memory, read by whoever asks first.
  Tensor stack(const std::filesystem::path& file) {
    std::promise<Tensor> promise;
    std::shared_future<Tensor> future;
    bool mine = false;
    {
      const std::scoped_lock lock(guard);
      auto& entry = stacks[file.string()];
      if (!entry.valid()) {
        entry = promise.get_future().share();
        mine = true;
      }
      future = entry;
    }
    if (mine) try {
        promise.set_value(load_volume(file).image);
      } catch (...) {
        promise.set_exception(std::current_exception());
      }
    return future.get();
  }

  /// The values as the file has them: any dtype, [D,H,W] or [C,D,H,W].
  Tensor raw(const Sample& s) {
    if (s.index < 0) return load_volume(s.file, {.dtype = DType::f32}).image;
    Tensor rows;
    std::int64_t row = 0;
    if (s.file.extension() == ".npy" && !read_npy_header(s.file).fortran) {
      rows = read_npy_rows(s.file, s.index, 1);
    } else {
      rows = stack(s.file);
      row = s.index;
    }
    check<DataError>(rows.rank() >= 3 && row < rows.dim(0), s.file.string(), ": no row ", s.index, " in an array of shape ",
                     rows.shape());
    Shape item;
    Strides strides;
    for (int a = 1; a < rows.rank(); ++a) {
      item.push_back(rows.dim(a));
      strides.push_back(rows.strides()[a]);
    }
    return Tensor(rows.storage(), rows.offset() + row * rows.strides()[0], item, strides, rows.dtype());
  }

  Tensor read(const Sample& s) {
    const Tensor values = raw(s);
    check<DataError>((values.rank() == 3 || values.rank() == 4) && values.size() > 0, s.name,
                     ": a volume needs shape [D,H,W] or [C,D,H,W], got ", values.shape());
    Shape item = values.shape();
    if (item.rank() == 3) item = {1, item[0], item[1], item[2]};
    Tensor x = empty(item);
    copy(values, Tensor(x.storage(), 0, values.shape(), dense_strides(values.shape()), DType::f32));
    const float* p = x.data<float>();
    const std::int64_t bad = std::count_if(p, p + x.size(), [](float v) { return !std::isfinite(v); });
    check<DataError>(bad == 0, s.name, ": ", bad, " of ", x.size(), " voxels are NaN or infinite");
    if (options.shrink > 1) x = shrunk(x, options.shrink, s.name);
    if (options.rescale == Rescale::minmax) rescale_minmax(x);
    return x;
  }
};

Dataset::Dataset(std::vector<Sample> samples, std::vector<std::string> class_names, DatasetOptions options,
                 std::array<double, 3> spacing_um)
    : state_(std::make_shared<State>()) {
  check<DataError>(!samples.empty(), "dataset: no samples");
  check(options.shrink >= 1 && options.shrink <= 64, "dataset: shrink ", options.shrink, " is not within 1..64");
  std::unordered_map<std::string, int> names;
  std::vector<std::int64_t> per_class(class_names.size(), 0);
  for (const auto& s : samples) {
    check<DataError>(++names[s.name] == 1, "dataset: ", s.name, " is there twice");
    if (s.label == -1 && !options.need_labels) continue;
    check<DataError>(s.label >= 0 && s.label < static_cast<std::int64_t>(class_names.size()), "dataset: ", s.name, " has label ",
                     s.label, ", there are ", class_names.size(), " classes (0 is the first)");
    ++per_class[static_cast<std::size_t>(s.label)];
  }
  if (options.need_labels) {
    check<DataError>(class_names.size() >= 2, "dataset: one class only ('", class_names.empty() ? "" : class_names[0], "')");
    for (std::size_t c = 0; c < per_class.size(); ++c)
      check<DataError>(per_class[c] > 0, "dataset: class ", c, " ('", class_names[c], "') has no sample");
  }
  state_->cache.resize(samples.size());
  state_->samples = std::move(samples);
  state_->class_names = std::move(class_names);
  state_->options = options;
  state_->spacing = spacing_um;
}

std::int64_t Dataset::size() const { return state_ ? static_cast<std::int64_t>(state_->samples.size()) : 0; }
const std::vector<Sample>& Dataset::samples() const { return state_->samples; }
const std::vector<std::string>& Dataset::class_names() const { return state_->class_names; }
std::array<double, 3> Dataset::spacing_um() const { return state_->spacing; }
const DatasetOptions& Dataset::options() const { return state_->options; }
const Sample& Dataset::operator[](std::int64_t i) const {
  check(i >= 0 && i < size(), "dataset: sample ", i, " of ", size());
  return state_->samples[static_cast<std::size_t>(i)];
}
bool Dataset::has_labels() const {
  return size() > 0 && std::all_of(samples().begin(), samples().end(), [](const Sample& s) { return s.label >= 0; });
}
bool Dataset::has_groups() const {
  return size() > 0 && std::any_of(samples().begin(), samples().end(), [](const Sample& s) { return !s.group.empty(); });
}

Shape Dataset::shape() const {
  check(size() > 0, "dataset: empty");
  std::call_once(state_->shape_once, [&] {
    Tensor first = state_->read(state_->samples[0]);
    state_->shape = first.shape();
    const std::scoped_lock lock(state_->guard);
    if (const std::int64_t bytes = first.view().bytes(); bytes <= state_->options.cache_bytes) {
      state_->cache[0] = std::move(first);
      state_->cached_bytes = bytes;
    }
  });
  return state_->shape;
}

Tensor Dataset::load(std::int64_t i) const {
  const Sample& s = (*this)[i];
  const Shape expected = shape();
  const auto slot = static_cast<std::size_t>(i);
  {
    const std::scoped_lock lock(state_->guard);
    if (state_->cache[slot].defined()) return state_->cache[slot];
  }
  Tensor x = state_->read(s);
  check<DataError>(x.shape() == expected, s.name, ": shape ", x.shape(), ", but ", state_->samples[0].name, " has ", expected,
                   "; all volumes of a dataset must agree (csf prepare cuts equal cubes)");
  const std::scoped_lock lock(state_->guard);
  const std::int64_t bytes = x.view().bytes();
  if (!state_->cache[slot].defined() && state_->cached_bytes + bytes <= state_->options.cache_bytes) {
    state_->cache[slot] = x;
    state_->cached_bytes += bytes;
  }
  return x;
}

void Dataset::verify() const {
  std::vector<std::exception_ptr> errors(static_cast<std::size_t>(size()));
  parallel_for(size(), [&](std::int64_t i) {
    try {
      load(i);
    } catch (...) {
      errors[static_cast<std::size_t>(i)] = std::current_exception();
    }
  });
  for (const auto& error : errors)
    if (error) std::rethrow_exception(error);
}

std::string Dataset::fingerprint() const {
  std::call_once(state_->print_once, [&] {
    Fingerprint print;
    for (const auto& name : state_->class_names) print.add(name);
    for (const auto& s : state_->samples) {
      print.add(s.name);
      print.add(s.group);
      print.add(s.label);
      print.add(s.held_out ? "held out" : "");
      print.add_size(s.file);
    }
    state_->fingerprint = print.text();
  });
  return state_->fingerprint;
}

std::int64_t Dataset::cached_bytes() const {
  const std::scoped_lock lock(state_->guard);
  return state_->cached_bytes;
}

}  // namespace cuboid
