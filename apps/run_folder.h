// SPDX-License-Identifier: Apache-2.0
// Where a run keeps what it makes: runs/007-cells/ with run.toml, manifest.json, metrics.jsonl, checkpoints/, eval/,
// explain/ and report.html. Nothing is overwritten unless the user says so.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "core/device.h"
#include "core/json.h"

namespace cuboid::app {

class RunFolder {
 public:
  /// root/NNN-name with the next free number, also when several processes ask at once; root/latest points there.
  static RunFolder numbered(const std::filesystem::path& root, const std::string& name);
  /// Exactly this folder. UsageError when it exists and holds anything, unless `overwrite`.
  static RunFolder at(const std::filesystem::path& folder, bool overwrite);
  /// A run that is there already. DataError when it is none.
  static RunFolder existing(const std::filesystem::path& folder);

  const std::filesystem::path& path() const { return path_; }
  /// A file below the folder; folders on the way are made.
  std::filesystem::path file(const std::string& relative) const;
  bool has(const std::string& relative) const;

  void write(const std::string& relative, const std::string& content) const;  // atomic
  void write(const std::string& relative, const Json& content) const;
  Json read_json(const std::string& relative) const;
  std::string read_text(const std::string& relative) const;

  /// One line of metrics.jsonl.
  void log(const Json& line) const;
  std::vector<Json> logged() const;
  /// Keeps only the lines that `keep` wants: what a resumed run will write again is taken out.
  void trim_log(bool (*keep)(const Json& line, const Json& limit), const Json& limit) const;

 private:
  explicit RunFolder(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

/// Letters, digits, dot, dash and underscore stay, everything else becomes a dash: fit for a file name.
std::string slug(const std::string& text);

/// What a reader needs to trust and repeat a result: versions, libraries, command line, folder, host, processor, time.
Json environment_manifest(Device device = Device::cpu);
/// NaN and infinities become null, which JSON can say.
Json finite(double value);

/// "2026-11-21T02:03:04Z"
std::string utc_now();

}  // namespace cuboid::app
