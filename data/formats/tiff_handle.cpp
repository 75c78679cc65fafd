// SPDX-License-Identifier: Apache-2.0
#include "data/formats/tiff_handle.h"

#if defined(CUBOID_TIFF)
#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "data/formats/bytes.h"

#if TIFFLIB_VERSION < 20221213
#error "libtiff 4.5 or newer is needed: older ones report errors through one global function only"
#endif

namespace cuboid {

struct TiffHandle::Callbacks {
  static TiffHandle& self(thandle_t h) { return *static_cast<TiffHandle*>(h); }

  static tmsize_t read(thandle_t h, void* to, tmsize_t bytes) {
    TiffHandle& f = self(h);
    const auto size = static_cast<std::uint64_t>(f.bytes());
    if (bytes <= 0 || f.at_ >= size) return 0;
    const auto n = static_cast<std::size_t>(std::min(static_cast<std::uint64_t>(bytes), size - f.at_));
    if (!f.file_) {
      std::memcpy(to, f.written_.data() + f.at_, n);
    } else {
      try {
        f.file_->read_at(static_cast<std::int64_t>(f.at_), to, n);
      } catch (const Error& e) {  // no exception may cross libtiff
        if (f.message_.empty()) f.message_ = e.what();
        return -1;
      }
    }
    f.at_ += n;
    return static_cast<tmsize_t>(n);
  }
  static tmsize_t write(thandle_t h, void* from, tmsize_t bytes) {
    TiffHandle& f = self(h);
    if (f.file_ || bytes < 0) return -1;
    try {
      f.written_.resize(std::max<std::size_t>(f.written_.size(), f.at_ + static_cast<std::size_t>(bytes)));
    } catch (const std::exception&) {
      return -1;
    }
    std::memcpy(f.written_.data() + f.at_, from, static_cast<std::size_t>(bytes));
    f.at_ += static_cast<std::uint64_t>(bytes);
    return bytes;
  }
  static toff_t seek(thandle_t h, toff_t offset, int whence) {
    TiffHandle& f = self(h);
    const std::uint64_t base = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? f.at_ : static_cast<std::uint64_t>(f.bytes());
    return f.at_ = base + offset;
  }
  static int close(thandle_t) { return 0; }
  static toff_t size(thandle_t h) { return static_cast<toff_t>(self(h).bytes()); }
  static int map(thandle_t, void**, toff_t*) { return 0; }
  static void unmap(thandle_t, void*, toff_t) {}

  static int error(TIFF*, void* user, const char*, const char* format, va_list arguments) {
    auto& f = *static_cast<TiffHandle*>(user);
    char text[256];
    std::vsnprintf(text, sizeof text, format, arguments);
    if (f.message_.empty()) f.message_ = text;
    return 1;  // handled
  }
  static int warning(TIFF*, void*, const char*, const char*, va_list) { return 1; }
};

void TiffHandle::open(const char* mode, std::int64_t largest_allocation) {
  TIFFOpenOptions* options = TIFFOpenOptionsAlloc();
  TIFFOpenOptionsSetErrorHandlerExtR(options, Callbacks::error, this);
  TIFFOpenOptionsSetWarningHandlerExtR(options, Callbacks::warning, this);
  TIFFOpenOptionsSetMaxSingleMemAlloc(options, static_cast<tmsize_t>(largest_allocation));
  tiff_ = TIFFClientOpenExt(name_.c_str(), mode, this, Callbacks::read, Callbacks::write, Callbacks::seek, Callbacks::close,
                            Callbacks::size, Callbacks::map, Callbacks::unmap, options);
  TIFFOpenOptionsFree(options);
  check<DataError>(tiff_ != nullptr, name_,
                   ": tiff: ", message_.empty() ? "the first directory is broken, or claims more than the file holds" : message_);
}

TiffHandle::TiffHandle(const std::filesystem::path& path) : name_(path.string()), file_(path) {
  open("rm", (std::int64_t{1} << 20) + file_->size() * 16);
}
TiffHandle::TiffHandle() : name_("tiff in memory") { open("w", 0); }
TiffHandle::~TiffHandle() {
  if (tiff_) TIFFClose(tiff_);
}

void TiffHandle::require(bool ok, const char* what) const {
  check<DataError>(ok && message_.empty(), name_, ": tiff: ", message_.empty() ? what : message_);
}

std::string TiffHandle::finish() {
  TIFFClose(tiff_);
  tiff_ = nullptr;
  require(true, "");
  return std::move(written_);
}

}  // namespace cuboid
#endif
