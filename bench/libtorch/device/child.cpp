// SPDX-License-Identifier: Apache-2.0
#include "bench/libtorch/device/child.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/error.h"

namespace side {

Child::Child(const std::vector<std::string>& command, const std::vector<std::string>& environment) : name_(command.front()) {
  int in[2], out[2];
  cuboid::check(pipe(in) == 0 && pipe(out) == 0, "bench: no pipe for ", name_);
  std::vector<std::string> arguments = command, variables = environment;
  std::vector<char*> argv, envp;
  for (auto& a : arguments) argv.push_back(a.data());
  argv.push_back(nullptr);
  for (auto& v : variables) envp.push_back(v.data());
  for (char** v = environ; *v; ++v) envp.push_back(*v);
  envp.push_back(nullptr);
  id_ = fork();
  cuboid::check(id_ >= 0, "bench: cannot start ", name_);
  if (id_ == 0) {
    dup2(in[0], STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    for (const int end : {in[0], in[1], out[0], out[1]}) close(end);
    execve(argv[0], argv.data(), envp.data());
    _exit(127);
  }
  close(in[0]);
  close(out[1]);
  to_ = fdopen(in[1], "w");
  from_ = fdopen(out[0], "r");
}

Child::~Child() {
  if (to_) std::fclose(to_);
  if (from_) std::fclose(from_);
  if (id_ > 0) {
    kill(id_, SIGTERM);
    waitpid(id_, nullptr, 0);
  }
}

std::string Child::ask(const std::string& line) {
  std::fputs((line + "\n").c_str(), to_);
  std::fflush(to_);
  std::string answer;
  for (int c; (c = std::fgetc(from_)) != EOF;) {
    if (c == '\n') return answer;
    answer.push_back(static_cast<char>(c));
  }
  cuboid::fail("bench: ", name_, " died at '", line, "'");
}

}  // namespace side
