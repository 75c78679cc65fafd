// SPDX-License-Identifier: Apache-2.0
// What a run of `cuboid bench` found, as a value and as JSON. Only what was measured is kept; medians, ratios and intervals
// follow from it (and are written into the file for those who read it without this program).
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "apps/bench/statistics.h"
#include "core/json.h"

namespace cuboid::bench {

inline constexpr const char* schema = "cuboid-bench/1";

/// One configuration of one library in one row. Round by round the median milliseconds of a step; NaN where it sat out.
struct Side {
  std::string id;       // "cuboid/f32", "libtorch/contiguous/tuned"
  std::string library;  // "cuboid" or "libtorch"
  std::string dtype, layout, malloc;
  std::vector<double> rounds = {};
  double min_ms = 0, peak_mib = 0;

  bool ours() const { return library == "cuboid"; }
  /// For people: "LibTorch channels_last, tuned malloc".
  std::string name() const;
};

/// How far one side's numbers lie from the judge's before anything was timed; relative errors.
struct Agreement {
  std::string side;
  double outputs = 0, gradient = 0;
  bool operator==(const Agreement&) const = default;
};

/// A net at work: one line of the table per type of Cuboid's.
struct Row {
  std::string id, title, mode;  // "densenet121_3d/train", "DenseNet121 3D, 64^3, batch 8", "train" or "infer"
  double gflop = 0;             // of one step, taps on padding left out; 0 when unknown
  std::vector<Agreement> numerics = {};
  std::vector<Side> sides = {};
  std::vector<Calibration> calibrations = {};  // one before each round and one after the last
  std::vector<double> steal = {};              // share of the processors' time that others took, per round
  KeptRounds kept = {};

  const Side* side(const std::string& side_id) const;
  /// Cuboid's, in the order of the file.
  std::vector<const Side*> ours() const;
  /// The fastest LibTorch of those that ran in the last round; nullptr without LibTorch.
  const Side* best() const;
  /// The fastest with glibc's allocator as it is.
  const Side* as_installed() const;
  /// A side's rounds that count.
  std::vector<double> times(const Side& s) const;
  /// over / under, round by round, where both ran.
  Interval ratio(const Side& over, const Side& under) const;
};

/// A figure that is no row: start-up, size, compile time. Lower is better.
struct Figure {
  std::string id, title, unit;
  std::vector<double> cuboid = {}, libtorch = {};
  bool operator==(const Figure&) const = default;
};

/// Cuboid's f32 step on an input of another size, or with another number of threads.
struct Growth {
  std::string net, title, mode;  // "densenet121_3d", "DenseNet121 3D", "train" or "infer"
  std::int64_t batch = 0, side = 0, threads = 0;
  std::vector<double> ms = {};  // of every step

  double voxels() const { return static_cast<double>(batch * side * side * side); }
  bool operator==(const Growth&) const = default;
};

struct Result {
  std::string date, command;
  Json machine = Json::object();   // processor, cores, threads, memory_gib, system, vectors
  Json versions = Json::object();  // cuboid, libtorch, libtorch_config
  Json options = Json::object();   // rounds, seconds, keep_above
  bool complete = true, quick = false;
  Calibration best;  // the best calibration of the run, FLOP/s and B/s
  std::vector<Row> rows = {};
  std::vector<Figure> figures = {};
  std::vector<Growth> growth = {};  // of `cuboid bench --scaling`

  Json to_json() const;
  /// Throws DataError that names `source` and what is wrong with it.
  static Result from_json(const Json& json, const std::string& source);
  static Result read(const std::filesystem::path& file);
  void write(const std::filesystem::path& file) const;  // atomic
};

}  // namespace cuboid::bench
