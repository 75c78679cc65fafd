// SPDX-License-Identifier: Apache-2.0
#include "kernels/autotune.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <limits>
#include <sstream>

#include "core/build_info.h"
#include "core/cuda.h"
#include "core/files.h"
#include "core/json.h"
#include "kernels/dispatch.h"
#if CUBOID_CUDNN
#include "kernels/vendor/cudnn.h"
#endif
#if CUBOID_CUBLAS
#include "kernels/conv/cublas.h"
#endif

namespace cuboid {
namespace fs = std::filesystem;

// ---- what is remembered ------------------------------------------------------------------------

Autotuner::Autotuner(std::string machine, Meter meter, std::string file)
    : machine_(std::move(machine)), meter_(std::move(meter)), file_(std::move(file)) {
  by_problem_ = read(true)[machine_];
}

/// machine -> problem -> row. A file that cannot be understood is no file.
std::map<std::string, Autotuner::Choices> Autotuner::read(bool complain) const {
  std::error_code error;
  if (file_.empty() || !fs::exists(file_, error)) return {};
  try {
    std::map<std::string, Choices> all;
    const Json content = Json::parse(read_file(file_), file_);
    for (const auto& [machine, problems] : content.at("machines").as_object())
      for (const auto& [problem, row] : problems.as_object()) all[machine][problem] = row.as_string();
    return all;
  } catch (const Error& e) {
    if (complain) std::cerr << "note: what was measured before is not used: " << e.what() << '\n';
    return {};
  }
}

/// Together with what other processes wrote meanwhile.
void Autotuner::save() const {
  if (file_.empty()) return;
  try {
    auto all = read(false);
    for (const auto& [problem, row] : by_problem_) all[machine_][problem] = row;
    Json machines = Json::object();
    for (const auto& [machine, choices] : all) {
      Json problems = Json::object();
      for (const auto& [problem, row] : choices) problems.as_object().emplace_back(problem, row);
      machines.as_object().emplace_back(machine, std::move(problems));
    }
    if (const fs::path folder = fs::path(file_).parent_path(); !folder.empty()) fs::create_directories(folder);
    atomic_write(file_, Json::object({{"machines", machines}}).dump(1) + "\n");
  } catch (const std::exception& e) {  // a read-only home costs the measurements of the next run, no more
    static bool said = false;
    if (!std::exchange(said, true)) std::cerr << "note: what was measured is not remembered: " << e.what() << '\n';
  }
}

// ---- measuring ---------------------------------------------------------------------------------

std::optional<std::string> Autotuner::known(std::uint64_t hash) const {
  const std::scoped_lock lock(guard_);
  const auto found = by_hash_.find(hash);
  if (found == by_hash_.end()) return {};
  return found->second;
}

std::string Autotuner::choose(std::uint64_t hash, const std::string& problem, const std::vector<Candidate>& candidates,
                              double tolerance) {
  const std::scoped_lock lock(guard_);
  if (const auto found = by_problem_.find(problem); found != by_problem_.end())
    if (found->second == none ||
        std::any_of(candidates.begin(), candidates.end(), [&](const Candidate& c) { return found->second == c.name; }))
      return by_hash_[hash] = found->second;
  const auto leave_out = [&](const char* row, const auto&... why) {
    std::cerr << join_text("note: ", problem, ": row '", row, "' ", why..., "; it is left out\n");
  };
  std::vector<std::pair<double, const Candidate*>> times;
  for (const Candidate& c : candidates) {
    try {
      c.run();  // what is made at first use is not measured
      double best = std::numeric_limits<double>::infinity();
      for (int i = 0; i < 3; ++i) {
        best = std::min(best, meter_(c.run));
        if (!times.empty() && best > 3 * times.front().first) break;
      }
      times.emplace_back(best, &c);
      std::stable_sort(times.begin(), times.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    } catch (const Error& e) {
      leave_out(c.name, "fails: ", e.what());
    }
  }
  std::string winner = none;
  for (const auto& [ms, candidate] : times) {
    const double error = candidate->error();
    if (error <= tolerance) {
      winner = candidate->name;
      break;
    }
    leave_out(candidate->name, "is wrong by ", error);
  }
  if (dispatch::logging()) {
    std::ostringstream line;
    line << "tune: " << problem << ':';
    for (const auto& [ms, candidate] : times) line << ' ' << candidate->name << ' ' << ms << " ms,";
    std::cerr << line.str() << " -> " << (winner == none ? "reference" : winner) << '\n';
  }
  by_problem_[problem] = winner;
  by_hash_[hash] = winner;
  save();
  return winner;
}

// ---- of the device -----------------------------------------------------------------------------

namespace {

#if CUBOID_CUDA
std::string cache_file() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return fs::path(value ? value : "");
  };
  if (const auto file = variable("CUBOID_TUNE_CACHE"); !file.empty()) return file;
  if (const auto folder = variable("XDG_CACHE_HOME"); !folder.empty()) return folder / "cuboid" / "rows.json";
  if (const auto home = variable("HOME"); !home.empty()) return home / ".cache" / "cuboid" / "rows.json";
  return {};
}

std::string describe_machine() {
  const cuda::DeviceInfo info = cuda::device_info();
  std::string text = join_text(info.name, ", compute capability ", info.major, '.', info.minor, ", ", info.multiprocessors,
                               " multiprocessors, driver ", info.driver_version);
#if CUBOID_CUDNN
  text += ", cuDNN " + cudnn::text_of_version(cudnn::version());
#endif
#if CUBOID_CUBLAS
  text += join_text(", cuBLASLt ", cublas::version());
#endif
  return text + join_text(", Cuboid ", build::version, ' ', build::revision);
}

double device_milliseconds(const std::function<void()>& work) {
  cuda::Event start(true), end(true);
  start.record();
  work();
  end.record();
  end.synchronize();
  return end.ms_since(start);
}
#endif

Autotuner* installed = nullptr;
Device installed_for = Device::cpu;

}  // namespace

Autotuner& Autotuner::of_device() {
#if CUBOID_CUDA
  static auto* tuner = new Autotuner(describe_machine(), device_milliseconds, cache_file());
  return *tuner;
#else
  fail<DeviceError>("autotune: this build has no CUDA support");
#endif
}

bool autotuning(Device device) {
  if (dispatch::deterministic()) return false;
  if (installed) return device == installed_for;
#if CUBOID_CUDA && !CUBOID_EMULATED
  static const bool on = [] {
    const char* value = std::getenv("CUBOID_AUTOTUNE");
    return !value || std::string(value) != "0";
  }();
  return on && device == Device::cuda;
#else
  return false;
#endif
}

WithAutotuner::WithAutotuner(Device device, Autotuner& tuner) {
  installed = &tuner;
  installed_for = device;
}
WithAutotuner::~WithAutotuner() { installed = nullptr; }
Autotuner& autotuner() { return installed ? *installed : Autotuner::of_device(); }

std::string text_of_problem(const char* op, const std::vector<View>& views, const std::string& options) {
  std::ostringstream text;
  text << op;
  for (const View& v : views) {
    text << ' ' << v.dtype << v.shape;
    if (!v.is(Layout::contiguous)) text << (v.is(Layout::channels_last) ? "cl" : join_text(v.strides));
  }
  text << options;
  return text.str();
}

double judging_tolerance(DType dtype, bool tf32) {
  switch (dtype) {
    case DType::f64:
      return 1e-9;
    case DType::f32:
      return tf32 ? 1e-2 : 1e-3;
    case DType::f16:
      return 1e-2;
    case DType::bf16:
      return 5e-2;
    default:
      return 0;
  }
}

}  // namespace cuboid
