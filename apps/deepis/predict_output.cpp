// SPDX-License-Identifier: Apache-2.0
#include "apps/deepis/predict_output.h"

#include <algorithm>
#include <cmath>

#include "apps/text.h"
#include "core/parallel.h"
#include "data/formats/detect.h"
#include "data/formats/mat.h"
#include "kernels/views/views.h"

namespace cuboid::deepis {
namespace fs = std::filesystem;
namespace {

constexpr double mat_scale = 2000;  // the original's coeff_mag: an i16 of it is a distance in units of half a nanometre

/// The distance as the original stores it: times 2000, in f32. Counts what an i16 cannot hold.
std::int64_t scale_for_mat(const Tensor& distance) {
  float* d = distance.mutable_data<float>();
  std::int64_t beyond = 0;
  for (std::int64_t i = 0; i < distance.size(); ++i) {
    d[i] *= static_cast<float>(mat_scale);
    beyond += std::abs(d[i]) > 32767.5F;
  }
  return beyond;
}

fs::path path_of(const OutputOptions& options, const std::string& name, const char* what) {
  return options.folder / (name + "." + what + ending_of(options.format));
}

bool keeps_distance(const OutputOptions& o) {
  const bool written = o.distance && o.head != Head::classes;
  return (o.head == Head::instances && o.labels) || (written && o.format == OutputFormat::mat);
}

}  // namespace

const char* ending_of(OutputFormat format) {
  return format == OutputFormat::npy ? ".npy" : format == OutputFormat::nifti ? ".nii.gz" : ".mat";
}

OutputFormat format_for(const fs::path& input) {
  const std::string name = lower_name(input);
  if (name.ends_with(".nii") || name.ends_with(".nii.gz") || name.ends_with(".hdr") || name.ends_with(".img"))
    return OutputFormat::nifti;
  return name.ends_with(".mat") ? OutputFormat::mat : OutputFormat::npy;
}

PredictOutput::PredictOutput(const std::string& name, PredictInput& input, const OutputOptions& options)
    : name_(name), input_(input), options_(options), shape_{input.shape()[1], input.shape()[2], input.shape()[3]} {
  if (std::any_of(options_.spacing_um.begin(), options_.spacing_um.end(), [](double s) { return !(s > 0); }))
    options_.spacing_um = {1, 1, 1};
  options_.postprocess = resolved(options_.postprocess, options_.spacing_um);
  options_.distance = options_.distance && options_.head != Head::classes;
  const fs::path folder = path_of(options_, name_, "labels").parent_path();
  std::error_code error;
  fs::create_directories(folder, error);
  check(!error, folder.string(), ": cannot make the folder: ", error.message());
  if (options_.distance && options_.format != OutputFormat::mat)
    distance_file_ = std::make_unique<VolumeWriter>(path_of(options_, name_, "distance"), shape_, Number::f32, input.about());
  if (keeps_distance(options_)) distance_ = empty(shape_);
  if (options_.labels && options_.head != Head::instances) labels_ = empty(shape_, {.dtype = DType::u8});
}

void PredictOutput::write(std::int64_t first, const Tensor& planes) {
  const std::int64_t count = planes.dim(1);
  if (distance_file_) distance_file_->write(contiguous(select(planes, 0, 0)));
  if (distance_.defined()) copy(select(planes, 0, 0), slice(distance_, 0, first, count));
  if (labels_.defined()) take_labels(first, contiguous(planes));
}

void PredictOutput::take_labels(std::int64_t first, const Tensor& planes) {
  const std::int64_t count = planes.dim(1), plane = shape_[1] * shape_[2], outputs = planes.dim(0);
  const float* from = planes.data<float>();
  std::uint8_t* to = labels_.mutable_data<std::uint8_t>() + first * plane;
  const auto limit = static_cast<float>(options_.postprocess.threshold_um);
  parallel_for(count, [&](std::int64_t z) {
    for (std::int64_t i = z * plane; i < (z + 1) * plane; ++i) {
      if (options_.head == Head::signed_distance) {
        to[i] = from[i] > limit ? 1 : from[i] < -limit ? 2 : 0;
        continue;
      }
      std::int64_t best = 0;
      for (std::int64_t c = 1; c < outputs; ++c)
        if (from[c * count * plane + i] > from[best * count * plane + i]) best = c;
      to[i] = static_cast<std::uint8_t>(best);
    }
  });
}

void PredictOutput::finish() {
  if (options_.labels) {
    if (labels_.defined()) clean_classes(labels_, options_.spacing_um, options_.postprocess);
    else labels_ = labels_of_instances(distance_, options_.spacing_um, options_.postprocess);
    write_labels(labels_);
    labels_ = {};
  }
  if (distance_file_) distance_file_->finish();
  else if (options_.distance) write_mat_distance();
  distance_ = {};
}

void PredictOutput::write_labels(const Tensor& labels) {
  std::vector<std::int64_t> voxels(2, 0);
  const auto count = [&](const auto* v) {
    for (std::int64_t i = 0; i < labels.size(); ++i) {
      const auto label = static_cast<std::size_t>(v[i]);
      if (label >= voxels.size()) voxels.resize(label + 1, 0);
      ++voxels[label];
    }
  };
  labels.dtype() == DType::u8 ? count(labels.data<std::uint8_t>()) : count(labels.data<std::int32_t>());
  const auto largest = static_cast<std::int64_t>(voxels.size()) - 1;
  if (options_.head == Head::instances) found_["instances"] = voxels.size() == 2 && voxels[1] == 0 ? 0 : largest;
  else found_["voxels"] = Json(voxels);
  check<DataError>(largest <= 65535, name_, ": ", largest, " instances, more than a label file of 16 bits holds");
  const Number stored = largest > 255 ? Number::u16 : Number::u8;
  const fs::path file = path_of(options_, name_, "labels");
  if (options_.format == OutputFormat::mat) return write_mat(file, {{"labels", labels, stored}});
  VolumeWriter writer(file, shape_, stored, input_.about());
  writer.write(labels);
  writer.finish();
}

void PredictOutput::write_mat_distance() {
  const std::int64_t beyond = scale_for_mat(distance_);
  if (beyond > 0)
    notes_.push_back(app::grouped(beyond) +
                     " voxels are farther than 16.38 um from a border, which is all that the .mat file holds");
  // The original echoes its input in 8 bits. What is no such image is stretched over them; the two ends are kept.
  const auto [low, high] = input_.range();
  const bool bytes = low >= 0 && high <= 255 && high > 2;
  const double factor = bytes ? 1 : high > low ? 255 / (high - low) : 0, shift = bytes ? 0 : low;
  const Tensor echo = empty(shape_, {.dtype = DType::u8});
  std::uint8_t* to = echo.mutable_data<std::uint8_t>();
  for (std::int64_t z = 0; z < shape_[0]; ++z) {
    const Tensor plane = contiguous(select(input_.raw(z, 1), 0, 0));
    const float* from = plane.data<float>();
    for (std::int64_t i = 0; i < plane.size(); ++i)
      *to++ = static_cast<std::uint8_t>(std::lround(std::clamp((static_cast<double>(from[i]) - shift) * factor, 0.0, 255.0)));
  }
  write_mat(path_of(options_, name_, "distance"), {{"coeff_mag", full({1, 1, 1}, mat_scale), Number::f64},
                                                   {"input", echo, Number::u8},
                                                   {"input_range", from_values<double>({low, high}, {1, 1, 2}), Number::f64},
                                                   {"output", distance_, Number::i16}});
}

Json PredictOutput::files(const std::string& name, const OutputOptions& options) {
  Json files = Json::object();
  if (options.distance && options.head != Head::classes) files["distance"] = name + ".distance" + ending_of(options.format);
  if (options.labels) files["labels"] = name + ".labels" + ending_of(options.format);
  return files;
}

std::int64_t PredictOutput::bytes(const Shape& volume, const OutputOptions& options) {
  const std::int64_t voxels = volume[1] * volume[2] * volume[3];
  return (keeps_distance(options) ? 4 * voxels : 0) + (options.labels && options.head != Head::instances ? voxels : 0);
}

std::int64_t PredictOutput::bytes_to_finish(const Shape& volume, const OutputOptions& options) {
  const std::int64_t voxels = volume[1] * volume[2] * volume[3];
  std::int64_t most = 0;
  if (options.labels) most = options.head == Head::instances ? 20 * voxels : 8 * voxels;
  if (options.format == OutputFormat::mat) most = std::max(most, 6 * voxels);
  return bytes(volume, options) + most;
}

}  // namespace cuboid::deepis
