// SPDX-License-Identifier: Apache-2.0
// One case of a segmentation: read, held against itself, normalised. For labelled.cpp and whoever prepares such cases.
#pragma once
#include <string>
#include <vector>

#include "data/augment_labelled.h"
#include "data/labelled.h"
#include "data/volume.h"

namespace cuboid {

/// A case as its files have it, held against each other: shapes and voxel sizes agree, no voxel is NaN or infinite, labels are
/// whole numbers. Errors as LabelledDataset::load().
struct RawCase {
  Tensor image;          // any dtype, [D,H,W] or [C,D,H,W]
  Tensor labels;         // u8 or i32 [D,H,W]; may be undefined
  Tensor target;         // f32 [D,H,W]; may be undefined
  Spacing spacing_um{};  // of the case, else of the image's file, else `otherwise`; zeros: nobody said
};
RawCase read_raw(const LabelledCase& c, const Spacing& otherwise = {});
/// What LabelledDataset::load() returns.
LabelledVolume read_case(const LabelledCase& c, Head head, const LabelledOptions& options);

/// Voxel size in µm where the file says it in a unit of length, else zeros.
Spacing spacing_of(const Volume& volume);
/// "0.5 x 0.1 x 0.1 um".
std::string spacing_text(const Spacing& spacing);
/// The same within 1 %.
bool same_spacing(const Spacing& a, const Spacing& b);
/// DataError when both files say how large their voxels are, or how they lie in space, and differ.
void check_same_space(const Volume& image, const Volume& other, const std::string& what);

/// u8 [D,H,W], or i32 when a label is above 255. DataError "NAME: ..." for values that are not whole numbers from 0 to 2^31-1:
/// how many, the first and where.
Tensor whole_labels(const Tensor& labels, const std::string& name);
/// DataError when a label is none of 0 ... classes-1: which, how many voxels, where the first.
void check_known(const Tensor& labels, std::int64_t classes, Head head, const std::string& name);

/// DataError when the head has no such distances.
void check_target(const Tensor& target, Head head, const std::string& name);

/// What a net with this head learns from (data/augment_labelled.h).
TruthKind truth_kind(Head head);

/// "class 2 ('k562') occurs in no case", or how many and the first of them; empty when all occur. `voxels` of each, background
/// first.
std::string missing_classes(const std::vector<std::string>& names, const std::vector<std::int64_t>& voxels);

/// Voxels of each class, background first; for instances: background, object. Of the target where there are no labels.
std::vector<std::int64_t> voxels_by_class(const LabelledVolume& volume, Head head);

}  // namespace cuboid
