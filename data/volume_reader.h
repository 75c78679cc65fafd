// SPDX-License-Identifier: Apache-2.0
// Volumes read and written in slabs of slices, for what is larger than memory.
#pragma once
#include <filesystem>
#include <memory>

#include "data/formats/numbers.h"
#include "data/volume.h"

namespace cuboid {

/// One volume, slab by slab. npy (C order), NIfTI and TCF are read piece by piece, everything else is loaded as a whole.
class VolumeReader {
 public:
  /// Reads the header. `options.dtype` is not looked at. Throws what load_volume throws.
  explicit VolumeReader(const std::filesystem::path& path, const LoadOptions& options = {});
  VolumeReader(VolumeReader&&) noexcept;
  VolumeReader& operator=(VolumeReader&&) noexcept;
  ~VolumeReader();

  /// Name, spacing and place in space; its image is undefined.
  const Volume& about() const;
  /// [D,H,W], or [C,D,H,W].
  const Shape& shape() const;
  /// What load_volume would give without being asked for a type.
  DType dtype() const;
  /// Slices z0 <= z < z1 as f32 [z1-z0,H,W], or [C,z1-z0,H,W].
  Tensor read(std::int64_t z0, std::int64_t z1);
  /// What it holds between two reads: next to nothing; a layer of a TCF file's chunks; or the whole volume where the format must
  /// be loaded as one.
  std::int64_t resident_bytes() const;
  /// True for compressed files: going back, and channels, mean to unpack the file once more from its start.
  bool forward_only() const;

  struct Source;

 private:
  std::unique_ptr<Source> source_;
};

/// The same for writing: .npy, .npy.gz, .nii, .nii.gz. Nothing is at `path` before finish(), or after an error.
class VolumeWriter {
 public:
  /// `shape` is [D,H,W]; `stored` is the type in the file (values are rounded and clamped to it, see encode); `about` gives
  /// spacing and place in space to formats that keep them, its image is not looked at. Throws Error.
  VolumeWriter(const std::filesystem::path& path, const Shape& shape, Number stored, const Volume& about = {});
  VolumeWriter(VolumeWriter&&) noexcept;
  VolumeWriter& operator=(VolumeWriter&&) noexcept;
  ~VolumeWriter();

  /// The next slices, [n,H,W] of any dtype.
  void write(const Tensor& slab);
  /// All slices must have come.
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cuboid
