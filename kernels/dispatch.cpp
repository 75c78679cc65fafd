// SPDX-License-Identifier: Apache-2.0
#include "kernels/dispatch.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <map>
#include <mutex>
#include <set>
#include <string_view>

#include "core/cuda.h"

namespace cuboid::dispatch {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

std::string& forced() {
  static std::string text = environment("CUBOID_IMPL");
  return text;
}

std::atomic<bool>& deterministic_flag() {
  static std::atomic<bool> on = environment("CUBOID_DETERMINISTIC") == "1";
  return on;
}
std::atomic<bool>& tf32_flag() {
  static std::atomic<bool> on = environment("CUBOID_TF32") == "1";
  return on;
}

std::mutex guard;

struct Comparisons {
  std::map<std::pair<std::string, std::string>, Comparison> all;
  ~Comparisons() {
    for (const auto& [key, c] : all)
      std::cerr << "compare: " << c.op << " " << c.impl << ": worst relative error " << c.worst << " in " << c.calls
                << " calls\n";
  }
};
Comparisons& results() {
  static Comparisons c;
  return c;
}

}  // namespace

bool deterministic() { return deterministic_flag(); }
void set_deterministic(bool on) { deterministic_flag() = on; }
bool tf32() { return tf32_flag(); }
void set_tf32(bool on) { tf32_flag() = on; }

namespace {
/// What CUBOID_IMPL or a scope says of an op; empty where it says nothing.
std::string_view choice_for(const char* op) {
  const std::string& text = forced();
  for (std::string_view rest = text; !rest.empty();) {
    const auto comma = rest.find(',');
    const std::string_view entry = rest.substr(0, comma);
    rest = comma == rest.npos ? std::string_view() : rest.substr(comma + 1);
    const auto equals = entry.find('=');
    if (equals != entry.npos && entry.substr(0, equals) == op) return entry.substr(equals + 1);
  }
  return {};
}
}  // namespace

bool allowed(const char* op, const char* name) {
  const std::string_view choice = choice_for(op);
  return choice.empty() || choice == name;
}
bool is_forced(const char* op) { return !choice_for(op).empty(); }

Forced::Forced(const std::string& choice) : before_(forced()) { forced() = choice; }
Forced::~Forced() { forced() = before_; }

bool may_measure() {
#if CUBOID_CUDA
  return !cuda::recording_graph();
#else
  return true;
#endif
}

bool comparing() {
  static const bool on = environment("CUBOID_COMPARE") == "1";
  return on;
}
bool logging() {
  static const bool on = environment("CUBOID_LOG").find("impl") != std::string::npos;
  return on;
}

void log_choice(const char* op, const char* impl, const std::vector<View>& views) {
  std::ostringstream line;
  line << "impl: " << op << " -> " << impl;
  for (const View& v : views) line << ' ' << v.dtype << v.shape;
  static std::set<std::string> seen;
  const std::scoped_lock lock(guard);
  if (seen.insert(line.str()).second) std::cerr << line.str() << '\n';
}

Twin twin_of(const View& v) {
  std::int64_t span = 1;
  for (int i = 0; i < v.rank(); ++i) span += (v.shape[i] - 1) * v.strides[i];
  const std::int64_t bytes = span * size_of(v.dtype);
  auto storage = std::make_shared<Storage>(bytes, v.device);
#if CUBOID_CUDA
  const auto raw = [&](void* data) { return View{data, DType::u8, v.device, {bytes}, {1}}; };
  if (v.device == Device::cuda) cuda::copy(raw(v.data), Out(raw(storage->data)));
  else
#endif
    std::copy_n(v.as<char>(), bytes, static_cast<char*>(storage->data));
  return {Tensor(std::move(storage), 0, v.shape, v.strides, v.dtype), v};
}

double relative_error(const View& got, const Tensor& expected) {
  const auto a = Tensor(twin_of(got).memory).to_vector(), b = expected.to_vector();
  double worst = 0, scale = 1e-30;
  for (double v : b)
    if (std::abs(v) > scale) scale = std::abs(v);
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i] != b[i] && !(std::isnan(a[i]) && std::isnan(b[i]))) worst = worse(worst, std::abs(a[i] - b[i]) / scale);
  return worst;
}

void report_error(const char* op, const char* impl, double error) {
  const std::scoped_lock lock(guard);
  Comparison& c = results().all[{op, impl}];
  c.op = op;
  c.impl = impl;
  c.worst = worse(c.worst, error);
  ++c.calls;
}

std::vector<Comparison> comparisons() {
  const std::scoped_lock lock(guard);
  std::vector<Comparison> list;
  for (const auto& [key, c] : results().all) list.push_back(c);
  return list;
}

}  // namespace cuboid::dispatch
