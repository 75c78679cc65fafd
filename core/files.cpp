// SPDX-License-Identifier: Apache-2.0
#include "core/files.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace cuboid {
namespace {

std::string reason(int error) {
  std::string text = std::strerror(error);
  if (error == ENOSPC || error == EDQUOT) text += "; free some space and try again";
  if (error == EROFS || error == EACCES || error == EPERM) text += "; is the folder writable?";
  return text;
}

constexpr std::size_t buffer_bytes = 1 << 16;

/// The temporary name says who writes, so that what a killed process left can be told from work in progress.
std::filesystem::path temporary_beside(const std::filesystem::path& path) {
  static std::atomic<unsigned> count{0};
  return path.parent_path() / join_text(".", path.filename().string(), ".", getpid(), ".", count++, ".unfinished");
}

void sync_folder(const std::filesystem::path& folder) {
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  check(fd >= 0, folder.string(), ": cannot open the folder: ", reason(errno));
  const int status = fsync(fd), error = errno;
  close(fd);
  check(status == 0 || error == EINVAL, folder.string(), ": cannot sync the folder: ", reason(error));
}

}  // namespace

std::string hex8(std::uint32_t value) {
  std::string text(8, '0');
  for (std::size_t i = 8; i-- > 0; value >>= 4) text[i] = "0123456789abcdef"[value & 15];
  return text;
}

FileWriter::FileWriter(const std::filesystem::path& path) : name_(path.string()) { open_with(path, O_TRUNC); }
FileWriter::FileWriter(const std::filesystem::path& path, const std::string& shown_as) : name_(shown_as) {
  open_with(path, O_EXCL);
}

void FileWriter::open_with(const std::filesystem::path& path, int flags) {
  fd_ = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0666);
  check(fd_ >= 0, name_, ": cannot write: ", reason(errno));
  struct stat s = {};
  special_ = fstat(fd_, &s) == 0 && !S_ISREG(s.st_mode);
  buffer_.reserve(buffer_bytes);
}

FileWriter::~FileWriter() {
  if (fd_ >= 0) ::close(fd_);  // what was not closed on purpose is not wanted
}

void FileWriter::write(const void* data, std::size_t bytes) {
  written_ += static_cast<std::int64_t>(bytes);
  if (buffer_.size() + bytes > buffer_bytes) flush();
  if (bytes > buffer_bytes) put(static_cast<const char*>(data), bytes);
  else buffer_.append(static_cast<const char*>(data), bytes);
}

void FileWriter::flush() {
  put(buffer_.data(), buffer_.size());
  buffer_.clear();
}

void FileWriter::put(const char* p, std::size_t bytes) {
  while (bytes > 0) {
    const ssize_t n = ::write(fd_, p, std::min<std::size_t>(bytes, 1 << 30));
    if (n < 0 && errno == EINTR) continue;
    check(n > 0, name_, ": write failed: ", reason(n < 0 ? errno : ENOSPC));
    p += n;
    bytes -= static_cast<std::size_t>(n);
  }
}

void FileWriter::sync() {
  flush();
  if (special_) return;
  check(fsync(fd_) == 0, name_, ": cannot sync: ", reason(errno));
}

void FileWriter::close() {
  flush();
  const int fd = fd_;
  fd_ = -1;
  check(::close(fd) == 0, name_, ": cannot close: ", reason(errno));
}

FileReader::FileReader(const std::filesystem::path& path) : name_(path.string()) {
  fd_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // non-blocking: a pipe is refused, not waited for
  check<DataError>(fd_ >= 0, name_, ": cannot open: ", std::strerror(errno));
  struct stat s = {};
  const bool regular = fstat(fd_, &s) == 0 && S_ISREG(s.st_mode);
  if (!regular) {
    close(fd_);
    fd_ = -1;
    fail<DataError>(name_, ": not a regular file");
  }
  size_ = s.st_size;
}
FileReader::FileReader(FileReader&& other) noexcept
    : name_(std::move(other.name_)), fd_(std::exchange(other.fd_, -1)), size_(other.size_) {}
FileReader& FileReader::operator=(FileReader&& other) noexcept {
  std::swap(name_, other.name_);
  std::swap(fd_, other.fd_);
  std::swap(size_, other.size_);
  return *this;
}
FileReader::~FileReader() {
  if (fd_ >= 0) close(fd_);
}

void FileReader::read_at(std::int64_t offset, void* to, std::size_t bytes) const {
  char* p = static_cast<char*>(to);
  while (bytes > 0) {
    const ssize_t n = pread(fd_, p, std::min<std::size_t>(bytes, 1 << 30), offset);
    if (n < 0 && errno == EINTR) continue;
    check<DataError>(n >= 0, name_, ": cannot read: ", std::strerror(errno));
    check<DataError>(n > 0, name_, ": ends at byte ", offset, ", ", bytes, " more expected");
    p += n;
    offset += n;
    bytes -= static_cast<std::size_t>(n);
  }
}
std::string FileReader::read_at(std::int64_t offset, std::size_t bytes) const {
  check<DataError>(offset >= 0 && offset <= size_ && static_cast<std::int64_t>(bytes) <= size_ - offset, name_, ": has ", size_,
                   " bytes, ", bytes, " from byte ", offset, " are wanted");
  std::string text(bytes, '\0');
  read_at(offset, text.data(), bytes);
  return text;
}

AtomicFile::AtomicFile(const std::filesystem::path& path) : path_(path), target_(path) {
  std::error_code ec;
  if (std::filesystem::is_symlink(path, ec)) target_ = std::filesystem::weakly_canonical(path, ec);  // replace what it points to
  const auto status = std::filesystem::status(target_, ec);
  check(!std::filesystem::is_directory(status), path.string(), ": is a folder");
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    out_ = std::make_unique<FileWriter>(target_);
    return;
  }
  const auto folder = target_.has_parent_path() ? target_.parent_path() : std::filesystem::path(".");
  check(std::filesystem::is_directory(folder, ec), path.string(), ": cannot write: there is no folder ", folder.string());
  unfinished_ = temporary_beside(target_);
  out_ = std::make_unique<FileWriter>(unfinished_, path.string());
}

AtomicFile::~AtomicFile() {
  std::error_code ec;
  if (!unfinished_.empty()) std::filesystem::remove(unfinished_, ec);
}

void AtomicFile::commit() {
  if (unfinished_.empty()) return out_->close();
  out_->sync();
  out_->close();
  check(rename(unfinished_.c_str(), target_.c_str()) == 0, path_.string(), ": cannot rename: ", reason(errno));
  unfinished_.clear();
  sync_folder(target_.has_parent_path() ? target_.parent_path() : std::filesystem::path("."));
}

void atomic_write(const std::filesystem::path& path, const std::function<void(FileWriter&)>& write) {
  AtomicFile file(path);
  write(file.out());
  file.commit();
}

void atomic_write(const std::filesystem::path& path, std::string_view content) {
  atomic_write(path, [&](FileWriter& out) { out.write(content); });
}

void sweep_unfinished_writes(const std::filesystem::path& folder) {
  std::error_code ec;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ec)) {
    // .NAME.PID.COUNT.unfinished
    const std::string name = entry.path().filename().string();
    constexpr std::string_view ending = ".unfinished";
    if (name.size() < ending.size() + 5 || name[0] != '.' || !name.ends_with(ending)) continue;
    const auto count = name.rfind('.', name.size() - ending.size() - 1);
    const auto pid = count == std::string::npos || count == 0 ? std::string::npos : name.rfind('.', count - 1);
    if (pid == std::string::npos || pid == 0) continue;
    char* end = nullptr;
    const long writer = std::strtol(name.c_str() + pid + 1, &end, 10);
    const bool well_formed = end == name.c_str() + count && writer > 0;
    const bool gone = well_formed && writer != getpid() && kill(static_cast<pid_t>(writer), 0) != 0 && errno == ESRCH;
    if (gone) std::filesystem::remove(entry.path(), ec);
  }
}

std::string read_file(const std::filesystem::path& path, std::int64_t max_bytes) {
  const FileReader file(path);
  check<DataError>(file.size() <= max_bytes, file.name(), ": has ", file.size(), " bytes, at most ", max_bytes, " are read");
  return file.read_at(0, static_cast<std::size_t>(file.size()));
}

}  // namespace cuboid
