// SPDX-License-Identifier: Apache-2.0
#include "apps/bench/child.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "apps/app.h"

namespace cuboid::bench {
namespace {

struct Started {
  pid_t id;
  int to, from;
};

Started start(const Words& command, const Words& environment) {
  int in[2], out[2];
  check(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0, "bench: no pipe for ", command.front());
  Words arguments = command, variables = environment;
  for (char** v = environ; *v; ++v) {
    const std::string word = *v, name = word.substr(0, word.find('=') + 1);
    if (std::none_of(environment.begin(), environment.end(), [&](const std::string& e) { return e.starts_with(name); }))
      variables.push_back(word);
  }
  std::vector<char*> argv, envp;
  for (auto& a : arguments) argv.push_back(a.data());
  for (auto& v : variables) envp.push_back(v.data());
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  const pid_t id = fork();
  check(id >= 0, "bench: cannot start ", command.front());
  if (id == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_DFL);
    dup2(in[0], STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    execvpe(argv[0], argv.data(), envp.data());
    _exit(127);
  }
  close(in[0]);
  close(out[1]);
  return {id, in[1], out[0]};
}

}  // namespace

Child::Child(const Words& command, const Words& environment) : name_(std::filesystem::path(command.front()).filename().string()) {
  const Started s = start(command, environment);
  id_ = s.id;
  to_ = s.to;
  from_ = s.from;
}

Child::~Child() {
  close(to_);
  close(from_);
  kill(id_, SIGKILL);
  while (waitpid(id_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

std::string Child::ask(const std::string& question) {
  const std::string text = question + "\n";
  struct sigaction ignore = {}, before = {};
  ignore.sa_handler = SIG_IGN;  // a side that has died is an error here, not the end of this program
  sigaction(SIGPIPE, &ignore, &before);
  const bool sent = write(to_, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  sigaction(SIGPIPE, &before, nullptr);
  check(sent, "bench: ", name_, " died before '", question, "'");
  return line(question);
}

std::string Child::line(const std::string& question) {
  for (;;) {
    if (const auto end = rest_.find('\n'); end != rest_.npos) {
      const std::string answer = rest_.substr(0, end);
      rest_.erase(0, end + 1);
      return answer;
    }
    char buffer[4096];
    const ssize_t got = read(from_, buffer, sizeof buffer);
    if (app::stop_signal()) fail<app::Interrupted>("interrupted");
    if (got < 0 && errno == EINTR) continue;
    check(got > 0, "bench: ", name_, " died at '", question, "'");
    rest_.append(buffer, static_cast<std::size_t>(got));
  }
}

std::string output_of(const Words& command, const Words& environment) {
  const Started s = start(command, environment);
  close(s.to);
  std::string text;
  char buffer[4096];
  for (ssize_t got; (got = read(s.from, buffer, sizeof buffer)) != 0;) {
    if (got > 0) text.append(buffer, static_cast<std::size_t>(got));
    else if (errno != EINTR) break;
  }
  close(s.from);
  int status = 0;
  while (waitpid(s.id, &status, 0) < 0 && errno == EINTR) {
  }
  check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "bench: ", command.front(), " failed");
  return text;
}

}  // namespace cuboid::bench
