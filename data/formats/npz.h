// SPDX-License-Identifier: Apache-2.0
// NumPy's .npz: a zip of .npy files. Read through libzip, with its consistency checks, into memory only.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "core/safetensors.h"
#include "data/formats/npy.h"

namespace cuboid {

struct ZipLimits {
  std::int64_t max_entries = 65'536;
  std::int64_t max_total_bytes = std::int64_t{4} << 30;
};

/// A zip archive, checked as a whole when it is opened: consistent directories, no encryption, no duplicate or dangerous
/// names, sizes within the limits and within what deflate can do. Nothing is ever written.
class ZipArchive {
 public:
  struct Member {
    std::string name;
    std::int64_t bytes = 0, packed_bytes = 0;
  };
  explicit ZipArchive(const std::filesystem::path& path, const ZipLimits& limits = {});
  ~ZipArchive();
  ZipArchive(const ZipArchive&) = delete;
  ZipArchive& operator=(const ZipArchive&) = delete;
  const std::vector<Member>& members() const { return members_; }
  /// The unpacked bytes of one member; the checksum is verified when the end is read.
  std::unique_ptr<ByteSource> open(std::size_t index) const;

 private:
  std::string name_;
  void* archive_ = nullptr;
  std::vector<Member> members_;
};

/// Names of the arrays, without ".npy".
std::vector<std::string> list_npz(const std::filesystem::path& path, const ZipLimits& limits = {});
/// One array; `name` may be empty when there is only one.
Tensor read_npz(const std::filesystem::path& path, const std::string& name = "", const NpyOptions& options = {});
NamedTensors read_npz_all(const std::filesystem::path& path, const NpyOptions& options = {});
/// Atomic; members are stored uncompressed.
void write_npz(const std::filesystem::path& path, const NamedTensors& arrays);

}  // namespace cuboid
