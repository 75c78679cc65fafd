// SPDX-License-Identifier: Apache-2.0
// Volumes and what is where in them: the cases of a segmentation, loaded, checked against each other, and cached.
#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/tensor.h"
#include "data/morphology/grid.h"
#include "data/normalise.h"

namespace cuboid {

/// What a net says of each voxel.
enum class Head : std::uint8_t {
  signed_distance,  // one output: the distance in µm to the border, > 0 in label 1, < 0 in label 2, 0 outside
  instances,        // one output: the distance in µm to the border of the own instance, 0 outside
  classes,          // softmax over n classes; 0 is the background
};
inline const std::vector<std::string> head_names = {"signed", "instances", "classes"};
const char* name_of(Head head);
/// DataError for another name.
Head head_of(const std::string& name);

struct LabelledCase {
  std::string name;                             // unique in its dataset; "day1/cell_003"
  std::filesystem::path image, labels, target;  // labels: whole numbers; target: a distance map in µm. Either may be empty.
  std::string image_entry, labels_entry, target_entry;  // which array of a file with several (.mat: input, target)
  std::string split;                                    // train, valid, test; empty: not said
  std::string series;                                   // time-lapse it belongs to; empty: none
  std::int64_t frame = -1;                              // place in it
  Spacing spacing_um{};                                 // z,y,x; zeros: as its file says
  bool has_truth() const { return !labels.empty() || !target.empty(); }
};

struct LabelledOptions {
  std::optional<Head> head;              // instead of what dataset.json says
  std::optional<Spacing> spacing_um;     // of the cases whose files do not say
  std::vector<std::string> class_names;  // instead of what dataset.json says; [0] is the background
  Normalisation normalise;               // what load() does to the image
  bool need_truth = true;                // false: cases without labels and target are fine
  std::int64_t cache_bytes = std::int64_t{2} << 30;
};

/// One case in memory; to be read only (it may be the cache's).
struct LabelledVolume {
  Tensor image;          // f32 [C,D,H,W], normalised
  Tensor labels;         // u8 [D,H,W], or i32 when a label is above 255; undefined when the case has a target only
  Tensor target;         // f32 [D,H,W], µm: from the file, or made of the labels; undefined for Head::classes and without truth
  Spacing spacing_um{};  // {1,1,1} when nobody said
  bool spacing_known = false;
};

/// A cheap handle on an immutable list of cases and the cache of their volumes; safe to share between threads.
class LabelledDataset {
 public:
  LabelledDataset() = default;
  /// Throws DataError for no cases, two of one name, and with need_truth a case without.
  LabelledDataset(std::vector<LabelledCase> cases, Head head, LabelledOptions options = {});

  std::int64_t size() const;
  const LabelledCase& operator[](std::int64_t i) const;
  const std::vector<LabelledCase>& cases() const;
  Head head() const;
  /// Outputs of a net for it: 1, or the number of classes.
  std::int64_t outputs() const;
  /// By label: background first. For instances: background, object.
  const std::vector<std::string>& class_names() const;
  const LabelledOptions& options() const;
  /// Of the whole dataset, as dataset.json says it or its first case's file; zeros: nobody said.
  Spacing spacing_um() const;
  /// Channels of the images. Reads the first one.
  std::int64_t channels() const;

  /// Cases of one part: "train", "valid" or "test". A dataset in which no case says its part is all "train".
  std::vector<std::int64_t> part(const std::string& split) const;

  /// DataError with the case's name: an unreadable file; image and labels of different shape or spacing (both in the text);
  /// NaN or infinite voxels (how many, where the first); labels that are no whole numbers, negative, or that the head has no
  /// class for; distances the head cannot have; another number of channels than the first case.
  LabelledVolume load(std::int64_t i) const;
  /// D,H,W of case i. Loads it the first time.
  Shape shape(std::int64_t i) const;
  /// Loads every case once. Throws one DataError that lists all problems (the first 20), in the order of the cases;
  /// `warnings` get what is odd but usable: a case in which nothing is labelled, an unknown spacing.
  void verify(std::vector<std::string>* warnings = nullptr) const;

  /// 16 hex digits over names, files' sizes, splits, head, classes, normalisation, in order.
  std::string fingerprint() const;
  std::int64_t cached_bytes() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// Opens, whichever it finds first:
///   a folder with dataset.json that lists "cases" (what `deepis prepare` writes);
///   a folder with train/valid/test (or train_, valid_, test_) folders, each as one of the following;
///   a folder with images/ and labels/ (or targets/): files of any readable formats, paired by name;
///   a folder of .mat files with the arrays `input` and `target`;
///   with need_truth = false, any folder of volumes or a single volume.
/// Files NAME_003.ext or ..._003_... of one folder are no series unless dataset.json says so.
LabelledDataset open_labelled_dataset(const std::filesystem::path& path, const LabelledOptions& options = {});

}  // namespace cuboid
