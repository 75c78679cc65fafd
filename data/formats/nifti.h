// SPDX-License-Identifier: Apache-2.0
// NIfTI-1 and -2: .nii, .nii.gz, pairs of .hdr and .img; both byte orders.
// https://nifti.nimh.nih.gov/nifti-1, https://nifti.nimh.nih.gov/nifti-2
#pragma once
#include <array>
#include <filesystem>
#include <optional>
#include <string_view>

#include "data/formats/bytes.h"
#include "data/formats/numbers.h"
#include "data/volume.h"

namespace cuboid {

/// A header, checked. The elements lie x fastest, so they are row major in [C,D,H,W] = (time and more, z, y, x).
struct NiftiHeader {
  int version = 1;
  bool big_endian = false;
  Number number = Number::f32;
  Shape shape;                 // [D,H,W], or [C,D,H,W] when there is more than one volume
  Scale scale;                 // value = stored * slope + inter
  std::int64_t offset = 0;     // of the first element, in the (unpacked) data file
  std::filesystem::path data;  // the file itself, or the .img of a pair
  int qform_code = 0, sform_code = 0;
  std::array<double, 16>
      affine{};  // row major, (i,j,k,1) along x,y,z -> mm (or the file's unit): sform, qform, or voxel sizes alone
  Volume about;  // spacing, unit, place, notes; no image

  std::int64_t bytes() const { return shape.count() * size_of(number); }
  /// The narrowest of our types; f32 (f64 from f64) for scaled values.
  DType natural_dtype() const;
};

/// True for the first 348 bytes (or more) of a NIfTI file, also of a pair's header.
bool begins_as_nifti(std::string_view start);
NiftiHeader read_nifti_header(const std::filesystem::path& path);

struct NiftiOptions {
  std::optional<DType> dtype;
  std::optional<std::int64_t> frame;  // which volume of a series; default: all, as channels
};
/// Throws DataError.
Volume read_nifti(const std::filesystem::path& path, const NiftiOptions& options = {});

/// Header and extension flag of a single file, up to the first element. `shape` is [D,H,W] or [C,D,H,W]. NIfTI-2 where a
/// dimension is beyond 32767.
std::string nifti_header_bytes(const Volume& about, const Shape& shape, Number stored);
/// Atomic, little endian; packed when the name ends in .gz. `stored`: default is the narrowest type that holds all values of an
/// integer image (i16, u16, i32, i64), and a float's own.
void write_nifti(const std::filesystem::path& path, const Volume& volume, std::optional<Number> stored = {});

/// The affine of a volume, as NiftiHeader::affine, and back.
std::array<double, 16> affine_of(const Volume& volume);
void place_by_affine(Volume& volume, const std::array<double, 16>& affine);

}  // namespace cuboid
