// SPDX-License-Identifier: Apache-2.0
#include "data/labelled_read.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/parallel.h"

namespace cuboid {
namespace {

std::string place(std::int64_t at, const Shape& shape) {
  return join_text("z ", at / (shape[1] * shape[2]), ", y ", at / shape[2] % shape[1], ", x ", at % shape[2]);
}

/// [D,H,W]: a volume of one channel loses that axis.
Tensor without_channel(const Tensor& t, const std::string& name, const char* what) {
  if (t.rank() == 3) return t;
  check<DataError>(t.rank() == 4 && t.dim(0) == 1, name, ": ", what, " have shape ", t.shape(), ", expected [D,H,W]");
  const Strides& s = t.strides();
  return Tensor(t.storage(), t.offset(), {t.dim(1), t.dim(2), t.dim(3)}, {s[1], s[2], s[3]}, t.dtype());
}

Tensor with_channel(const Tensor& t) {
  if (t.rank() == 4) return t;
  const Strides& s = t.strides();
  return Tensor(t.storage(), t.offset(), {1, t.dim(0), t.dim(1), t.dim(2)}, {t.size(), s[0], s[1], s[2]}, t.dtype());
}

/// The loaded values as dense T.
template <class T>
Tensor dense(const Tensor& t) {
  if (t.dtype() == dtype_of<T>() && t.is(Layout::contiguous)) return t;
  Tensor result = empty(t.shape(), {.dtype = dtype_of<T>()});
  copy(t, result);
  return result;
}

Shape spatial(const Tensor& image) {
  const int first = image.rank() - 3;
  return {image.dim(first), image.dim(first + 1), image.dim(first + 2)};
}

void check_shape(const Volume& image, const Tensor& other, const LabelledCase& c, const char* what) {
  check<DataError>(spatial(image.image) == other.shape(), c.name, ": the image has shape ", spatial(image.image), ", the ", what,
                   " ", other.shape(), " (z,y,x)");
}

}  // namespace

Spacing spacing_of(const Volume& v) { return v.spacing_known ? spacing_um(v) : Spacing{}; }

std::string spacing_text(const Spacing& s) { return join_text(s[0], " x ", s[1], " x ", s[2], " um"); }

bool same_spacing(const Spacing& a, const Spacing& b) {
  for (std::size_t i = 0; i < 3; ++i)
    if (std::abs(a[i] - b[i]) > 0.01 * std::max(a[i], b[i])) return false;
  return true;
}

void check_same_space(const Volume& image, const Volume& other, const std::string& what) {
  const Spacing a = spacing_of(image), b = spacing_of(other);
  if (a[0] == 0 || b[0] == 0) return;
  check<DataError>(same_spacing(a, b), what, ": voxels of ", spacing_text(a), " in ", image.source.filename().string(), ", ",
                   spacing_text(b), " in ", other.source.filename().string(), " (z,y,x)");
  for (std::size_t i = 0; i < 9 && image.orientation_known && other.orientation_known; ++i)
    check<DataError>(std::abs(image.direction[i] - other.direction[i]) < 0.01, what, ": the axes of ",
                     image.source.filename().string(), " and ", other.source.filename().string(),
                     " point in different directions; resample one to the other");
}

Tensor whole_labels(const Tensor& given, const std::string& name) {
  const Tensor labels = without_channel(given, name, "labels");
  const Shape shape = labels.shape();
  if (labels.dtype() == DType::u8) return dense<std::uint8_t>(labels);
  const Tensor values = dense<double>(labels);  // holds every i32 and, where it matters here, i64
  const double* p = values.data<double>();
  const std::int64_t n = values.size();
  std::int64_t wrong = 0, first = -1;
  double largest = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const bool fine = p[i] >= 0 && p[i] <= std::numeric_limits<std::int32_t>::max() && p[i] == std::floor(p[i]);
    if (fine) largest = std::max(largest, p[i]);
    else if (++wrong == 1) first = i;
  }
  check<DataError>(wrong == 0, name, ": labels are whole numbers from 0, but ", wrong, " of ", n,
                   " voxels are not: ", wrong ? p[first] : 0, " at ", wrong ? place(first, shape) : "",
                   is_floating(labels.dtype()) ? "; a map of distances belongs into targets/, or is called `target`" : "");
  Tensor result = empty(shape, {.dtype = largest < 256 ? DType::u8 : DType::i32});
  copy(values, result);
  return result;
}

void check_known(const Tensor& labels, std::int64_t classes, Head head, const std::string& name) {
  const auto scan = [&]<class T>(const T* p) {
    std::int64_t wrong = 0, first = -1;
    for (std::int64_t i = 0; i < labels.size(); ++i)
      if (p[i] >= classes && ++wrong == 1) first = i;
    if (wrong == 0) return;
    fail<DataError>(name, ": ", wrong, " voxels have labels the head '", name_of(head), "' has no class for: label ",
                    static_cast<std::int64_t>(p[first]), " at ", place(first, labels.shape()), "; it knows 0 to ", classes - 1,
                    head == Head::signed_distance ? ". For separate objects use the head 'instances'" : "");
  };
  if (labels.dtype() == DType::u8) {
    if (classes < 256) scan(labels.data<std::uint8_t>());
  } else scan(labels.data<std::int32_t>());
}

TruthKind truth_kind(Head head) {
  return head == Head::classes           ? TruthKind::labels
         : head == Head::signed_distance ? TruthKind::signed_distance
                                         : TruthKind::instance_distance;
}

RawCase read_raw(const LabelledCase& c, const Spacing& otherwise) {
  const Volume image = load_volume(c.image, {.entry = c.image_entry});
  RawCase raw{.image = image.image, .spacing_um = spacing_of(image)};
  if (c.spacing_um[0] > 0) {
    check<DataError>(raw.spacing_um[0] == 0 || same_spacing(raw.spacing_um, c.spacing_um), c.name, ": voxels of ",
                     spacing_text(raw.spacing_um), " in ", image.source.filename().string(), ", but the dataset says ",
                     spacing_text(c.spacing_um), " (z,y,x)");
    raw.spacing_um = c.spacing_um;
  }
  if (raw.spacing_um[0] == 0) raw.spacing_um = otherwise;
  check_finite(image.image, c.name);
  if (!c.labels.empty()) {
    const Volume labels = load_volume(c.labels, {.entry = c.labels_entry});
    const std::string name = c.name + " (" + c.labels.filename().string() + ")";
    const Tensor values = without_channel(labels.image, name, "labels");
    check_shape(image, values, c, "labels");
    check_same_space(image, labels, c.name);
    raw.labels = whole_labels(values, name);
  }
  if (!c.target.empty()) {
    const Volume target = load_volume(c.target, {.dtype = DType::f32, .entry = c.target_entry});
    const std::string name = c.name + " (" + c.target.filename().string() + ")";
    const Tensor values = without_channel(target.image, name, "targets");
    check_shape(image, values, c, "target");
    check_same_space(image, target, c.name);
    check_finite(values, name);
    raw.target = dense<float>(values);
  }
  return raw;
}

void check_target(const Tensor& target, Head head, const std::string& name) {
  const float* p = target.data<float>();
  const float lowest = *std::min_element(p, p + target.size());
  check<DataError>(head == Head::signed_distance || lowest >= 0, name, ": the target holds distances down to ", lowest,
                   ", and the head 'instances' has none below 0; is this the head 'signed'?");
}

LabelledVolume read_case(const LabelledCase& c, Head head, const LabelledOptions& options) {
  RawCase raw = read_raw(c, options.spacing_um.value_or(Spacing{}));
  LabelledVolume v;
  v.spacing_known = raw.spacing_um[0] > 0;
  v.spacing_um = v.spacing_known ? raw.spacing_um : Spacing{1, 1, 1};
  v.labels = raw.labels;
  if (v.labels.defined() && head != Head::instances)
    check_known(v.labels, static_cast<std::int64_t>(options.class_names.size()), head, c.name);
  if (head != Head::classes && raw.target.defined()) {
    check_target(raw.target, head, c.name);
    v.target = raw.target;
  } else if (v.labels.defined()) {
    v.target = target_of(v.labels, v.spacing_um, truth_kind(head));
  }
  v.image = normalised(with_channel(raw.image), options.normalise);
  return v;
}

std::string missing_classes(const std::vector<std::string>& names, const std::vector<std::int64_t>& voxels) {
  std::vector<std::size_t> missing;
  for (std::size_t k = 1; k < names.size(); ++k)
    if (k >= voxels.size() || voxels[k] == 0) missing.push_back(k);
  if (missing.empty()) return "";
  const auto one = [&](std::size_t k) { return join_text(k, " ('", names[k], "')"); };
  if (missing.size() == 1) return join_text("class ", one(missing[0]), " occurs in no case");
  std::string text = join_text(missing.size(), " classes occur in no case: ", one(missing[0]));
  for (std::size_t i = 1; i < std::min<std::size_t>(5, missing.size()); ++i) text += ", " + one(missing[i]);
  return text + (missing.size() > 5 ? ", ..." : "");
}

std::vector<std::int64_t> voxels_by_class(const LabelledVolume& v, Head head) {
  std::vector<std::int64_t> counts(head == Head::instances ? 2 : 3);
  const auto count = [&](std::size_t k) {
    if (k >= counts.size()) counts.resize(k + 1);
    ++counts[k];
  };
  const auto scan = [&]<class T>(const T* p) {
    for (std::int64_t i = 0; i < v.labels.size(); ++i)
      count(head == Head::instances ? static_cast<std::size_t>(p[i] > 0) : static_cast<std::size_t>(p[i]));
  };
  if (v.labels.defined()) {
    if (v.labels.dtype() == DType::u8) scan(v.labels.data<std::uint8_t>());
    else scan(v.labels.data<std::int32_t>());
  } else if (v.target.defined()) {
    const float* p = v.target.data<float>();
    for (std::int64_t i = 0; i < v.target.size(); ++i) count(p[i] > 0 ? 1 : p[i] < 0 ? 2 : 0);
  }
  return counts;
}

}  // namespace cuboid
