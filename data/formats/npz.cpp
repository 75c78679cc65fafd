// SPDX-License-Identifier: Apache-2.0
#include "data/formats/npz.h"

#include <algorithm>
#include <unordered_set>

#include "data/formats/zip_directory.h"

#if defined(CUBOID_ZIP)
#include <zip.h>
#endif

namespace cuboid {

#if defined(CUBOID_ZIP)
namespace {

zip_t* handle(void* archive) { return static_cast<zip_t*>(archive); }

std::string text_of(zip_error_t& error) {
  const std::string text = zip_error_strerror(&error);
  zip_error_fini(&error);
  return text;
}

/// Names that could leave a folder, were they ever written to one.
bool dangerous(const std::string& name) {
  if (name.empty() || name[0] == '/' || name.find('\\') != std::string::npos || (name.size() > 1 && name[1] == ':')) return true;
  for (std::size_t at = 0; at <= name.size();) {
    const std::size_t end = std::min(name.find('/', at), name.size());
    if (name.compare(at, end - at, "..") == 0) return true;
    at = end + 1;
  }
  return false;
}

class ZipMember : public ByteSource {
 public:
  ZipMember(zip_t* archive, std::size_t index, const std::string& name, std::int64_t bytes)
      : name_(name), left_(bytes), file_(zip_fopen_index(archive, index, 0)) {
    check<DataError>(file_ != nullptr, name_, ": ", zip_strerror(archive));
  }
  ~ZipMember() override { zip_fclose(file_); }
  ZipMember(const ZipMember&) = delete;
  ZipMember& operator=(const ZipMember&) = delete;
  const std::string& name() const override { return name_; }
  std::int64_t at_most() const override { return left_; }
  std::size_t read(void* to, std::size_t bytes) override {
    std::size_t done = 0;
    while (done < bytes) {
      const zip_int64_t n = zip_fread(file_, static_cast<char*>(to) + done, bytes - done);
      check<DataError>(n >= 0, name_, ": ", zip_file_strerror(file_));
      if (n == 0) break;
      done += static_cast<std::size_t>(n);
    }
    left_ -= static_cast<std::int64_t>(done);
    check<DataError>(left_ >= 0, name_, ": unpacks to more bytes than the directory says");
    return done;
  }

 private:
  std::string name_;
  std::int64_t left_;
  zip_file_t* file_;
};

}  // namespace

ZipArchive::ZipArchive(const std::filesystem::path& path, const ZipLimits& limits) : name_(path.string()) {
  check_zip_directory(FileReader(path));
  int code = 0;
  archive_ = zip_open(path.c_str(), ZIP_RDONLY | ZIP_CHECKCONS, &code);
  if (!archive_) {
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    fail<DataError>(name_, ": ", text_of(error));
  }
  try {
    const std::int64_t entries = zip_get_num_entries(handle(archive_), 0);
    check<DataError>(entries <= limits.max_entries, name_, ": ", entries, " entries, at most ", limits.max_entries, " are read");
    std::unordered_set<std::string> names;
    std::int64_t total = 0;
    for (std::int64_t i = 0; i < entries; ++i) {
      zip_stat_t s;
      zip_stat_init(&s);
      constexpr zip_uint64_t needed = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
      check<DataError>(zip_stat_index(handle(archive_), static_cast<zip_uint64_t>(i), 0, &s) == 0 && (s.valid & needed) == needed,
                       name_, ": entry ", i, " cannot be read");
      const std::string where = name_ + ":" + s.name;
      check<DataError>(!dangerous(s.name), where, ": an entry of this name is not read");
      check<DataError>(names.insert(s.name).second, where, ": the name is there twice");
      check<DataError>(!(s.valid & ZIP_STAT_ENCRYPTION_METHOD) || s.encryption_method == ZIP_EM_NONE, where, ": encrypted");
      check<DataError>(s.comp_method == ZIP_CM_STORE || s.comp_method == ZIP_CM_DEFLATE, where, ": compression method ",
                       s.comp_method, "; stored and deflate are read");
      constexpr zip_uint64_t huge = zip_uint64_t{1} << 48;
      check<DataError>(s.size < huge && s.comp_size < huge, where, ": ", s.size, " bytes");
      const auto bytes = static_cast<std::int64_t>(s.size), packed_bytes = static_cast<std::int64_t>(s.comp_size);
      check<DataError>(s.comp_method == ZIP_CM_STORE ? bytes == packed_bytes : bytes <= packed_bytes * max_deflate_ratio, where,
                       ": ", packed_bytes, " bytes cannot unpack to ", bytes);
      total += bytes;
      check<DataError>(total <= limits.max_total_bytes, name_, ": more than ", limits.max_total_bytes, " bytes when unpacked");
      members_.push_back({s.name, bytes, packed_bytes});
    }
  } catch (...) {
    zip_discard(handle(archive_));
    throw;
  }
}

ZipArchive::~ZipArchive() { zip_discard(handle(archive_)); }

std::unique_ptr<ByteSource> ZipArchive::open(std::size_t index) const {
  const Member& m = members_.at(index);
  return std::make_unique<ZipMember>(handle(archive_), index, name_ + ":" + m.name, m.bytes);
}

void write_npz(const std::filesystem::path& path, const NamedTensors& arrays) {
  // Built in memory, so that the file itself is written as every other one: whole or not at all.
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t* buffer = zip_source_buffer_create(nullptr, 0, 0, &error);
  check(buffer != nullptr, path.string(), ": ", text_of(error));
  zip_source_keep(buffer);
  const std::unique_ptr<zip_source_t, void (*)(zip_source_t*)> keep(buffer, zip_source_free);
  zip_t* archive = zip_open_from_source(buffer, ZIP_CREATE | ZIP_TRUNCATE, &error);
  if (!archive) zip_source_free(buffer);
  check(archive != nullptr, path.string(), ": ", text_of(error));
  std::vector<std::string> contents;
  contents.reserve(arrays.size());  // libzip keeps pointers until it closes
  try {
    for (const auto& [name, tensor] : arrays) {
      contents.push_back(npy_bytes(tensor));
      zip_source_t* source = zip_source_buffer(archive, contents.back().data(), contents.back().size(), 0);
      const zip_int64_t at = source ? zip_file_add(archive, (name + ".npy").c_str(), source, ZIP_FL_ENC_UTF_8) : -1;
      if (at < 0 && source) zip_source_free(source);
      check(at >= 0 && zip_set_file_compression(archive, static_cast<zip_uint64_t>(at), ZIP_CM_STORE, 0) == 0, path.string(),
            ": \"", name, "\": ", zip_strerror(archive));
    }
    check(zip_close(archive) == 0, path.string(), ": ", zip_strerror(archive));
  } catch (...) {
    zip_discard(archive);
    throw;
  }
  check(zip_source_open(buffer) == 0, path.string(), ": the archive cannot be read back");
  atomic_write(path, [&](FileWriter& out) {
    std::vector<char> piece(1 << 16);
    for (zip_int64_t n; (n = zip_source_read(buffer, piece.data(), piece.size())) > 0;)
      out.write(piece.data(), static_cast<std::size_t>(n));
  });
  zip_source_close(buffer);
}

#else

ZipArchive::ZipArchive(const std::filesystem::path& path, const ZipLimits&) : name_(path.string()) {
  missing_library(name_ + ": zip", "libzip-dev", "CUBOID_WITH_ZIP");
}
ZipArchive::~ZipArchive() = default;
std::unique_ptr<ByteSource> ZipArchive::open(std::size_t) const { return nullptr; }
void write_npz(const std::filesystem::path& path, const NamedTensors&) {
  missing_library(path.string() + ": zip", "libzip-dev", "CUBOID_WITH_ZIP");
}

#endif

namespace {

constexpr std::string_view npy_ending = ".npy";

/// Array names of an archive in which everything is an array.
std::vector<std::string> array_names(const ZipArchive& archive, const std::string& file) {
  std::vector<std::string> names;
  for (const auto& m : archive.members()) {
    check<DataError>(m.name.ends_with(npy_ending), file, ": not an npz file: it holds \"", m.name, "\"");
    names.push_back(m.name.substr(0, m.name.size() - npy_ending.size()));
  }
  check<DataError>(!names.empty(), file, ": holds no array");
  return names;
}

}  // namespace

std::vector<std::string> list_npz(const std::filesystem::path& path, const ZipLimits& limits) {
  return array_names(ZipArchive(path, limits), path.string());
}

Tensor read_npz(const std::filesystem::path& path, const std::string& name, const NpyOptions& options) {
  const ZipArchive archive(path);
  const auto names = array_names(archive, path.string());
  std::string listed;
  for (const auto& n : names) listed += (listed.empty() ? "" : ", ") + n;
  check<DataError>(!name.empty() || names.size() == 1, path.string(), ": holds several arrays, name one of: ", listed);
  const auto it = name.empty() ? names.begin() : std::find(names.begin(), names.end(), name);
  check<DataError>(it != names.end(), path.string(), ": has no array \"", name, "\"; there are: ", listed);
  return read_npy(*archive.open(static_cast<std::size_t>(it - names.begin())), options);
}

NamedTensors read_npz_all(const std::filesystem::path& path, const NpyOptions& options) {
  const ZipArchive archive(path);
  const auto names = array_names(archive, path.string());
  NamedTensors all;
  for (std::size_t i = 0; i < names.size(); ++i) all.emplace_back(names[i], read_npy(*archive.open(i), options));
  return all;
}

}  // namespace cuboid
