// SPDX-License-Identifier: Apache-2.0
// The clock. All sides of a row live side by side and take turns, A B C ... C B A, so that what slows the machine slows them
// alike; before every round and after the last, the machine's own speed is measured.
#pragma once
#include <functional>
#include <optional>
#include <string>

#include "apps/bench/cases.h"

namespace cuboid::bench {

struct MeasureOptions {
  int rounds = 7, threads = 1;
  double seconds = 3;        // of each turn
  double keep_above = 0.95;  // of the best calibration
  bool bf16 = true, quick = false;
  double calibration_seconds = 0.4;
};

/// After so many rounds a LibTorch side whose median is more than `behind` above the fastest LibTorch's sits out.
constexpr int trial_rounds = 2;
constexpr double behind = 1.05;

/// What a run tells the terminal.
class Reporter {
 public:
  virtual ~Reporter() = default;
  virtual void say(const std::string& text) = 0;
  /// One turn has ended.
  virtual void turn(const std::string& side, int round, double milliseconds) = 0;
};

/// Turns of a row with `sides` sides, for an estimate of what is left.
double expected_turns(std::size_t sides, const MeasureOptions& options);

/// Gate and clock for one row. `best` is the best calibration so far, kept up to date. Throws Error when the numbers differ.
/// After Ctrl-C the row holds what there is; nothing when not even one round is complete.
std::optional<Row> measure_row(const Programs& programs, const Case& c, const std::string& mode, const MeasureOptions& options,
                               const std::filesystem::path& scratch, Reporter& reporter, Result& result);

/// The milliseconds in a side's answer to "time".
std::vector<double> steps_of(const std::string& answer);

/// FLOP/s and B/s of all threads, now.
Calibration calibrate(double seconds);

}  // namespace cuboid::bench
