// SPDX-License-Identifier: Apache-2.0
// One visible table of implementations per op. The first row that fits wins; the last row of a device is its
// reference. run() is the one place where kernels are chosen, timed, traced and compared.
//
//   CUBOID_IMPL="conv=reference,pool=reference"   force a row by name
//   CUBOID_COMPARE=1                              run the reference beside each row, report the worst error per op
//   CUBOID_LOG=impl                               print what was chosen for each new op and shape
//   CUBOID_DETERMINISTIC=1, CUBOID_TF32=1         see below; CUBOID_AUTOTUNE, CUBOID_TUNE_CACHE: kernels/autotune.h
#pragma once
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "core/profiler.h"
#include "core/profiler_memory.h"
#include "core/tensor.h"
#include "kernels/autotune.h"

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

/// True when only rows may run that give the same bits every time, chosen by their order in the table and never by time:
/// CUBOID_DETERMINISTIC=1, or asked for. All of our own do; NVIDIA's libraries have some that do not.
bool deterministic();
void set_deterministic(bool on);
/// True when products of f32 may be rounded to TF32 (10 bits of fraction) on a device's tensor cores: CUBOID_TF32=1, or asked
/// for.
bool tf32();
void set_tf32(bool on);

/// True when row `name` may run for `op` under CUBOID_IMPL or a Forced scope.
bool allowed(const char* op, const char* name);
/// True when a row of `op` is named there.
bool is_forced(const char* op);
bool comparing();
bool logging();
void log_choice(const char* op, const char* impl, const std::vector<View>& views);
/// max |a-b| / max |b|; NaN where only one of them has one.
double relative_error(const View& got, const Tensor& expected);
/// The larger one; NaN is the largest.
inline double worse(double a, double b) { return a > b || a != a ? a : b; }
void report_error(const char* op, const char* impl, double error);

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

/// `row` run on the same arguments, but into fresh memory: what it wrote, in the order of the outputs.
template <class Row, class... Args>
std::vector<Twin> run_beside(const Row& row, const Args&... args) {
  std::vector<Twin> twins;
  const auto twin = [&]<class T>(const T& a) -> T {
    if constexpr (is_out<T>) {
      if (!a.data) return a;
      twins.push_back(twin_of(a));
      return Out(twins.back().memory.view());
    } else if constexpr (std::is_same_v<T, Outs>) {
      Outs copies;
      for (const Out& o : a) {
        twins.push_back(twin_of(o));
        copies.emplace_back(twins.back().memory.view());
      }
      return copies;
    } else {
      return a;
    }
  };
  const std::tuple<Args...> substitutes{twin(args)...};
  std::apply([&](const auto&... a) { row.run(a...); }, substitutes);
  return twins;
}

/// While one lives (one at a time, in one thread), it is told of every table that is run, and tries every row of it that fits.
class Examination {
 public:
  struct Row {
    std::string op, name;
    Device device = Device::cpu;
    int calls = 0;           // in which it ran
    double worst = 0;        // error against the CPU's reference, as a share of what the types allow; NaN is the largest
    double worst_error = 0;  // max |a-b| / max |b| there
    std::string failure = {};
  };
  /// Without `try_rows` nothing but the tables' contents is noted.
  explicit Examination(bool try_rows = true);
  Examination(const Examination&) = delete;
  Examination& operator=(const Examination&) = delete;
  ~Examination();
  static Examination* current();

  /// Every row of every table met, in the order of the tables.
  const std::vector<Row>& rows() const { return rows_; }

  template <class R, class... Args>
  void visit(const char* op, std::span<const R> rows, Device device, const Args&... args);

 private:
  Row& row_of(const char* op, const char* name, Device device);
  static void compare(Row& row, const std::vector<Twin>& got, const std::vector<Tensor>& expected, const std::vector<View>& all);
  bool try_rows_;
  std::vector<Row> rows_;
};
/// The same bytes with the same strides, on the CPU.
Tensor fetched(const View& v);

template <class R, class... Args>
void Examination::visit(const char* op, std::span<const R> rows, Device device, const Args&... args) {
  const R* reference = nullptr;
  for (const R& row : rows) {
    row_of(op, row.name, row.device);
    if (row.device == Device::cpu) reference = &row;
  }
  if (!try_rows_ || !reference) return;
  std::vector<Tensor> inputs, expected;
  const auto on_cpu = [&]<class T>(const T& a) -> T {
    const auto one = [&](const View& v, std::vector<Tensor>& kept) { return kept.emplace_back(fetched(v)).view(); };
    if constexpr (is_view<T>) {
      if (!a.data) return a;
      return T(one(a, is_out<T> ? expected : inputs));
    } else if constexpr (std::is_same_v<T, Views> || std::is_same_v<T, Outs>) {
      T list;
      for (const auto& v : a) list.emplace_back(one(v, std::is_same_v<T, Outs> ? expected : inputs));
      return list;
    } else if constexpr (std::is_pointer_v<T>) {
      return nullptr;
    } else {
      return a;
    }
  };
  const std::tuple<Args...> there{on_cpu(args)...};
  std::apply([&](const auto&... a) { reference->run(a...); }, there);
  const std::vector<View> all = views_of(args...);
  for (const R& row : rows) {
    if (row.device != device || !row.fits(args...)) continue;
    Row& result = row_of(op, row.name, row.device);
    try {
      compare(result, run_beside(row, args...), expected, all);
    } catch (const Error& e) {
      result.failure = e.what();
    }
  }
}

/// False while a graph is recorded: its kernels do not run yet.
bool may_measure();

/// What distinguishes problems besides their tensors. Options of tunable ops have `std::vector<std::int64_t>
/// numbers_of(options)`.
template <class T>
std::vector<std::int64_t> option_numbers(const T& a) {
  if constexpr (is_view<T> || std::is_pointer_v<T>) return {};  // a pointer says where derived data may be kept
  else return numbers_of(a);
}

/// The first row that fits, and the reference.
template <class Row>
struct Choice {
  const Row *chosen = nullptr, *reference = nullptr;
  std::vector<View> views;
};

template <class Row, class... Args>
Choice<Row> choose(const Work& work, std::span<const Row> rows, const Args&... args) {
  Choice<Row> c;
  c.views = views_of(args...);
  check(!c.views.empty(), work.op, ": no tensors");
  const Device device = c.views.front().device;
  for (const View& v : c.views) check(v.device == device, work.op, ": tensors on ", device, " and ", v.device);
  if (Examination* e = Examination::current()) e->visit(work.op, rows, device, args...);
  for (const auto& row : rows) {
    if (row.device != device) continue;
    c.reference = &row;
    if (!c.chosen && allowed(work.op, row.name) && row.fits(args...)) c.chosen = &row;
  }
  check(c.chosen != nullptr, work.op, ": no implementation on ", device, " fits ", c.views.front().dtype, c.views.front().shape);
  return c;
}

/// The row that is fastest for this problem, by memory or measurement.
template <class Row, class... Args>
const Row* tuned(const Work& work, std::span<const Row> rows, const Choice<Row>& c, const Args&... args) {
  const Device device = c.views.front().device;
  ProblemHash hash;
  for (const char* letter = work.op; *letter; ++letter) hash.add(*letter);
  const auto add = [&]<class T>(const T& a) {
    if constexpr (is_view<T>) hash.add(a);
    else
      for (const auto n : option_numbers(a)) hash.add(n);
  };
  (add(args), ...);
  hash.add(tf32());
  const auto named = [&](const std::string& name) {
    if (name == Autotuner::none) return c.reference;
    for (const Row& row : rows)
      if (row.device == device && name == row.name && row.fits(args...)) return &row;
    return c.chosen;
  };
  if (const auto known = autotuner().known(hash.value())) return named(*known);
  if (!may_measure()) return c.chosen;
  const profiler::Range range("autotune");
  std::vector<Autotuner::Candidate> candidates;
  std::vector<Twin> expected;
  for (const Row& row : rows) {
    if (row.device != device || &row == c.reference || !row.fits(args...)) continue;
    const auto error = [&, r = &row] {
      if (expected.empty()) expected = run_beside(*c.reference, args...);
      r->run(args...);
      double worst = 0;
      for (const Twin& t : expected) worst = worse(worst, relative_error(t.original, t.memory));
      return worst;
    };
    candidates.push_back({row.name, [&, r = &row] { r->run(args...); }, error});
  }
  std::string options;
  const auto note = [&](const auto& a) {
    for (const auto n : option_numbers(a)) options += ' ' + std::to_string(n);
  };
  (note(args), ...);
  if (tf32()) options += " tf32";
  return named(autotuner().choose(hash.value(), text_of_problem(work.op, c.views, options), candidates,
                                  judging_tolerance(c.views.front().dtype, tf32())));
}

/// For the profile of the memory: whose the results are.
template <class... A>
void note_results(const char* op, const A&... args) {
  const auto note = [&]<class T>(const T& a) {
    if constexpr (is_out<T>) {
      if (a.data) profiler::wrote(op, a.data, a.device);
    } else if constexpr (std::is_same_v<T, Outs>) {
      for (const Out& o : a) profiler::wrote(op, o.data, o.device);
    }
  };
  (note(args), ...);
}

template <class Row, class... Args>
void carry_out(const Work& work, const Choice<Row>& c, const Args&... args) {
  if (logging()) log_choice(work.op, c.chosen->name, c.views);
  if (comparing() && c.chosen != c.reference && c.reference->fits(args...)) {
    const std::vector<Twin> expected = run_beside(*c.reference, args...);
    c.chosen->run(args...);
    for (const auto& t : expected) report_error(work.op, c.chosen->name, relative_error(t.original, t.memory));
    return;
  }
  if (!profiler::watched()) {
    c.chosen->run(args...);
    return;
  }
  if (profiler::watches_memory()) note_results(work.op, args...);
  double bytes = 0;
  for (const View& v : c.views) bytes += static_cast<double>(v.bytes());
  const profiler::Span span(c.views.front().device, work.op, c.chosen->name, work.flops, bytes);
  c.chosen->run(args...);
}

}  // namespace dispatch

template <class... A, class... Args>
void run(Work work, std::span<const Impl<void(A...)>> rows, const Args&... args) {
  dispatch::carry_out(work, dispatch::choose(work, rows, args...), args...);
}

/// The same, but where `autotuning`, the row is the one that is fastest for this problem, found by measuring. For ops whose rows
/// write their outputs and do not add to them; `numbers_of(options)` must be there.
template <class... A, class... Args>
void run_fastest(Work work, std::span<const Impl<void(A...)>> rows, const Args&... args) {
  auto c = dispatch::choose(work, rows, args...);
  if (c.chosen != c.reference && autotuning(c.views.front().device) && !dispatch::is_forced(work.op) && !dispatch::comparing())
    c.chosen = dispatch::tuned(work, rows, c, args...);
  dispatch::carry_out(work, c, args...);
}

/// For tables written as arrays: run({"conv", flops}, rows, x, w, Out(y), spec).
template <class Fn, std::size_t N, class... Args>
void run(Work work, const Impl<Fn> (&rows)[N], const Args&... args) {
  run(work, std::span<const Impl<Fn>>(rows), args...);
}
template <class Fn, std::size_t N, class... Args>
void run_fastest(Work work, const Impl<Fn> (&rows)[N], const Args&... args) {
  run_fastest(work, std::span<const Impl<Fn>>(rows), args...);
}

}  // namespace cuboid
