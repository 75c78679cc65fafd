// SPDX-License-Identifier: Apache-2.0
// Tests of several processes: this very test program is started once per rank, with torchrun's variables, and runs a worker.
//
//   WORKER(adds) { Group group(launch_of_environment()); ... EXPECT_...; }
//   TEST(Group, Adds) { Ranks ranks(3, "adds"); EXPECT_TRUE(ranks.all_well()); }
#pragma once
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

extern char** environ;

namespace cuboid::test {

using Variables = std::map<std::string, std::string>;

inline std::map<std::string, void (*)()>& workers() {
  static std::map<std::string, void (*)()> all;
  return all;
}
#define WORKER(name)                                                                            \
  static void worker_##name();                                                                  \
  static const bool registered_##name = (cuboid::test::workers()[#name] = worker_##name, true); \
  static void worker_##name()

/// A port of the loopback that was free just now.
inline int free_port() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof a;
  if (::bind(fd, reinterpret_cast<sockaddr*>(&a), length) != 0) ADD_FAILURE() << "no free port";
  getsockname(fd, reinterpret_cast<sockaddr*>(&a), &length);
  ::close(fd);
  return ntohs(a.sin_port);
}

/// One process; its output goes to a file. An empty value takes a variable away.
class Process {
 public:
  Process(const std::vector<std::string>& command, const Variables& variables, const std::filesystem::path& output)
      : output_(output) {
    Variables all;
    for (char** e = environ; *e; ++e) {
      const std::string entry = *e;
      all[entry.substr(0, entry.find('='))] = entry.substr(entry.find('=') + 1);
    }
    for (const auto& [name, value] : variables) all[name] = value;
    std::vector<std::string> environment;
    for (const auto& [name, value] : all)
      if (!value.empty()) environment.push_back(name + "=" + value);
    const auto pointers = [](const std::vector<std::string>& texts) {
      std::vector<char*> p;
      for (const auto& t : texts) p.push_back(const_cast<char*>(t.c_str()));
      p.push_back(nullptr);
      return p;
    };
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    posix_spawn_file_actions_adddup2(&files, 1, 2);
    const int status =
        posix_spawnp(&pid_, command[0].c_str(), &files, nullptr, pointers(command).data(), pointers(environment).data());
    posix_spawn_file_actions_destroy(&files);
    if (status != 0) ADD_FAILURE() << command[0] << ": " << std::strerror(status);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() {
    if (pid_ <= 0 || ended_) return;
    ::kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }
  void send(int signal) const { ::kill(pid_, signal); }
  /// The exit code (128 + signal when one ended it), or -1 when it still runs after so many seconds.
  int wait(double seconds) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    while (!ended_) {
      int status = 0;
      if (waitpid(pid_, &status, WNOHANG) == pid_) {
        ended_ = true;
        code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      } else if (std::chrono::steady_clock::now() > end) {
        return -1;
      } else {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
    }
    return code_;
  }
  std::string output() const {
    std::ostringstream text;
    text << std::ifstream(output_).rdbuf();
    return text.str();
  }

 private:
  std::filesystem::path output_;
  pid_t pid_ = -1;
  bool ended_ = false;
  int code_ = -1;
};

/// A folder that goes away.
struct Folder {
  std::filesystem::path path;
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "cuboid-ranks-XXXXXX").string();
    path = mkdtemp(name.data());
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

inline const std::filesystem::path& self() {
  static const auto path = std::filesystem::read_symlink("/proc/self/exe");
  return path;
}
inline std::vector<std::string> worker_command() { return {self().string(), "--gtest_filter=Worker.Runs"}; }

/// The variables a launcher gives rank `rank`.
inline Variables launch_variables(int rank, int size, int port) {
  return {{"RANK", std::to_string(rank)}, {"WORLD_SIZE", std::to_string(size)},  {"LOCAL_RANK", std::to_string(rank)},
          {"MASTER_ADDR", "127.0.0.1"},   {"MASTER_PORT", std::to_string(port)}, {"CUBOID_JOIN_SECONDS", "60"},
          {"OMP_NUM_THREADS", "1"}};
}

inline bool mpirun_there() {
  const Folder folder;
  return Process({"sh", "-c", "command -v mpirun"}, {}, folder.path / "out").wait(10) == 0;
}
inline std::vector<std::string> under_mpirun(int ranks, const std::vector<std::string>& command) {
  std::vector<std::string> all = {"mpirun", "--allow-run-as-root", "--oversubscribe", "-n", std::to_string(ranks)};
  all.insert(all.end(), command.begin(), command.end());
  return all;
}

class Ranks {
 public:
  Ranks(int size, const std::string& worker, const Variables& more = {}) {
    const int port = free_port();
    for (int r = 0; r < size; ++r) {
      Variables v = launch_variables(r, size, port);
      v["CUBOID_WORKER"] = worker;
      v["CUBOID_FOLDER"] = folder_.path.string();
      for (const auto& [name, value] : more) v[name] = value;
      processes_.push_back(std::make_unique<Process>(worker_command(), v, folder_.path / ("out" + std::to_string(r))));
    }
  }
  Process& operator[](int rank) { return *processes_[static_cast<std::size_t>(rank)]; }
  const std::filesystem::path& folder() const { return folder_.path; }
  /// Waits until this file is in the folder: a worker has come so far.
  bool reached(const std::string& file, double seconds = 60) const {
    for (double waited = 0; waited < seconds; waited += 0.005) {
      if (std::filesystem::exists(folder_.path / file)) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }
  ::testing::AssertionResult all_well(double seconds = 120) {
    for (std::size_t r = 0; r < processes_.size(); ++r)
      if (const int code = processes_[r]->wait(seconds); code != 0)
        return ::testing::AssertionFailure() << "rank " << r << " ends with " << code << ":\n" << processes_[r]->output();
    return ::testing::AssertionSuccess();
  }

 private:
  Folder folder_;
  std::vector<std::unique_ptr<Process>> processes_;
};

/// In a worker: leaves a file behind.
inline void mark(const std::string& file) { std::ofstream(std::filesystem::path(std::getenv("CUBOID_FOLDER")) / file) << '\n'; }

/// To stand once in each test program with workers.
#define RUN_WORKERS()                                                                        \
  TEST(Worker, Runs) {                                                                       \
    if (const char* name = std::getenv("CUBOID_WORKER")) cuboid::test::workers().at(name)(); \
  }

}  // namespace cuboid::test
