// SPDX-License-Identifier: Apache-2.0
// Where predictions go: NAME.distance and NAME.labels, as npy, NIfTI or MATLAB files, written while the planes come.
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "apps/deepis/postprocess.h"
#include "apps/deepis/predict_input.h"
#include "core/json.h"
#include "data/labelled.h"

namespace cuboid::deepis {

enum class OutputFormat : std::uint8_t { npy, nifti, mat };
inline const std::vector<std::string> output_formats = {"npy", "nii.gz", "mat"};
const char* ending_of(OutputFormat format);  // ".nii.gz"
/// What a file with this name is answered with: the same for NIfTI and mat, npy for all else.
OutputFormat format_for(const std::filesystem::path& input);

struct OutputOptions {
  std::filesystem::path folder;
  OutputFormat format = OutputFormat::npy;
  Head head = Head::signed_distance;
  bool distance = true, labels = true;  // which files; there is no distance of Head::classes
  Spacing spacing_um{};
  PostprocessOptions postprocess;
};

class PredictOutput {
 public:
  PredictOutput(const std::string& name, PredictInput& input, const OutputOptions& options);
  /// Planes K,n,H,W on the input's own voxels, in order.
  void write(std::int64_t first, const Tensor& planes);
  /// Post-processing, and the last of the files. Nothing is left behind when this is not reached.
  void finish();

  /// The files this will be or has been written to, relative to the folder: {"distance": ..., "labels": ...}.
  static Json files(const std::string& name, const OutputOptions& options);
  /// After finish(): what was found, "labels": voxels by label or the number of instances.
  const Json& found() const { return found_; }
  const std::vector<std::string>& notes() const { return notes_; }
  /// Held while planes come; and at most in finish().
  static std::int64_t bytes(const Shape& volume, const OutputOptions& options);
  static std::int64_t bytes_to_finish(const Shape& volume, const OutputOptions& options);

 private:
  void take_labels(std::int64_t first, const Tensor& planes);
  void write_labels(const Tensor& labels);
  void write_mat_distance();

  std::string name_;
  PredictInput& input_;
  OutputOptions options_;
  Shape shape_;  // D,H,W
  std::unique_ptr<VolumeWriter> distance_file_;
  Tensor distance_;  // f32 D,H,W, where it is needed as a whole
  Tensor labels_;    // u8 D,H,W, so far only the thresholds
  Json found_ = Json::object();
  std::vector<std::string> notes_;
};

}  // namespace cuboid::deepis
