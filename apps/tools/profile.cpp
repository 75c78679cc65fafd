// SPDX-License-Identifier: Apache-2.0
// cuboid profile -- COMMAND: runs another command in this process with the profiler on, and writes what it saw also when the
// command fails or is interrupted.
#include "apps/profile.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <iostream>
#include <sstream>
#include <thread>

#include "apps/commands.h"
#include "apps/run_folder.h"
#include "apps/text.h"

namespace cuboid::app {
namespace {

/// A command that does not look at signals would go on; this ends it, and before_sudden_end() has the profile written.
class SignalWatch {
 public:
  SignalWatch()
      : watcher_([this] {
          while (!done_) {
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
            if (!stop_signal() || catches_signals() || done_) continue;
            std::cerr << "interrupted\n";
            end_suddenly(interrupted);
          }
        }) {}
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;
  ~SignalWatch() {
    done_ = true;
    watcher_.join();
  }

 private:
  std::atomic<bool> done_ = false;
  std::thread watcher_;
};

void write(const Profile& profile, const RunFolder& folder) {
  folder.write("ops.json", profile.to_json());
  folder.write("ops.csv", profile.csv());
  folder.write("memory.json", profile.memory_json());
  std::ostringstream trace;
  profiler::write_trace(trace);
  folder.write("trace.json", trace.str());
  folder.write("profile.html", profile.page());
  if (!plot::available()) return;
  for (const auto& [device, r] : profile.roofs)
    folder.write(std::string("roofline-") + name_of(device) + ".svg", plot::standalone_svg(profile.roofline(device)));
  for (const auto& [device, m] : profile.memory)
    folder.write(std::string("memory-") + name_of(device) + ".svg", plot::standalone_svg(profile.timeline(device)));
}

}  // namespace

int profile(const Arguments& arguments) {
  const auto dashes = std::find(arguments.begin(), arguments.end(), "--");
  std::string out = "profile";
  std::int64_t rows = 25;
  bool json = false, overwrite = false, quiet = false;
  Options options("profile", "Runs another command and shows where its time and memory went, op by op.");
  options.other_commands(command_names());
  options.example("cuboid profile -- csf train -d cells/ --epochs 1", "files in profile/, a table on the terminal");
  options.example("cuboid profile -o what/ -- csf predict run/ cell.npy", "any command, after the two dashes");
  options.add("-o,--out", &out, "folder for ops.json, ops.csv, trace.json, memory.json, profile.html and pictures");
  options.add("--overwrite", &overwrite, "write into a folder that holds something else").not_saved();
  options.add("--rows", &rows, "lines per table on the terminal").at_least(1);
  options.add("--json", &json, "ops.json on standard output instead of the tables").not_saved();
  options.add("--quiet,-q", &quiet, "no tables").not_saved();
  if (!parse_or_help(options, {arguments.begin(), dashes})) return success;
  const char* hint = "for example: cuboid profile -- csf train -d cells/ --epochs 1";
  check<UsageError>(dashes != arguments.end() && dashes + 1 != arguments.end(),
                    with_hint("profile: no command after '--'", hint));
  const Arguments command(dashes + 1, arguments.end());
  check<UsageError>(command.front() != "profile", with_hint("profile: cannot profile itself", hint));

  // An earlier profile is nobody's work: it may be replaced.
  const bool replace = overwrite || std::filesystem::exists(std::filesystem::path(out) / ".profile");
  const RunFolder folder = RunFolder::at(out, replace);
  folder.write(".profile", std::string("made by cuboid profile, which replaces these files\n"));
  const std::string line = "cuboid " + command_line(command);
  hear_signals();
  before_sudden_end([&] { write(Profile::take(line, "interrupted", false), folder); });

  int code = success;
  std::exception_ptr error;
  std::string end = "finished";
  profiler::clear();
  profiler::watch_memory(true);
  profiler::enable(true);
  try {
    const SignalWatch watch;
    code = run_command(command, commands());
    if (code != success) end = "exit code " + std::to_string(code);
  } catch (const Interrupted&) {
    error = std::current_exception();
    end = "interrupted";
  } catch (const std::exception& e) {
    error = std::current_exception();
    end = std::string("failed: ") + split(e.what(), '\n').front();
  }
  before_sudden_end(nullptr);
  const Profile seen = Profile::take(line, end, true);
  write(seen, folder);
  if (json) std::cout << seen.to_json().dump(2) << '\n';
  else if (!quiet)
    std::cout << '\n' << seen.text(static_cast<std::size_t>(rows)) << "\nfiles in " << folder.path().string() << '\n';
  if (error) std::rethrow_exception(error);
  return code;
}

}  // namespace cuboid::app
