// SPDX-License-Identifier: Apache-2.0
// Runs the built program as a user would.
#pragma once
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <vector>

#include "tests/files.h"

namespace cuboid::test {

struct Outcome {
  int code = -1;  // exit code, or 128 + the signal that ended it
  std::string out, err;
};

/// A running `cuboid`, its output in files of `folder`.
class Program {
 public:
  Program(const std::filesystem::path& folder, std::vector<std::string> arguments, const std::string& out = "out.txt")
      : out_(folder / out), err_(folder / "err.txt") {
    arguments.insert(arguments.begin(), CUBOID_BINARY);
    std::vector<char*> argv;
    for (auto& a : arguments) argv.push_back(a.data());
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      if (chdir(folder.c_str()) != 0) _exit(99);
      setenv("OMP_WAIT_POLICY", "passive", 1);
      setenv("OMP_NUM_THREADS", "2", 1);
      redirect(out_, 1);
      redirect(err_, 2);
      execv(argv[0], argv.data());
      _exit(99);
    }
  }
  void kill(int signal) const { ::kill(pid_, signal); }
  bool running() {
    if (!ended_ && waitpid(pid_, &status_, WNOHANG) == pid_) ended_ = true;
    return !ended_;
  }
  Outcome wait() {
    if (!ended_) waitpid(pid_, &status_, 0);
    ended_ = true;
    return {WIFSIGNALED(status_) ? 128 + WTERMSIG(status_) : WEXITSTATUS(status_),
            std::filesystem::is_regular_file(out_) ? slurp(out_) : "", slurp(err_)};
  }

 private:
  static void redirect(const std::filesystem::path& path, int to) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || dup2(fd, to) < 0) _exit(98);
    ::close(fd);
  }
  std::filesystem::path out_, err_;
  pid_t pid_ = 0;
  int status_ = 0;
  bool ended_ = false;
};

inline Outcome run_program(const std::filesystem::path& folder, const std::vector<std::string>& arguments) {
  return Program(folder, arguments).wait();
}

}  // namespace cuboid::test
