// SPDX-License-Identifier: Apache-2.0
// Files that are whole or not there: atomic replacement, exact reads, checksums.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/error.h"

namespace cuboid {

/// CRC-32C (Castagnoli, reflected 0x1EDC6F41), the checksum of iSCSI and ext4. Pass the last result to go on.
std::uint32_t crc32c(const void* data, std::size_t bytes, std::uint32_t so_far = 0);
/// Eight hexadecimal digits.
std::string hex8(std::uint32_t value);

/// A file open for writing; every failure throws Error with the name and the system's reason.
class FileWriter {
 public:
  explicit FileWriter(const std::filesystem::path& path);
  /// A file that must not be there yet; errors name it `shown_as`.
  FileWriter(const std::filesystem::path& path, const std::string& shown_as);
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;
  ~FileWriter();
  void write(const void* data, std::size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  /// Everything written so far reaches the disk.
  void sync();
  void close();
  std::int64_t written() const { return written_; }

 private:
  void open_with(const std::filesystem::path& path, int flags);
  void flush();
  void put(const char* data, std::size_t bytes);
  std::string name_;
  int fd_ = -1;
  bool special_ = false;
  std::int64_t written_ = 0;
  std::string buffer_;
};

/// A file open for reading; every failure throws DataError with the name.
class FileReader {
 public:
  explicit FileReader(const std::filesystem::path& path);
  FileReader(FileReader&&) noexcept;
  FileReader& operator=(FileReader&&) noexcept;
  ~FileReader();
  const std::string& name() const { return name_; }
  std::int64_t size() const { return size_; }
  /// Reads exactly `bytes` at `offset`; fewer is an error.
  void read_at(std::int64_t offset, void* to, std::size_t bytes) const;
  std::string read_at(std::int64_t offset, std::size_t bytes) const;

 private:
  std::string name_;
  int fd_ = -1;
  std::int64_t size_ = 0;
};

/// A file in the making: written beside `path`, put in its place by commit(), gone without it. What atomic_write does for content
/// that comes piece by piece.
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& path);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();
  FileWriter& out() { return *out_; }
  void commit();

 private:
  std::filesystem::path path_, target_, unfinished_;  // unfinished_ is empty for a device or a pipe
  std::unique_ptr<FileWriter> out_;
};

/// Puts a new file at `path`: written beside it, synced, renamed, folder synced. Whoever reads `path`, also after a crash or
/// a full disk, sees all of the old file or all of the new one. Throws Error and leaves nothing behind when it fails.
/// A path that is a device or a pipe is written to directly.
void atomic_write(const std::filesystem::path& path, const std::function<void(FileWriter&)>& write);
void atomic_write(const std::filesystem::path& path, std::string_view content);
/// Removes what killed processes left behind in this folder when they died within atomic_write.
void sweep_unfinished_writes(const std::filesystem::path& folder);

/// The whole file; DataError when it is missing, no regular file, or larger than `max_bytes`.
std::string read_file(const std::filesystem::path& path, std::int64_t max_bytes = std::int64_t{64} << 20);

}  // namespace cuboid
