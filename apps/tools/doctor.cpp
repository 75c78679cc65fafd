// SPDX-License-Identifier: Apache-2.0
// cuboid doctor: what this build and this machine can do, and with --self-test whether they compute what they should.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iomanip>
#include <iostream>
#include <sstream>
#include <thread>

#include "apps/commands.h"
#include "apps/plot.h"
#include "apps/run_folder.h"
#include "apps/text.h"
#include "core/build_info.h"
#include "core/cuda.h"
#include "core/driver.h"
#include "core/parallel.h"
#include "data/volume.h"
#include "kernels/self_test.h"
#include "kernels/vendor/versions.h"

namespace cuboid::app {
namespace {

std::vector<std::string> instruction_sets() {
  std::vector<std::string> found;
#if defined(__x86_64__)
  const std::pair<const char*, bool> known[] = {{"sse4.2", __builtin_cpu_supports("sse4.2") != 0},
                                                {"avx2", __builtin_cpu_supports("avx2") != 0},
                                                {"fma", __builtin_cpu_supports("fma") != 0},
                                                {"avx512f", __builtin_cpu_supports("avx512f") != 0},
                                                {"avx512bf16", __builtin_cpu_supports("avx512bf16") != 0}};
  for (const auto& [name, there] : known)
    if (there) found.emplace_back(name);
#endif
  return found;
}

std::string padded(std::string_view text, std::size_t width) {
  return std::string(text) + std::string(width - std::min(width, text.size()), ' ');
}

using Rows = std::vector<dispatch::Examination::Row>;

/// The CUDA device and NVIDIA's libraries, or why there is none.
Json device_manifest() {
  Json all = Json::object({{"available", cuda::available()}});
#if CUBOID_CUDA
  if (cuda::available()) {
    const cuda::DeviceInfo d = cuda::device_info();
    all["name"] = d.name;
    all["compute_capability"] = join_text(d.major, '.', d.minor);
    all["multiprocessors"] = d.multiprocessors;
    all["memory_bytes"] = d.total_bytes;
    all["free_memory_bytes"] = d.free_bytes;
  }
#endif
  if (!cuda::available()) all["problem"] = cuda::device_problem();
  Json libraries = Json::object();
  for (const auto& l : vendor_libraries()) libraries[l.name] = l.version;
  all["libraries"] = libraries;
  return all;
}

std::string device_text(const Json& device) {
  if (!device.at("available").as_bool()) return "cpu (" + device.at("problem").as_string() + ")";
  std::string text = join_text(
      device.at("name").as_string(), ", compute capability ", device.at("compute_capability").as_string(), ", ",
      bytes_text(device.at("memory_bytes").as_double()), ", ", bytes_text(device.at("free_memory_bytes").as_double()), " free");
  for (const auto& [name, version] : device.at("libraries").as_object()) text += join_text("; ", name, " ", version.as_string());
  return text;
}

Json rows_json(const Rows& rows, bool tried) {
  Json all = Json::array();
  for (const auto& r : rows) {
    Json row = Json::object({{"op", r.op}, {"row", r.name}, {"device", name_of(r.device)}});
    if (tried) {
      row["calls"] = r.calls;
      row["worst_error"] = std::isfinite(r.worst_error) ? Json(r.worst_error) : Json(nullptr);
      row["ok"] = passed(r);
      if (!r.failure.empty()) row["failure"] = r.failure;
    }
    all.push_back(row);
  }
  return all;
}

/// Op by op, the rows of each device in the order in which they are asked.
void print_tables(const Rows& rows) {
  std::cout << "op                    device  rows; the first that fits runs, or the fastest that was measured\n";
  std::vector<std::string> done;
  for (const auto& r : rows) {
    const std::string line = padded(r.op, 22) + padded(name_of(r.device), 8);
    if (std::find(done.begin(), done.end(), line) != done.end()) continue;
    done.push_back(line);
    std::cout << line;
    for (const auto& other : rows)
      if (other.op == r.op && other.device == r.device) std::cout << other.name << ' ';
    std::cout << '\n';
  }
}

void print_self_test(const Rows& rows, Device device) {
  int wrong = 0, ran = 0;
  std::cout
      << "op                    row           calls  worst error  (as a share of the largest value; against the CPU's plain "
         "loops)\n";
  for (const auto& r : rows) {
    if (r.device != device) continue;
    ran += r.calls > 0;
    wrong += !passed(r);
    std::ostringstream error;
    error << std::setprecision(1) << std::scientific << r.worst_error;
    std::cout << padded(r.op, 22) << padded(r.name, 14) << padded(std::to_string(r.calls), 7)
              << (r.calls > 0 ? padded(error.str(), 13) : padded("-", 13))
              << (!passed(r)    ? "FAILED " + r.failure
                  : r.calls > 0 ? "ok"
                                : "nothing here fits it")
              << '\n';
  }
  std::cout << ran << " rows on " << device << ", " << wrong << " FAILED\n";
}

}  // namespace

int doctor(const Arguments& arguments) {
  Common common;
  Options options("doctor", "Shows what this build and this machine can do.");
  options.other_commands(command_names());
  common.add(options);
  bool kernels = false, test = false;
  options.add("--kernels", &kernels, "the rows of every op's table that this build has, and nothing else");
  options.add("--self-test", &test,
              "run every row of every op on --device against the CPU's plain loops; ends with 1 if one fails");
  if (!parse_or_help(options, arguments)) return success;
  common.apply();
  const Device device = common.where();
  const Rows rows = test ? self_test(device) : kernels ? kernel_tables() : Rows();
  if (kernels || test) {
    const bool right = std::all_of(rows.begin(), rows.end(), passed);
    if (common.json)
      std::cout << Json::object({{"device", device_manifest()},
                                 {"tested", test ? Json(name_of(device)) : Json(nullptr)},
                                 {"rows", rows_json(rows, test)}})
                       .dump(2)
                << '\n';
    else if (test) print_self_test(rows, device);
    else print_tables(rows);
    return right ? success : runtime_error;
  }
  const Json manifest = environment_manifest(), gpu = device_manifest();
  Json features = Json::object();
  for (const auto& f : build::features)
    features[std::string(f.name)] = f.present ? (f.version.empty() ? Json(true) : Json(std::string(f.version))) : Json(false);
  const double free_bytes = static_cast<double>(sysconf(_SC_AVPHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  const bool gnuplot = plot::available();
  if (common.json) {
    Json all = manifest;
    all["features"] = features;
    all["instruction_sets"] = Json(instruction_sets());
    all["gnuplot"] = gnuplot;
    all["device"] = gpu;
    all["free_memory_bytes"] = free_bytes;
    std::cout << all.dump(2) << '\n';
    return success;
  }
  std::cout << "cuboid " << version() << ", " << build::compiler << ", " << build::type << "\n  flags      " << build::flags
            << "\n\nlibraries\n";
  for (const auto& f : build::features)
    std::cout << "  " << padded(f.name, 11) << padded(f.present ? join_text("yes ", f.version) : "no", 14) << f.purpose
              << (f.present ? "" : join_text("  (apt install ", f.package, ")")) << "\n";
  std::cout << "  " << padded("gnuplot", 11) << padded(gnuplot ? "yes" : "no", 14) << "plots in reports"
            << (gnuplot ? "" : "  (apt install gnuplot-nox)") << "\n\nreads volumes of  " << volume_formats()
            << "\n\nmachine\n  processor  " << manifest.at("host").get("processor", "") << ", "
            << std::thread::hardware_concurrency() << " processors, " << thread_count() << " threads in use\n  vectors    "
            << join(instruction_sets(), " ") << "\n  memory     "
            << bytes_text(manifest.at("host").at("memory_bytes").as_double()) << ", " << bytes_text(free_bytes)
            << " free\n  device     " << device_text(gpu) << "\n";
  for (const char* name : {"CUBOID_IMPL", "CUBOID_COMPARE", "CUBOID_LOG", "OMP_NUM_THREADS"})
    if (const char* value = std::getenv(name)) std::cout << "  " << padded(name, 16) << value << "\n";
  return success;
}

}  // namespace cuboid::app
