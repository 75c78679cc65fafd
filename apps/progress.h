// SPDX-License-Identifier: Apache-2.0
// Progress on standard error: one line that is redrawn on a terminal; elsewhere finished lines, two a minute.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>

namespace cuboid::app {

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

class Progress {
 public:
  enum class Mode { automatic, quiet, lines, terminal };
  /// `unit` is what is counted: "cells". automatic = a live line on a terminal, otherwise lines.
  explicit Progress(std::string unit, Mode mode = Mode::automatic);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { clear(); }

  /// Starts counting towards `total`.
  void begin(std::string title, std::int64_t total);
  /// `done` of total; redraws at most ten times per second; where lines stay, one in 30 seconds. `note` is for example "loss
  /// 0.213".
  void update(std::int64_t done, const std::string& note);
  /// A line that stays.
  void say(const std::string& text);
  /// Bold on a terminal that shows colours, plain elsewhere.
  std::string bold(const std::string& text) const;

 private:
  void clear();

  Mode mode_;
  bool colour_;
  bool drawn_ = false;
  std::string unit_, title_;
  std::int64_t total_ = 0;
  Stopwatch since_begin_;
  double last_drawn_ = -1;
};

/// Most memory this process ever held, as the system counts it.
std::int64_t peak_resident_bytes();
std::int64_t resident_bytes();

}  // namespace cuboid::app
