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

#if defined(CUBOID_ZLIB)
namespace {

class GzipSource : public ByteSource {
 public:
  explicit GzipSource(const std::filesystem::path& path) : file_(path), packed_(1 << 16, '\0') {
    check(inflateInit2(&stream_, 15 + 16) == Z_OK, name(), ": cannot start zlib");  // 16: gzip only
  }
  ~GzipSource() override { inflateEnd(&stream_); }
  GzipSource(const GzipSource&) = delete;
  GzipSource& operator=(const GzipSource&) = delete;

  std::int64_t at_most() const override { return std::max<std::int64_t>(0, file_.size() * max_deflate_ratio - given_); }
  const std::string& name() const override { return file_.name(); }

  std::size_t read(void* to, std::size_t bytes) override {
    std::size_t done = 0;
    while (done < bytes && !ended_) {
      if (stream_.avail_in == 0 && at_ < file_.size()) refill();
      const auto room = static_cast<uInt>(std::min<std::size_t>(bytes - done, 1 << 30));
      stream_.next_out = static_cast<Bytef*>(to) + done;
      stream_.avail_out = room;
      const int status = inflate(&stream_, Z_NO_FLUSH);
      done += room - stream_.avail_out;
      if (status == Z_STREAM_END) {
        ended_ = true;
        check<DataError>(stream_.avail_in == 0 && at_ == file_.size(), name(), ": something follows the compressed data");
      } else {
        const bool starved = stream_.avail_in == 0 && at_ == file_.size();
        check<DataError>(status == Z_OK || (status == Z_BUF_ERROR && !starved), name(), ": ",
                         starved       ? "the compressed data is cut off"
                         : stream_.msg ? stream_.msg
                                       : "not gzip data");
      }
    }
    given_ += static_cast<std::int64_t>(done);
    return done;
  }

 private:
  void refill() {
    const auto n =
        static_cast<std::size_t>(std::min<std::int64_t>(static_cast<std::int64_t>(packed_.size()), file_.size() - at_));
    file_.read_at(at_, packed_.data(), n);
    at_ += static_cast<std::int64_t>(n);
    stream_.next_in = reinterpret_cast<Bytef*>(packed_.data());
    stream_.avail_in = static_cast<uInt>(n);
  }

  FileReader file_;
  std::string packed_;
  z_stream stream_ = {};
  std::int64_t at_ = 0, given_ = 0;
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<ByteSource> open_gzip(const std::filesystem::path& path) { return std::make_unique<GzipSource>(path); }
#else
std::unique_ptr<ByteSource> open_gzip(const std::filesystem::path& path) {
  missing_library(path.string() + ": gzip", "zlib1g-dev", "CUBOID_WITH_ZLIB");
}
#endif

}  // namespace cuboid
