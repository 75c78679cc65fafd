// SPDX-License-Identifier: Apache-2.0
// Which of several rows that fit is the fastest here: measured at first use, judged once against the reference, remembered in
// one file for this GPU, driver and set of libraries.
//
//   CUBOID_AUTOTUNE=0        the first row that fits, without measuring, as with CUBOID_DETERMINISTIC=1 and on the CPU
//   CUBOID_TUNE_CACHE=FILE   where it is remembered; default: $XDG_CACHE_HOME/cuboid/rows.json, else ~/.cache/cuboid/rows.json
//   CUBOID_LOG=impl          prints each measurement: the rows, their times, the winner
#pragma once
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/view.h"

namespace cuboid {

class Autotuner {
 public:
  struct Candidate {
    const char* name;
    std::function<void()> run;
    std::function<double()> error;  // runs it; its worst error relative to the reference, NaN where one of them is
  };
  /// Milliseconds of one call.
  using Meter = std::function<double(const std::function<void()>&)>;
  /// No row but the reference is right.
  static constexpr const char* none = "";

  /// `machine` is all that a choice depends on besides the problem: those of other machines stay in the file, unused.
  Autotuner(std::string machine, Meter meter, std::string file);

  /// What is known for this problem: the name of a row, or `none`.
  std::optional<std::string> known(std::uint64_t hash) const;
  /// Measures, judges, remembers. `problem` is the text behind `hash`. A row whose error is above `tolerance` is left out, and so
  /// is one that throws, with a note.
  std::string choose(std::uint64_t hash, const std::string& problem, const std::vector<Candidate>& candidates, double tolerance);

  /// Of the device in use.
  static Autotuner& of_device();

 private:
  using Choices = std::map<std::string, std::string>;  // problem -> row
  std::map<std::string, Choices> read(bool complain) const;
  void save() const;

  std::string machine_;
  Meter meter_;
  std::string file_;
  mutable std::mutex guard_;
  std::unordered_map<std::uint64_t, std::string> by_hash_;
  Choices by_problem_;
};

/// True where choices are measured now: on a real device, unless turned off, and not while a graph is recorded.
bool autotuning(Device device);

/// For tests: choices on `device` are made by `tuner` while it lives.
class WithAutotuner {
 public:
  WithAutotuner(Device device, Autotuner& tuner);
  WithAutotuner(const WithAutotuner&) = delete;
  WithAutotuner& operator=(const WithAutotuner&) = delete;
  ~WithAutotuner();
};
Autotuner& autotuner();

/// A problem's identity: types, shapes and strides of the tensors, and the options.
class ProblemHash {
 public:
  void add(std::int64_t v) { h_ = (h_ ^ static_cast<std::uint64_t>(v)) * 0x9e3779b97f4a7c15u, h_ ^= h_ >> 29; }
  void add(const View& v) {
    add(static_cast<int>(v.dtype));
    add(v.data != nullptr);
    for (const auto n : v.shape) add(n);
    for (const auto n : v.strides) add(n);
  }
  std::uint64_t value() const { return h_; }

 private:
  std::uint64_t h_ = 0x51ed270b7f2b1a8du;
};
std::string text_of_problem(const char* op, const std::vector<View>& views, const std::string& options);
/// What rounding and the order of sums may cost, relative to the largest value.
double judging_tolerance(DType dtype, bool tf32);

}  // namespace cuboid
