// SPDX-License-Identifier: Apache-2.0
// One visible table of implementations per op. The first row that fits wins; the last row of a device is its
// reference. run() is the one place where kernels are chosen, timed, traced and compared.
//
//   CUBOID_IMPL="conv=reference,pool=reference"   force a row by name
//   CUBOID_COMPARE=1                              run the reference beside each row, report the worst error per op
//   CUBOID_LOG=impl                               print what was chosen for each new op and shape
#pragma once
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "core/profiler.h"
#include "core/tensor.h"

namespace cuboid {

/// A row. Fn is void(const View&..., const Out&..., options...); `fits` sees the same arguments.
template <class Fn>
struct Impl;
template <class... A>
struct Impl<void(A...)> {
  const char* name;
  Device device;
  bool (*fits)(A...);
  void (*run)(A...);
};

/// A row may take lists as well: const Views&, const Outs& (the optimisers' steps over all parameters).
using Views = std::vector<View>;
using Outs = std::vector<Out>;

/// For `fits`: every case.
template <class... A>
bool always(A...) {
  return true;
}

/// The op's name and, where it is worth counting, its floating point operations.
struct Work {
  const char* op;
  double flops = 0;
};

namespace dispatch {

/// True when only rows may run that give the same bits every time: CUBOID_DETERMINISTIC=1, or asked for. All of our own do;
/// NVIDIA's libraries have some that do not.
bool deterministic();
void set_deterministic(bool on);
/// True when products of f32 may be rounded to TF32 (10 bits of fraction) on a device's tensor cores: CUBOID_TF32=1, or asked
/// for.
bool tf32();
void set_tf32(bool on);

/// True when row `name` may run for `op` under CUBOID_IMPL or a Forced scope.
bool allowed(const char* op, const char* name);
bool comparing();
bool logging();
void log_choice(const char* op, const char* impl, const std::vector<View>& views);
void report_error(const char* op, const char* impl, const View& got, const Tensor& expected);

/// Worst error seen by CUBOID_COMPARE or a Comparing scope: max |a-b| / max |b|.
struct Comparison {
  std::string op, impl;
  double worst = 0;
  std::int64_t calls = 0;
};
std::vector<Comparison> comparisons();

/// Scope guards, for tests and benches. The text is that of CUBOID_IMPL.
class Forced {
 public:
  explicit Forced(const std::string& choice);
  Forced(const Forced&) = delete;
  Forced& operator=(const Forced&) = delete;
  ~Forced();

 private:
  std::string before_;
};

template <class T>
inline constexpr bool is_view = std::is_base_of_v<View, std::remove_cvref_t<T>>;
template <class T>
inline constexpr bool is_out = std::is_same_v<Out, std::remove_cvref_t<T>>;

template <class... A>
std::vector<View> views_of(const A&... args) {
  std::vector<View> views;
  const auto take = [&](const auto& a) {
    using T = std::remove_cvref_t<decltype(a)>;
    if constexpr (is_view<T>) {
      if (a.data) views.push_back(a);
    } else if constexpr (std::is_same_v<T, Views> || std::is_same_v<T, Outs>) {
      views.insert(views.end(), a.begin(), a.end());
    }
  };
  (take(args), ...);
  return views;
}

/// A stand-in for an output: fresh memory of the same shape and strides, holding the same content.
struct Twin {
  Tensor memory;
  View original;
};
Twin twin_of(const View& v);

}  // namespace dispatch

template <class... A, class... Args>
void run(Work work, std::span<const Impl<void(A...)>> rows, const Args&... args) {
  const std::vector<View> views = dispatch::views_of(args...);
  check(!views.empty(), work.op, ": no tensors");
  const Device device = views.front().device;
  for (const View& v : views) check(v.device == device, work.op, ": tensors on ", device, " and ", v.device);
  const Impl<void(A...)>*chosen = nullptr, *reference = nullptr;
  for (const auto& row : rows) {
    if (row.device != device) continue;
    reference = &row;
    if (!chosen && dispatch::allowed(work.op, row.name) && row.fits(args...)) chosen = &row;
  }
  check(chosen != nullptr, work.op, ": no implementation on ", device, " fits ", views.front().dtype, views.front().shape);
  if (dispatch::logging()) dispatch::log_choice(work.op, chosen->name, views);

  if (dispatch::comparing() && chosen != reference && reference->fits(args...)) {
    std::vector<dispatch::Twin> twins;
    const auto twin = [&]<class T>(const T& a) -> T {
      if constexpr (dispatch::is_out<T>) {
        if (!a.data) return a;
        twins.push_back(dispatch::twin_of(a));
        return Out(twins.back().memory.view());
      } else if constexpr (std::is_same_v<T, Outs>) {
        Outs copies;
        for (const Out& o : a) {
          twins.push_back(dispatch::twin_of(o));
          copies.emplace_back(twins.back().memory.view());
        }
        return copies;
      } else {
        return a;
      }
    };
    std::tuple<Args...> substitutes{twin(args)...};
    std::apply([&](const auto&... a) { reference->run(a...); }, substitutes);
    chosen->run(args...);
    for (const auto& t : twins) dispatch::report_error(work.op, chosen->name, t.original, t.memory);
    return;
  }
  if (!profiler::enabled()) {
    chosen->run(args...);
    return;
  }
  double bytes = 0;
  for (const View& v : views) bytes += static_cast<double>(v.bytes());
  const double start = profiler::now_us();
  chosen->run(args...);
  profiler::add({work.op, chosen->name, start, profiler::now_us() - start, work.flops, bytes});
}

/// For tables written as arrays: run({"conv", flops}, rows, x, w, Out(y), spec).
template <class Fn, std::size_t N, class... Args>
void run(Work work, const Impl<Fn> (&rows)[N], const Args&... args) {
  run(work, std::span<const Impl<Fn>>(rows), args...);
}

}  // namespace cuboid
