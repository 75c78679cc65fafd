// SPDX-License-Identifier: Apache-2.0
// cuboid doctor: what this build and this machine can do.
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <thread>

#include "apps/commands.h"
#include "apps/plot.h"
#include "apps/run_folder.h"
#include "apps/text.h"
#include "core/build_info.h"
#include "core/parallel.h"
#include "data/volume.h"

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

}  // namespace

int doctor(const Arguments& arguments) {
  Common common;
  Options options("doctor", "Shows what this build and this machine can do.");
  options.other_commands(command_names());
  common.add(options);
  if (!parse_or_help(options, arguments)) return success;
  common.apply();
  const Json manifest = environment_manifest();
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
            << " free\n  device     cpu (this build has no CUDA support)\n";
  for (const char* name : {"CUBOID_IMPL", "CUBOID_COMPARE", "CUBOID_LOG", "OMP_NUM_THREADS"})
    if (const char* value = std::getenv(name)) std::cout << "  " << padded(name, 16) << value << "\n";
  return success;
}

}  // namespace cuboid::app
