// SPDX-License-Identifier: Apache-2.0
// Where a reader's bytes come from: a file, a gzip stream, a zip member, memory. Also the checks all readers share.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "core/error.h"
#include "core/files.h"
#include "core/shape.h"

namespace cuboid {

/// Bytes in order. `name()` starts every message.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// Up to `bytes`; fewer only at the end.
  virtual std::size_t read(void* to, std::size_t bytes) = 0;
  /// No more than this many bytes can still come. Readers allocate nothing larger.
  virtual std::int64_t at_most() const = 0;
  virtual const std::string& name() const = 0;

  void read_exactly(void* to, std::size_t bytes);
  /// Passes over `bytes`, which must be there.
  virtual void skip(std::int64_t bytes);
  /// Throws when there is more.
  void expect_end();
};

class FileSource : public ByteSource {
 public:
  explicit FileSource(const std::filesystem::path& path) : file_(path) {}
  std::size_t read(void* to, std::size_t bytes) override;
  std::int64_t at_most() const override { return file_.size() - at_; }
  const std::string& name() const override { return file_.name(); }
  void skip(std::int64_t bytes) override;

 private:
  FileReader file_;
  std::int64_t at_ = 0;
};

/// The content of a gzip file, one member, checksum and length verified at its end. Needs zlib.
std::unique_ptr<ByteSource> open_gzip(const std::filesystem::path& path);

/// The unpacked content of bytes [begin, end) of a file, a zlib stream.
std::unique_ptr<ByteSource> open_zlib(const std::filesystem::path& path, std::int64_t begin, std::int64_t end);
/// The way back, in memory: bytes in pieces, then the stream.
class ZlibPacker {
 public:
  ZlibPacker();
  ~ZlibPacker();
  ZlibPacker(const ZlibPacker&) = delete;
  ZlibPacker& operator=(const ZlibPacker&) = delete;
  void write(const void* data, std::size_t bytes);
  std::string finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};
/// True when the file begins as gzip files do.
bool is_gzip(const std::filesystem::path& path);
/// The bytes of a file, unpacked when it is a gzip file.
std::unique_ptr<ByteSource> open_bytes(const std::filesystem::path& path);

/// Where a writer's bytes go. The file is there, whole, after finish(); without it nothing is.
class ByteSink {
 public:
  virtual ~ByteSink() = default;
  virtual void write(const void* data, std::size_t bytes) = 0;
  virtual void finish() = 0;
};
/// A plain file, or a gzip file of one member (the same content gives the same bytes; needs zlib).
std::unique_ptr<ByteSink> create_bytes(const std::filesystem::path& path, bool gzip = false);

/// Deflate cannot shrink data more than this; who claims more is lying.
inline constexpr std::int64_t max_deflate_ratio = 1100;

/// a * b, or DataError: sizes in a file multiply to more than 64 bits.
inline std::int64_t checked_times(std::int64_t a, std::int64_t b, const std::string& name) {
  std::int64_t product = 0;
  check<DataError>(a >= 0 && b >= 0 && !__builtin_mul_overflow(a, b, &product), name, ": sizes ", a, " x ", b, " overflow");
  return product;
}

/// For formats whose library this build has not.
[[noreturn]] inline void missing_library(const std::string& what, const char* apt, const char* option) {
  fail(what, ": this build has no support for it; apt install ", apt, " and configure with -D", option, "=ON");
}

}  // namespace cuboid
