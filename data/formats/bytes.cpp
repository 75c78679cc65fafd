// SPDX-License-Identifier: Apache-2.0
#include "data/formats/bytes.h"

#include <algorithm>
#include <cstring>

#if defined(CUBOID_ZLIB)
#include <zlib.h>
#endif

namespace cuboid {

void ByteSource::read_exactly(void* to, std::size_t bytes) {
  const std::size_t got = read(to, bytes);
  check<DataError>(got == bytes, name(), ": cut off: ", bytes - got, " more bytes expected");
}

void ByteSource::skip(std::int64_t bytes) {
  char piece[1 << 14];
  for (std::int64_t left = bytes; left > 0;) {
    const auto n = std::min<std::int64_t>(left, sizeof piece);
    read_exactly(piece, static_cast<std::size_t>(n));
    left -= n;
  }
}

void ByteSource::expect_end() {
  char more;
  check<DataError>(read(&more, 1) == 0, name(), ": more bytes follow than the header says");
}

std::size_t FileSource::read(void* to, std::size_t bytes) {
  const auto n = static_cast<std::size_t>(std::min<std::int64_t>(static_cast<std::int64_t>(bytes), file_.size() - at_));
  file_.read_at(at_, to, n);
  at_ += static_cast<std::int64_t>(n);
  return n;
}

void FileSource::skip(std::int64_t bytes) {
  check<DataError>(bytes <= at_most(), name(), ": cut off: ", bytes - at_most(), " more bytes expected");
  at_ += bytes;
}

bool is_gzip(const std::filesystem::path& path) {
  const FileReader file(path);
  return file.size() >= 2 && file.read_at(0, 2) == "\x1f\x8b";
}

std::unique_ptr<ByteSource> open_bytes(const std::filesystem::path& path) {
  if (is_gzip(path)) return open_gzip(path);
  return std::make_unique<FileSource>(path);
}

namespace {

class FileSink : public ByteSink {
 public:
  explicit FileSink(const std::filesystem::path& path) : file_(path) {}
  void write(const void* data, std::size_t bytes) override { file_.out().write(data, bytes); }
  void finish() override { file_.commit(); }

 private:
  AtomicFile file_;
};

}  // namespace

#if defined(CUBOID_ZLIB)
namespace {

constexpr int zlib_only = 15, gzip_only = 15 + 16;

class InflateSource : public ByteSource {
 public:
  /// The packed bytes are [begin, end) of the file.
  InflateSource(FileReader file, std::int64_t begin, std::int64_t end, int wrapping)
      : file_(std::move(file)), packed_(1 << 16, '\0'), packed_bytes_(end - begin), at_(begin), end_(end) {
    check(inflateInit2(&stream_, wrapping) == Z_OK, name(), ": cannot start zlib");
  }
  ~InflateSource() override { inflateEnd(&stream_); }
  InflateSource(const InflateSource&) = delete;
  InflateSource& operator=(const InflateSource&) = delete;

  std::int64_t at_most() const override { return std::max<std::int64_t>(0, packed_bytes_ * max_deflate_ratio - given_); }
  const std::string& name() const override { return file_.name(); }

  std::size_t read(void* to, std::size_t bytes) override {
    std::size_t done = 0;
    while (done < bytes && !ended_) {
      if (stream_.avail_in == 0 && at_ < end_) refill();
      const auto room = static_cast<uInt>(std::min<std::size_t>(bytes - done, 1 << 30));
      stream_.next_out = static_cast<Bytef*>(to) + done;
      stream_.avail_out = room;
      const int status = inflate(&stream_, Z_NO_FLUSH);
      done += room - stream_.avail_out;
      if (status == Z_STREAM_END) {
        ended_ = true;
        check<DataError>(stream_.avail_in == 0 && at_ == end_, name(), ": something follows the compressed data");
      } else {
        const bool starved = stream_.avail_in == 0 && at_ == end_;
        check<DataError>(status == Z_OK || (status == Z_BUF_ERROR && !starved), name(), ": ",
                         starved       ? "the compressed data is cut off"
                         : stream_.msg ? stream_.msg
                                       : "not packed data");
      }
    }
    given_ += static_cast<std::int64_t>(done);
    return done;
  }

 private:
  void refill() {
    const auto n = static_cast<std::size_t>(std::min<std::int64_t>(static_cast<std::int64_t>(packed_.size()), end_ - at_));
    file_.read_at(at_, packed_.data(), n);
    at_ += static_cast<std::int64_t>(n);
    stream_.next_in = reinterpret_cast<Bytef*>(packed_.data());
    stream_.avail_in = static_cast<uInt>(n);
  }

  FileReader file_;
  std::string packed_;
  z_stream stream_ = {};
  std::int64_t packed_bytes_, at_, end_, given_ = 0;
  bool ended_ = false;
};

/// Packs what it is given and hands the packed bytes on.
class Deflater {
 public:
  explicit Deflater(int wrapping) : packed_(1 << 16, '\0') {
    constexpr int level = 4;  // floats hardly shrink further
    check(deflateInit2(&stream_, level, Z_DEFLATED, wrapping, 8, Z_DEFAULT_STRATEGY) == Z_OK, "cannot start zlib");
  }
  ~Deflater() { deflateEnd(&stream_); }
  Deflater(const Deflater&) = delete;
  Deflater& operator=(const Deflater&) = delete;

  template <class F>
  void write(const void* data, std::size_t bytes, F put) {
    auto* from = static_cast<Bytef*>(const_cast<void*>(data));  // zlib does not write to it
    while (bytes > 0) {
      const auto n = static_cast<uInt>(std::min<std::size_t>(bytes, 1 << 30));
      stream_.next_in = from;
      stream_.avail_in = n;
      while (stream_.avail_in > 0) step(Z_NO_FLUSH, put);
      from += n;
      bytes -= n;
    }
  }
  template <class F>
  void finish(F put) {
    while (step(Z_FINISH, put) != Z_STREAM_END) {
    }
  }

 private:
  template <class F>
  int step(int flush, F& put) {
    stream_.next_out = reinterpret_cast<Bytef*>(packed_.data());
    stream_.avail_out = static_cast<uInt>(packed_.size());
    const int status = deflate(&stream_, flush);
    check(status == Z_OK || status == Z_STREAM_END, "zlib cannot pack: ", status);
    put(packed_.data(), packed_.size() - stream_.avail_out);
    return status;
  }

  std::string packed_;
  z_stream stream_ = {};
};

class GzipSink : public ByteSink {
  auto into_file() {
    return [this](const char* p, std::size_t n) { file_.out().write(p, n); };
  }

 public:
  explicit GzipSink(const std::filesystem::path& path) : file_(path) {}
  void write(const void* data, std::size_t bytes) override { deflater_.write(data, bytes, into_file()); }
  void finish() override {
    deflater_.finish(into_file());
    file_.commit();
  }

 private:
  AtomicFile file_;
  Deflater deflater_{gzip_only};
};

}  // namespace

std::unique_ptr<ByteSource> open_gzip(const std::filesystem::path& path) {
  FileReader file(path);
  const std::int64_t bytes = file.size();
  return std::make_unique<InflateSource>(std::move(file), 0, bytes, gzip_only);
}
std::unique_ptr<ByteSource> open_zlib(const std::filesystem::path& path, std::int64_t begin, std::int64_t end) {
  FileReader file(path);
  check<DataError>(begin >= 0 && begin <= end && end <= file.size(), file.name(), ": packed data beyond its end");
  return std::make_unique<InflateSource>(std::move(file), begin, end, zlib_only);
}
struct ZlibPacker::State {
  Deflater deflater{zlib_only};
  std::string packed;
  auto append() {
    return [this](const char* p, std::size_t n) { packed.append(p, n); };
  }
};
ZlibPacker::ZlibPacker() : state_(std::make_unique<State>()) {}
ZlibPacker::~ZlibPacker() = default;
void ZlibPacker::write(const void* data, std::size_t bytes) { state_->deflater.write(data, bytes, state_->append()); }
std::string ZlibPacker::finish() {
  state_->deflater.finish(state_->append());
  return std::move(state_->packed);
}
std::unique_ptr<ByteSink> create_bytes(const std::filesystem::path& path, bool gzip) {
  if (gzip) return std::make_unique<GzipSink>(path);
  return std::make_unique<FileSink>(path);
}
#else
std::unique_ptr<ByteSource> open_zlib(const std::filesystem::path& path, std::int64_t, std::int64_t) {
  missing_library(path.string() + ": packed data", "zlib1g-dev", "CUBOID_WITH_ZLIB");
}
struct ZlibPacker::State {};
ZlibPacker::ZlibPacker() { missing_library("packed data", "zlib1g-dev", "CUBOID_WITH_ZLIB"); }
ZlibPacker::~ZlibPacker() = default;
void ZlibPacker::write(const void*, std::size_t) {}
std::string ZlibPacker::finish() { return {}; }
std::unique_ptr<ByteSink> create_bytes(const std::filesystem::path& path, bool gzip) {
  if (gzip) missing_library(path.string() + ": gzip", "zlib1g-dev", "CUBOID_WITH_ZLIB");
  return std::make_unique<FileSink>(path);
}
std::unique_ptr<ByteSource> open_gzip(const std::filesystem::path& path) {
  missing_library(path.string() + ": gzip", "zlib1g-dev", "CUBOID_WITH_ZLIB");
}
#endif

}  // namespace cuboid
