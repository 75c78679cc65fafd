// SPDX-License-Identifier: Apache-2.0
#include "apps/run_folder.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <ctime>
#include <fstream>
#include <thread>

#include "apps/app.h"
#include "core/build_info.h"
#include "core/cuda.h"
#include "core/files.h"
#include "core/parallel.h"

namespace cuboid::app {
namespace fs = std::filesystem;
namespace {

void make_folders(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  check(!error, folder.string(), ": cannot make the folder: ", error.message());
}

/// Points root/latest at `name`; a file system without links goes without.
void point_latest(const fs::path& root, const std::string& name) {
  const fs::path link = root / "latest", fresh = root / (".latest." + std::to_string(getpid()));
  std::error_code error;
  if (fs::exists(fs::symlink_status(link)) && !fs::is_symlink(fs::symlink_status(link))) return;
  fs::create_directory_symlink(name, fresh, error);
  if (!error) fs::rename(fresh, link, error);
  if (error) fs::remove(fresh, error);
}

std::string first_line_value(const char* file, const std::string& key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(key)) {
      const auto colon = line.find(':');
      const auto begin = line.find_first_not_of(" \t", colon + 1);
      return begin == line.npos ? "" : line.substr(begin);
    }
  return "";
}

}  // namespace

RunFolder RunFolder::numbered(const fs::path& root, const std::string& name) {
  make_folders(root);
  int number = 0;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(root, error)) {
    const std::string existing = entry.path().filename().string();
    if (existing.size() >= 4 && existing[3] == '-' && std::all_of(existing.begin(), existing.begin() + 3, ::isdigit))
      number = std::max(number, std::stoi(existing.substr(0, 3)));
  }
  check(!error, root.string(), ": cannot read the folder: ", error.message());
  for (++number; number < 100000; ++number) {
    std::string digits = std::to_string(number);
    digits.insert(0, 3 - std::min<std::size_t>(3, digits.size()), '0');
    const fs::path folder = root / (digits + "-" + slug(name));
    if (fs::create_directory(folder, error)) {  // another process may have taken the number
      point_latest(root, folder.filename().string());
      return RunFolder(folder);
    }
    check(!error, folder.string(), ": cannot make the folder: ", error.message());
  }
  fail(root.string(), ": no free run number");
}

RunFolder RunFolder::at(const fs::path& folder, bool overwrite) {
  std::error_code error;
  if (fs::exists(folder, error) && !overwrite) {
    check<UsageError>(fs::is_directory(folder, error), folder.string(), ": is not a folder");
    check<UsageError>(fs::is_empty(folder, error),
                      with_hint(folder.string() + ": exists and is not empty", "choose another folder, or pass --overwrite"));
  }
  make_folders(folder);
  return RunFolder(folder);
}

RunFolder RunFolder::existing(const fs::path& folder) {
  std::error_code error;
  check<DataError>(fs::is_directory(folder, error), folder.string(), ": no such run folder");
  check<DataError>(fs::exists(folder / "run.toml", error), with_hint(folder.string() + ": not a run folder (it has no run.toml)",
                                                                     "a run folder is what 'cuboid csf train' makes"));
  return RunFolder(fs::canonical(folder, error));
}

fs::path RunFolder::file(const std::string& relative) const {
  const fs::path path = path_ / relative;
  make_folders(path.parent_path());
  return path;
}

bool RunFolder::has(const std::string& relative) const {
  std::error_code error;
  return fs::exists(path_ / relative, error);
}

void RunFolder::write(const std::string& relative, const std::string& content) const { atomic_write(file(relative), content); }
void RunFolder::write(const std::string& relative, const Json& content) const { write(relative, content.dump(2) + "\n"); }
Json RunFolder::read_json(const std::string& relative) const {
  return Json::parse(read_text(relative), (path_ / relative).string());
}
std::string RunFolder::read_text(const std::string& relative) const { return read_file(path_ / relative); }

void RunFolder::log(const Json& line) const {
  const fs::path path = file("metrics.jsonl");
  std::ofstream out(path, std::ios::app);
  out << line.dump() + "\n" << std::flush;
  check(out.good(), path.string(), ": cannot write: ", std::strerror(errno));
}

std::vector<Json> RunFolder::logged() const {
  std::vector<Json> lines;
  std::ifstream in(path_ / "metrics.jsonl");
  for (std::string line; std::getline(in, line);) {
    try {
      if (!line.empty()) lines.push_back(Json::parse(line, "metrics.jsonl"));
    } catch (const DataError&) {  // the line a killed process was writing
    }
  }
  return lines;
}

void RunFolder::trim_log(bool (*keep)(const Json&, const Json&), const Json& limit) const {
  if (!has("metrics.jsonl")) return;
  std::string text;
  for (const Json& line : logged())
    if (keep(line, limit)) text += line.dump() + "\n";
  write("metrics.jsonl", text);
}

std::string slug(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-';
    if (plain || out.empty() || out.back() != '-') out += plain ? c : '-';
  }
  while (!out.empty() && (out.front() == '.' || out.front() == '-')) out.erase(0, 1);
  return out.empty() ? "run" : out.substr(0, 80);
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts = {};
  gmtime_r(&now, &parts);
  char text[40];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

namespace {

Json device_json(Device device) {
#if CUBOID_CUDA
  if (device == Device::cuda) {
    const cuda::DeviceInfo info = cuda::device_info();
    return Json::object({{"name", info.name},
                         {"compute_capability", join_text(info.major, '.', info.minor)},
                         {"memory_bytes", info.total_bytes},
                         {"driver", info.driver_version},
                         {"runtime", info.runtime_version}});
  }
#endif
  return name_of(device);
}

}  // namespace

Json environment_manifest(Device device) {
  Json libraries = Json::object();
  for (const auto& feature : build::features)
    if (feature.present && feature.name != "torch") libraries[std::string(feature.name)] = std::string(feature.version);
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  const double total = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  std::error_code error;
  return Json::object({{"cuboid", version()},
                       {"compiler", std::string(build::compiler)},
                       {"flags", std::string(build::flags)},
                       {"libraries", libraries},
                       {"command", command_line()},
                       {"folder", fs::current_path(error).string()},
                       {"started", utc_now()},
                       {"host", Json::object({{"name", host},
                                              {"processor", first_line_value("/proc/cpuinfo", "model name")},
                                              {"processors", static_cast<int>(std::thread::hardware_concurrency())},
                                              {"memory_bytes", total}})},
                       {"threads", thread_count()},
                       {"device", device_json(device)}});
}

Json finite(double value) { return std::isfinite(value) ? Json(value) : Json(); }

}  // namespace cuboid::app
