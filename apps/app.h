// SPDX-License-Identifier: Apache-2.0
// What every command shares: common options, exit codes, error lines, signals.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "apps/options.h"
#include "core/device.h"
#include "core/error.h"

namespace cuboid::app {

enum ExitCode : int {
  success = 0,
  runtime_error = 1,
  usage_error = 2,
  bad_data = 3,
  out_of_memory = 4,
  device_error = 5,
  interrupted = 130
};

/// Ctrl-C or SIGTERM arrived and what had to be saved is saved.
struct Interrupted : Error {
  using Error::Error;
};

/// "what, where, why" plus a line that says what to do: shown as "  hint: ...".
std::string with_hint(const std::string& message, const std::string& hint);

/// Options of every command. Call add() last, so that they stand at the end of --help.
struct Common {
  bool json = false, dry_run = false, quiet = false, deterministic = false;
  std::int64_t threads = 0, seed = 42;
  std::string device = "auto", config;

  void add(Options& options);
  /// Applies --threads and --deterministic, checks --device. Throws DeviceError for a device this build or this machine does not
  /// have.
  void apply() const;
  /// What --device comes to: auto is the GPU where there is one.
  Device where() const;
};

using Arguments = std::vector<std::string>;

/// One command of the binary: `path` as typed, `run` returns an exit code.
struct Command {
  const char* path;
  const char* purpose;
  int (*run)(const Arguments& arguments);
};

/// Chooses the command, runs it, turns exceptions into one line on stderr and an exit code.
int run_main(int argc, char** argv, const std::vector<Command>& commands);

/// One command of the table, in this process; its exceptions pass through.
int run_command(const Arguments& arguments, const std::vector<Command>& commands);

/// Parses; prints --help to stdout. False when the command has nothing more to do.
bool parse_or_help(Options& options, const std::vector<std::string>& arguments);

/// The command line of this process, quoted for a shell; or of other words.
std::string command_line();
std::string command_line(const Arguments& words);

// ---- signals ------------------------------------------------------------------------------------
/// From now on SIGINT and SIGTERM only set a flag; a second one ends the process at once.
void catch_signals();
/// 0, or the signal that asked this process to stop.
int stop_signal();
/// The same, on behalf of a command that may not look at stop_signal(); catches_signals() tells whether it has said that it does.
void hear_signals();
bool catches_signals();
/// Ends the process in the middle of a command, after what before_sudden_end() asked for.
[[noreturn]] void end_suddenly(int code);
void before_sudden_end(std::function<void()> last_words);
/// For tests: what a signal handler would do; 0 clears.
void request_stop(int signal);

// ---- version --------------------------------------------------------------------------------------
std::string version();

}  // namespace cuboid::app
