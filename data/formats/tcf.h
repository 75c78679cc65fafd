// SPDX-License-Identifier: Apache-2.0
// Tomocube's TCF: HDF5 with refractive-index tomograms in Data/3D/NNNNNN, integers = index x 10000, order z,y,x, and voxel
// sizes in µm as attributes ResolutionX/Y/Z of the group Data/3D.
#pragma once
#include <filesystem>
#include <memory>

#include "data/volume.h"

namespace cuboid {

struct TcfOptions {
  int frame = 0;  // time point: dataset Data/3D/000000, 000001, ...
};

/// A tomogram that is read slab by slab. Throws DataError that names the missing part.
class TcfReader {
 public:
  explicit TcfReader(const std::filesystem::path& path, const TcfOptions& options = {});
  ~TcfReader();
  TcfReader(const TcfReader&) = delete;
  TcfReader& operator=(const TcfReader&) = delete;
  /// Spacing and name; no image.
  const Volume& about() const;
  const Shape& shape() const;  // [D,H,W]
  /// Bytes of unpacked chunks kept between two reads, so that no chunk is unpacked twice on the way through.
  std::int64_t cache_bytes() const;
  /// Refractive index of `count` slices from `first`.
  void read(std::int64_t first, std::int64_t count, float* to);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// f32 refractive index [D,H,W]. Throws DataError that names the missing part.
Volume read_tcf(const std::filesystem::path& path, const TcfOptions& options = {});
/// The number of time points.
int count_tcf_frames(const std::filesystem::path& path);
/// Writes the same structure (u16 = index x 10000, gzip), atomic. For tests, phantoms and exchange.
void write_tcf(const std::filesystem::path& path, const Volume& volume);

}  // namespace cuboid
