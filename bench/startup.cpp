// SPDX-License-Identifier: Apache-2.0
// From execve to the end of a program, page cache warm: `cuboid --version`, and a prediction for one 64^3 volume.
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

namespace {

std::filesystem::path here() { return std::filesystem::read_symlink("/proc/self/exe").parent_path(); }

/// Seconds until the program has ended; negative when it failed.
double run_once(const std::vector<std::string>& command) {
  std::vector<char*> argv;
  for (const auto& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  const auto start = std::chrono::steady_clock::now();
  pid_t id = 0;
  int status = 1;
  if (posix_spawn(&id, argv[0], &actions, nullptr, argv.data(), environ) == 0) waitpid(id, &status, 0);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  posix_spawn_file_actions_destroy(&actions);
  return status == 0 ? took.count() : -1;
}

void start(benchmark::State& state, const std::vector<std::string>& command) {
  for (auto _ : state) {
    const double seconds = run_once(command);
    if (seconds < 0) return state.SkipWithError(("cannot run " + command.front()).c_str());
    state.SetIterationTime(seconds);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::filesystem::path predict = here() / "bench_predict", program = here() / ".." / "cuboid";
  const auto file = std::filesystem::temp_directory_path() / ("bench_startup." + std::to_string(getpid()) + ".safetensors");
  const auto add = [](const char* name, const std::vector<std::string>& command) {
    benchmark::RegisterBenchmark(name, [=](benchmark::State& s) { start(s, command); })
        ->Unit(benchmark::kMillisecond)
        ->UseManualTime()
        ->Iterations(25);
  };
  if (std::filesystem::exists(program)) add("startup/version", {program, "--version"});
  for (const char* net : {"densenet121_3d", "csf"}) {
    const std::string weights = file.string() + "." + net;
    run_once({predict, net, "prepare", weights});
    add((std::string("startup/predict_64/") + net).c_str(), {predict, net, "predict", weights});
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  for (const char* net : {"densenet121_3d", "csf"}) std::filesystem::remove(file.string() + "." + net);
}
