// SPDX-License-Identifier: Apache-2.0
// A side of the comparison as a process: commands in, one line out. It does not see Ctrl-C, and ends with its parent.
#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

namespace cuboid::bench {

using Words = std::vector<std::string>;

class Child {
 public:
  /// Starts `command` with `environment` ("NAME=value") added to this process's own, in place of variables of the same name.
  Child(const Words& command, const Words& environment);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();  // ends the process when it still runs

  /// Sends a line and returns the answer. Throws app::Interrupted on Ctrl-C, Error when the process has died.
  std::string ask(const std::string& line);
  /// The next line it writes.
  std::string line(const std::string& question = "start");

 private:
  pid_t id_ = 0;
  int to_ = -1, from_ = -1;
  std::string name_, rest_;
};

/// What a command writes to stdout; throws Error when it fails.
std::string output_of(const Words& command, const Words& environment = {});

}  // namespace cuboid::bench
