// SPDX-License-Identifier: Apache-2.0
// A TIFF file as libtiff sees it, with its messages caught and its memory bounded. Private to the TIFF reader and writer.
#pragma once
#if defined(CUBOID_TIFF)
#include <tiffio.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "core/files.h"

namespace cuboid {

class TiffHandle {
 public:
  /// Opens a file for reading; DataError when it is none that libtiff knows.
  explicit TiffHandle(const std::filesystem::path& path);
  /// A new file in memory.
  TiffHandle();
  ~TiffHandle();
  TiffHandle(const TiffHandle&) = delete;
  TiffHandle& operator=(const TiffHandle&) = delete;

  TIFF* get() const { return tiff_; }
  const std::string& name() const { return name_; }
  std::int64_t bytes() const { return file_ ? file_->size() : static_cast<std::int64_t>(written_.size()); }
  /// Throws DataError when `ok` is false or libtiff has reported an error; the text is libtiff's where it said something.
  void require(bool ok, const char* what) const;
  /// Closes a file in memory and returns it.
  std::string finish();

 private:
  struct Callbacks;
  void open(const char* mode, std::int64_t largest_allocation);

  std::string name_;
  std::optional<FileReader> file_;
  std::string written_;  // the file in memory
  std::uint64_t at_ = 0;
  std::string message_;  // libtiff's first error
  TIFF* tiff_ = nullptr;
};

}  // namespace cuboid
#endif
