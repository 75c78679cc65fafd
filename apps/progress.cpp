// SPDX-License-Identifier: Apache-2.0
#include "apps/progress.h"

#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>

#include "apps/text.h"

namespace cuboid::app {
namespace {

bool set(const char* variable) {
  const char* value = std::getenv(variable);
  return value && *value;
}

constexpr double line_every = 30;  // seconds between lines where nothing can be redrawn

int terminal_width() {
  winsize size = {};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

}  // namespace

Progress::Progress(std::string unit, Mode mode) : mode_(mode), unit_(std::move(unit)) {
  if (mode_ == Mode::automatic) mode_ = isatty(STDERR_FILENO) && !set("CI") ? Mode::terminal : Mode::lines;
  colour_ = mode_ == Mode::terminal && !set("NO_COLOR");
}

void Progress::begin(std::string title, std::int64_t total) {
  title_ = std::move(title);
  total_ = total;
  since_begin_ = {};
  last_drawn_ = -1;
}

void Progress::update(std::int64_t done, const std::string& note) {
  const double now = since_begin_.seconds();
  if (mode_ == Mode::quiet) return;
  const double since = now - std::max(last_drawn_, 0.0);
  if (mode_ == Mode::lines ? since < line_every : last_drawn_ >= 0 && since < 0.1 && done < total_) return;
  last_drawn_ = now;
  const double share = total_ > 0 ? static_cast<double>(done) / static_cast<double>(total_) : 0;
  const double rate = now > 0 ? static_cast<double>(done) / now : 0;
  const std::string left = done ? duration_text((1 - share) / share * now) : "?";
  if (mode_ == Mode::lines) {
    std::cerr << title_ + " " + std::to_string(done) + "/" + std::to_string(total_) + "  ETA " + left + "  " + note + "\n"
              << std::flush;
    return;
  }
  constexpr int cells = 16;
  const int filled = static_cast<int>(share * cells);
  std::string bar;
  for (int i = 0; i < cells; ++i) bar += i < filled ? "█" : "░";
  std::string tail = " " + std::to_string(done) + "/" + std::to_string(total_) + "  " + fixed(rate, rate < 10 ? 2 : 0) + " " +
                     unit_ + "/s  ETA " + left + "  " + note + "  " + bytes_text(static_cast<double>(resident_bytes()));
  const std::size_t room = static_cast<std::size_t>(std::max(0, terminal_width() - cells - 3 - static_cast<int>(title_.size())));
  if (tail.size() > room) tail.resize(room);
  std::cerr << "\r\033[K" << bold(title_) << " " << bar << tail << std::flush;
  drawn_ = true;
}

void Progress::say(const std::string& text) {
  if (mode_ == Mode::quiet) return;
  clear();
  std::cerr << text + "\n" << std::flush;
}

std::string Progress::bold(const std::string& text) const { return colour_ ? "\033[1m" + text + "\033[0m" : text; }

void Progress::clear() {
  if (drawn_) std::cerr << "\r\033[K" << std::flush;
  drawn_ = false;
}

std::int64_t peak_resident_bytes() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * std::int64_t{1024};
}

std::int64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::int64_t pages = 0, resident = 0;
  statm >> pages >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

}  // namespace cuboid::app
