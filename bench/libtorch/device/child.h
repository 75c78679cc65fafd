// SPDX-License-Identifier: Apache-2.0
// A side of the comparison as a process: commands in, one line out.
#pragma once
#include <sys/types.h>

#include <cstdio>
#include <string>
#include <vector>

namespace side {

class Child {
 public:
  /// Starts `command` with `environment` ("NAME=value") added to this process's own.
  Child(const std::vector<std::string>& command, const std::vector<std::string>& environment);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();  // ends the process when it still runs

  /// Sends a line and returns the answer; throws when the process has died.
  std::string ask(const std::string& line);

 private:
  pid_t id_ = 0;
  std::FILE *to_ = nullptr, *from_ = nullptr;
  std::string name_;
};

}  // namespace side
