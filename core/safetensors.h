// SPDX-License-Identifier: Apache-2.0
// Named tensors in one file, in the safetensors format: 8 bytes header length (little endian), a JSON header, then the
// data without gaps. Files are valid for every other reader. Ours carry checksums in the metadata: one per tensor and one
// of the header, so that one wrong bit anywhere is found.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/files.h"
#include "core/tensor.h"

namespace cuboid {

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;
using Metadata = std::vector<std::pair<std::string, std::string>>;

/// Writes atomically (core/files.h). Tensors of any strides are stored row major; metadata keys that start with "cuboid." are
/// this file's own. Names must be unique and UTF-8.
void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors, const Metadata& metadata = {});

struct SafetensorsOptions {
  std::int64_t max_header_bytes = std::int64_t{25} << 20;
  bool verify_checksums = true;  // of files that carry them
};

/// What the header says of one tensor.
struct StoredTensor {
  std::string name;
  std::string type;            // as stored: F32, BF16, ...
  std::optional<DType> dtype;  // empty for types that this library has not
  Shape shape;
  std::int64_t begin = 0, end = 0;  // bytes of the data section
};

/// A safetensors file open for reading. Opening reads and checks the header only. Throws DataError for whatever is wrong with
/// the file; nothing larger than the file is ever allocated.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path, const SafetensorsOptions& options = {});

  const std::string& name() const { return file_.name(); }
  const std::vector<StoredTensor>& tensors() const { return tensors_; }  // in the header's order
  /// Without the checksums.
  const Metadata& metadata() const { return metadata_; }
  /// The metadata value, or "" when there is none.
  std::string metadata(const std::string& key) const;
  bool has_checksums() const { return !checksums_.empty(); }

  bool contains(const std::string& tensor) const { return index_.count(tensor) != 0; }
  const StoredTensor& find(const std::string& tensor) const;
  /// Reads one tensor into fresh memory and verifies its checksum.
  Tensor read(const std::string& tensor) const;
  NamedTensors read_all() const;

 private:
  Tensor read(const StoredTensor& stored) const;

  FileReader file_;
  std::int64_t data_begin_ = 0;
  std::vector<StoredTensor> tensors_;
  std::unordered_map<std::string, std::size_t> index_;
  std::unordered_map<std::string, std::uint32_t> checksums_;
  Metadata metadata_;
};

/// All tensors of a file.
NamedTensors read_safetensors(const std::filesystem::path& path, const SafetensorsOptions& options = {});

}  // namespace cuboid
