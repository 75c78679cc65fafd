// SPDX-License-Identifier: Apache-2.0
#include "bench/device/report.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <sstream>

#include "core/build_info.h"
#include "core/cuda.h"
#include "core/parallel.h"
#include "kernels/dispatch.h"
#include "kernels/vendor/versions.h"

namespace bench {
namespace {

std::string first_line_with(const char* file, std::string_view start) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(start)) return line.substr(std::min(line.size(), line.find(':') + 2));
  return "";
}

Json machine(const MeterOptions& o) {
  Json all = Json::object({{"processor", first_line_with("/proc/cpuinfo", "model name")},
                           {"threads", thread_count()},
                           {"cuboid", join_text(build::version, " ", build::revision)},
                           {"compiler", std::string(build::compiler)},
                           {"device_kind", name_of(o.device)}});
  if (o.device == Device::cuda) {
#if CUBOID_CUDA
    const cuda::DeviceInfo d = cuda::device_info();
    all["device"] = d.name;
    all["compute_capability"] = join_text(d.major, '.', d.minor);
    all["multiprocessors"] = d.multiprocessors;
    all["device_memory_bytes"] = d.total_bytes;
#endif
  }
  Json libraries = Json::object();
  for (const auto& l : vendor_libraries()) libraries[l.name] = l.version;
  all["libraries"] = libraries;
  all["tf32"] = dispatch::tf32();
  all["deterministic"] = dispatch::deterministic();
  all["rounds"] = o.rounds;
  all["round_ms"] = o.round_ms;
  all["flushed_bytes_before_each_call"] = o.flush_bytes;
  return all;
}

double limit_of(DType dtype) {
  switch (dtype) {
    case DType::bf16:
      return 1e-2;
    case DType::f16:
      return 2e-3;
    case DType::f64:
      return 1e-10;
    default:
      return dispatch::tf32() ? 2e-3 : 1e-4;
  }
}

std::string fixed(double value, int digits, int width) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(digits) << std::setw(width) << value;
  return text.str();
}

}  // namespace

double Roofs::floor(const Cost& cost, DType dtype) const {
  const auto found = flops.find(dtype);
  const double arithmetic = found != flops.end() && found->second > 0 ? cost.flops / found->second : 0;
  return 1e6 * std::max(arithmetic, bytes > 0 ? cost.bytes / bytes : 0);
}

Report::Report(const MeterOptions& options, std::string command) : context_(machine(options)) {
  context_["executable"] = std::move(command);
  context_["caches"] = Json::array();
  context_["num_cpus"] = thread_count();
  context_["library_build_type"] = std::string(build::type);
  for (const auto& [key, value] : context_.as_object())
    if (value.is_string() || key == "libraries") print(join_text(key, ": ", value.dump(), "\n"));
}

void Report::print(const std::string& text) {
  std::cout << text << std::flush;
  text_ += text;
}

void Report::note(const std::string& key, const std::string& text, Json value) {
  print(text);
  context_[key] = std::move(value);
}

void Report::set_roofs(const Roofs& roofs) {
  roofs_ = roofs;
  Json flops = Json::object();
  std::string text = "roofs:";
  for (const auto& [dtype, rate] : roofs.flops) {
    flops[name_of(dtype)] = rate;
    text += join_text(" ", name_of(dtype), " ", fixed(rate * 1e-12, 1, 0), " TFLOP/s,");
  }
  note("roofs", join_text(text, " copy ", fixed(roofs.bytes * 1e-9, 0, 0), " GB/s\n\n"),
       Json::object({{"flops_per_second", flops}, {"bytes_per_second", roofs.bytes}}));
}

void Report::add(const std::string& op, const std::string& shape, DType dtype, const Cost& cost,
                 const std::vector<Timing>& timings, double limit) {
  if (limit == 0) limit = limit_of(dtype);
  const double floor = roofs_.floor(cost, dtype);
  const auto of_type = roofs_.flops.find(dtype), of_bf16 = roofs_.flops.find(DType::bf16);
  print(join_text(op, " ", name_of(dtype), " ", shape, ": ", cost.flops * 1e-9, " GFLOP, ", cost.bytes * 0x1p-20, " MiB, floor ",
                  fixed(floor, 1, 0), " us\n"));
  for (const Timing& t : timings) {
    const double us = t.median(), rate = cost.flops / us * 1e6, traffic = cost.bytes / us * 1e6;
    Json row = Json::object({{"name", join_text(op, "/", t.name, "/", name_of(dtype), "/", shape)},
                             {"run_name", join_text(op, "/", t.name, "/", name_of(dtype), "/", shape)},
                             {"run_type", "iteration"},
                             {"iterations", t.us.size()},
                             {"real_time", us},
                             {"cpu_time", us},
                             {"time_unit", "us"},
                             {"min_us", t.least()},
                             {"iqr_us", t.spread()},
                             {"once", t.once},
                             {"row", t.name},
                             {"floor_us", floor},
                             {"of_roof", floor / us}});
    std::string line =
        join_text("  ", t.name, std::string(t.name.size() < 12 ? 12 - t.name.size() : 1, ' '), fixed(us, 1, 10), " us");
    if (cost.flops > 0) {
      row["FLOPS"] = rate;
      line += join_text(fixed(rate * 1e-12, 2, 9), " TFLOP/s");
      if (of_type != roofs_.flops.end()) {
        row["of_peak"] = rate / of_type->second;
        line += join_text(" (", fixed(rate / of_type->second, 3, 0), " of peak)");
      }
      if (of_bf16 != roofs_.flops.end()) row["of_bf16_peak"] = rate / of_bf16->second;
    }
    row["bytes_per_second"] = traffic;
    if (roofs_.bytes > 0) {
      row["of_stream"] = traffic / roofs_.bytes;
      line += join_text(fixed(traffic * 1e-9, 0, 8), " GB/s (", fixed(traffic / roofs_.bytes, 3, 0), " of copy)");
    }
    line += join_text("  ", fixed(floor / us, 3, 0), " of roof");
    if (t.error) {
      if (std::isfinite(*t.error)) row["error"] = *t.error;
      std::ostringstream error;
      error << std::setprecision(1) << std::scientific << *t.error;
      line += "  error " + error.str();
      if (!(*t.error <= limit)) {
        wrong_.push_back(row.at("name").as_string());
        row["wrong"] = true;
        line += "  WRONG";
      }
    }
    print(line + (t.once ? "  (one call)\n" : "\n"));
    benchmarks_.push_back(std::move(row));
  }
}

void Report::write(const std::string& folder, const std::string& name) const {
  if (folder.empty()) return;
  std::filesystem::create_directories(folder);
  Json context = context_;
  context["wrong"] = Json(wrong_);
  std::ofstream(folder + "/" + name + ".json")
      << Json::object({{"context", context}, {"benchmarks", benchmarks_}}).dump(1) << '\n';
  std::ofstream(folder + "/" + name + ".txt") << text_;
}

}  // namespace bench
