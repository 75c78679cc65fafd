// SPDX-License-Identifier: Apache-2.0
#include "apps/profile.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "apps/report.h"
#include "apps/run_folder.h"
#include "apps/text.h"
#include "core/parallel.h"

namespace cuboid::app {
namespace {

using profiler::Total;

bool is_kernel(const Total& t) { return !t.impl.empty(); }

std::string thread_name(int thread) {
  return thread == profiler::device_thread ? "device"
         : thread == profiler::main_thread ? "main"
                                           : "thread " + std::to_string(thread);
}
std::string kind_name(const Total& t) { return is_kernel(t) ? t.impl : "-"; }

std::string padded(const std::string& text, int width) {  // negative: on the left
  const auto room = static_cast<std::size_t>(std::abs(width));
  const std::string fill(room - std::min(room, text.size()), ' ');
  return width < 0 ? text + fill : fill + text;
}
std::string percent(double share) { return fixed(100 * share, 1); }
std::string or_nothing(double value, const std::string& text) { return value > 0 ? text : ""; }

/// Per second of the op's own time.
double rate(double amount, const Total& t) { return t.self_us > 0 ? amount / t.self_us * 1e6 : 0; }

/// The cells of an op's line: calls, ms, % of wall, GFLOP/s, GB/s, % of roof, bound.
std::vector<std::string> cells(const Total& t, double wall_us, const Nearness& near) {
  return {std::to_string(t.calls),
          fixed(t.self_us / 1e3, 2),
          percent(t.self_us / wall_us),
          or_nothing(t.flops, fixed(rate(t.flops, t) / 1e9, 1)),
          or_nothing(t.bytes, fixed(rate(t.bytes, t) / 1e9, 1)),
          or_nothing(near.of_roof, fixed(100 * near.of_roof, 1)),
          near.bound};
}
const std::vector<std::string> head = {"calls", "ms", "% wall", "GFLOP/s", "GB/s", "% roof", "bound"};

std::string owner_name(const profiler::MemoryOwner& o) {
  const std::string place = o.path.empty() ? "outside of any range" : o.path;
  return (o.op.empty() ? "" : o.op + " in ") + place;
}

}  // namespace

Nearness nearness(const Total& op, const Roofs* roofs) {
  Nearness near;
  if (!roofs || op.self_us <= 0 || !is_kernel(op)) return near;
  near.of_flops = roofs->flops.best > 0 ? rate(op.flops, op) / roofs->flops.best : 0;
  near.of_bytes = roofs->bytes.best > 0 ? rate(op.bytes, op) / roofs->bytes.best : 0;
  near.of_roof = std::max(near.of_flops, near.of_bytes);
  if (near.of_roof > 0) near.bound = near.of_flops > near.of_bytes ? "compute" : "memory";
  return near;
}

Profile Profile::take(const std::string& command, const std::string& end, bool measure) {
  profiler::enable(false);
  profiler::watch_memory(false);
  Profile p{.command = command,
            .end = end,
            .wall_us = std::max(1., profiler::wall_us()),
            .threads = thread_count(),
            .totals = profiler::totals(),
            .places = profiler::places()};
  const bool cuda =
      std::any_of(p.totals.begin(), p.totals.end(), [](const Total& t) { return t.thread == profiler::device_thread; });
  for (const Device device : {Device::cpu, Device::cuda}) {
    if (device == Device::cuda && !cuda) continue;
    p.memory.emplace_back(device, profiler::memory_report(device));
    if (measure) p.roofs.emplace_back(device, measure_roofs(device));
  }
  return p;
}

double Profile::kernels() const {
  double us = 0;
  for (const Total& t : totals) us += t.thread == profiler::main_thread && is_kernel(t) ? t.self_us : 0;
  return us / wall_us;
}
double Profile::ranges() const {
  double us = 0;
  for (const Total& t : totals) us += t.thread == profiler::main_thread && !is_kernel(t) ? t.self_us : 0;
  return us / wall_us;
}
double Profile::device() const {
  double us = 0;
  for (const Total& t : totals) us += t.thread == profiler::device_thread ? t.self_us : 0;
  return us / wall_us;
}

double Profile::in_kernels(const Total& place) const {
  double other = 0;
  for (const Total& t : places)
    if (t.thread == place.thread && (t.op == place.op || t.op.starts_with(place.op + "/"))) other += t.self_us;
  return place.us > 0 ? 1 - other / place.us : 0;
}

const Roofs* Profile::roofs_of(const Total& op) const {
  const Device wanted = op.thread == profiler::device_thread ? Device::cuda : Device::cpu;
  for (const auto& [device, found] : roofs)
    if (device == wanted) return &found;
  return nullptr;
}

// ---- files ---------------------------------------------------------------------------------------

Json Profile::to_json() const {
  Json measured = Json::object();
  for (const auto& [device, r] : roofs)
    measured[name_of(device)] = Json::object({{"flops_per_second", r.flops.best},
                                              {"flops_per_second_median", r.flops.median},
                                              {"bytes_per_second", r.bytes.best},
                                              {"bytes_per_second_median", r.bytes.median}});
  Json ops = Json::array(), where = Json::array();
  for (const Total& t : totals) {
    const Nearness near = nearness(t, roofs_of(t));
    ops.push_back(Json::object({{"op", t.op},
                                {"implementation", t.impl},
                                {"kind", is_kernel(t) ? "kernel" : "range"},
                                {"thread", thread_name(t.thread)},
                                {"calls", t.calls},
                                {"ms", t.self_us / 1e3},
                                {"ms_with_parts", t.us / 1e3},
                                {"share_of_wall", t.self_us / wall_us},
                                {"flops", t.flops},
                                {"bytes", t.bytes},
                                {"gflops", rate(t.flops, t) / 1e9},
                                {"gbytes", rate(t.bytes, t) / 1e9},
                                {"of_compute_roof", near.of_flops},
                                {"of_memory_roof", near.of_bytes},
                                {"bound", near.bound}}));
  }
  for (const Total& t : places)
    where.push_back(Json::object({{"path", t.op},
                                  {"thread", thread_name(t.thread)},
                                  {"calls", t.calls},
                                  {"ms", t.us / 1e3},
                                  {"ms_own", t.self_us / 1e3},
                                  {"share_in_kernels", in_kernels(t)}}));
  return Json::object({{"command", command},
                       {"end", end},
                       {"wall_seconds", wall_us / 1e6},
                       {"threads", threads},
                       {"roofs", measured},
                       {"share_kernels", kernels()},
                       {"share_ranges", ranges()},
                       {"share_unnamed", 1 - kernels() - ranges()},
                       {"share_device", device()},
                       {"ops", ops},
                       {"ranges", where},
                       {"environment", environment_manifest()}});
}

Json Profile::memory_json() const {
  Json all = Json::object();
  for (const auto& [device, m] : memory) {
    Json owners = Json::array(), line = Json::array();
    for (const auto& o : m.owners)
      owners.push_back(Json::object({{"op", o.op}, {"path", o.path}, {"bytes", o.bytes}, {"blocks", o.blocks}}));
    for (const auto& [us, bytes] : m.timeline) line.push_back(Json::array({us / 1e6, bytes}));
    all[name_of(device)] = Json::object({{"peak_bytes", m.peak},
                                         {"peak_seconds", m.peak_us / 1e6},
                                         {"allocations", m.allocations},
                                         {"owners_at_peak", owners},
                                         {"seconds_and_bytes", line}});
  }
  return all;
}

std::string Profile::csv() const {
  std::ostringstream os;
  os << "thread,op,implementation,calls,ms,share_of_wall,flops,bytes,of_compute_roof,of_memory_roof\n";
  for (const Total& t : totals) {
    const Nearness near = nearness(t, roofs_of(t));
    os << thread_name(t.thread) << ',' << t.op << ',' << t.impl << ',' << t.calls << ',' << t.self_us / 1e3 << ','
       << t.self_us / wall_us << ',' << t.flops << ',' << t.bytes << ',' << near.of_flops << ',' << near.of_bytes << '\n';
  }
  return os.str();
}

// ---- for people ----------------------------------------------------------------------------------

std::string Profile::text(std::size_t rows) const {
  constexpr int widths[] = {8, 11, 8, 9, 8, 8, 9};
  std::ostringstream os;
  const auto table = [&](const std::string& title, auto&& wanted) {
    std::vector<const Total*> shown;
    for (const Total& t : totals)
      if (wanted(t)) shown.push_back(&t);
    if (shown.empty()) return;
    os << '\n' << padded(title, -30) << padded("implementation", -15);
    for (std::size_t c = 0; c < head.size(); ++c) os << padded(head[c], widths[c]);
    os << '\n';
    double rest = 0;
    for (std::size_t i = 0; i < shown.size(); ++i) {
      const Total& t = *shown[i];
      if (i >= rows) {
        rest += t.self_us;
        continue;
      }
      os << padded(t.op, -30) << padded(kind_name(t), -15);
      const auto line = cells(t, wall_us, nearness(t, roofs_of(t)));
      for (std::size_t c = 0; c < line.size(); ++c) os << padded(line[c], widths[c]);
      os << '\n';
    }
    if (shown.size() > rows)
      os << padded(std::to_string(shown.size() - rows) + " more", -53) << padded(fixed(rest / 1e3, 2), 11)
         << padded(percent(rest / wall_us), 8) << '\n';
  };
  os << command << "\n" << end << ", wall time " << fixed(wall_us / 1e6, 3) << " s, " << threads << " threads\n";
  for (const auto& [device, r] : roofs)
    os << "roofs of the " << device << ": " << fixed(r.flops.best / 1e9, 0) << " GFLOP/s (f32), " << fixed(r.bytes.best / 1e9, 1)
       << " GB/s, measured\n";
  os << "named: " << percent(kernels()) << " % kernels, " << percent(ranges()) << " % other ranges, "
     << percent(1 - kernels() - ranges()) << " % unnamed"
     << or_nothing(device(), "; the device was busy for " + percent(device()) + " %") << '\n';
  table("main thread", [](const Total& t) { return t.thread == profiler::main_thread; });
  table("device", [](const Total& t) { return t.thread == profiler::device_thread; });
  table("other threads", [](const Total& t) { return t.thread > profiler::main_thread; });
  os << '\n'
     << padded("where (ranges)", -60) << padded("calls", 8) << padded("ms", 11) << padded("% wall", 8) << padded("in kernels", 12)
     << '\n';
  std::vector<Total> sorted = places;
  std::sort(sorted.begin(), sorted.end(), [](const Total& a, const Total& b) { return a.us > b.us; });
  for (std::size_t i = 0; i < std::min(rows, sorted.size()); ++i) {
    const Total& t = sorted[i];
    os << padded((t.thread > profiler::main_thread ? thread_name(t.thread) + ": " : "") + t.op, -60)
       << padded(std::to_string(t.calls), 8) << padded(fixed(t.us / 1e3, 2), 11) << padded(percent(t.us / wall_us), 8)
       << padded(percent(in_kernels(t)) + " %", 12) << '\n';
  }
  for (const auto& [device, m] : memory) {
    os << "\nmemory of the " << device << ": peak " << bytes_text(static_cast<double>(m.peak)) << " in " << m.allocations
       << " allocations; at the peak\n";
    for (std::size_t i = 0; i < std::min<std::size_t>(10, m.owners.size()); ++i)
      os << padded(bytes_text(static_cast<double>(m.owners[i].bytes)), 12) << "  " << owner_name(m.owners[i]) << " ("
         << m.owners[i].blocks << ")\n";
  }
  return os.str();
}

plot::Figure Profile::roofline(Device device) const {
  const Roofs* found = nullptr;
  for (const auto& [d, r] : roofs)
    if (d == device) found = &r;
  if (!found) return {};
  const double peak = found->flops.best / 1e9, stream = found->bytes.best / 1e9;
  plot::Figure f{.title = "roofline of the " + std::string(name_of(device)) + ": " + fixed(peak, 0) + " GFLOP/s, " +
                          fixed(stream, 0) + " GB/s",
                 .x_label = "FLOP per byte",
                 .y_label = "GFLOP/s",
                 .log_x = true,
                 .log_y = true,
                 .width = 720,
                 .height = 480};
  plot::Series others{.title = "others", .points = {}, .style = plot::Series::Style::points, .colour = -1};
  double low = 1 / 8.0, high = 64, slowest = stream / 8;
  std::vector<plot::Series> named;
  for (const Total& t : totals) {
    if (!is_kernel(t) || t.flops <= 0 || t.bytes <= 0 || t.self_us <= 0 ||
        (t.thread == profiler::device_thread) != (device == Device::cuda))
      continue;
    const std::pair<double, double> point{t.flops / t.bytes, rate(t.flops, t) / 1e9};
    low = std::min(low, point.first);
    high = std::max(high, 2 * point.first);
    slowest = std::min(slowest, point.second);
    if (named.size() < 6)
      named.push_back({.title = t.op + " " + t.impl,
                       .points = {point},
                       .style = plot::Series::Style::points,
                       .colour = static_cast<int>(named.size())});
    else others.points.push_back(point);
  }
  f.series.push_back({.title = "",
                      .points = {{low, low * stream}, {peak / stream, peak}, {std::max(high, 2 * peak / stream), peak}},
                      .colour = -1});
  if (!others.points.empty()) f.series.push_back(others);
  f.series.insert(f.series.end(), named.begin(), named.end());
  f.y_low = slowest / 2;
  f.y_high = 2 * peak;
  return f;
}

plot::Figure Profile::timeline(Device device) const {
  for (const auto& [d, m] : memory) {
    if (d != device || m.timeline.empty()) continue;
    constexpr double mib = 1 << 20;
    plot::Series alive{.title = "alive", .points = {}, .style = plot::Series::Style::steps};
    const double start = m.timeline.front().first;
    for (const auto& [us, bytes] : m.timeline) alive.points.emplace_back((us - start) / 1e6, static_cast<double>(bytes) / mib);
    const double end_s = alive.points.back().first, peak = static_cast<double>(m.peak) / mib;
    const std::string owner = m.owners.empty() ? "" : "; most of it: " + owner_name(m.owners.front());
    plot::Series roof{.title = "peak " + bytes_text(static_cast<double>(m.peak)),
                      .points = {{0, peak}, {end_s, peak}},
                      .style = plot::Series::Style::dashed,
                      .colour = 1};
    return {.title = "memory of the " + std::string(name_of(device)) + owner,
            .x_label = "seconds",
            .y_label = "MiB",
            .series = {alive, roof},
            .y_low = 0,
            .y_high = std::max(1.0, 1.15 * peak),
            .width = 720,
            .height = 400};
  }
  return {};
}

std::string Profile::page() const {
  Page page("Profile", command);
  page.tiles({{"wall time", duration_text(wall_us / 1e6), end},
              {"in kernels", percent(kernels()) + " %", "of the main thread's time"},
              {"other ranges", percent(ranges()) + " %", "named, in no kernel"},
              {"unnamed", percent(1 - kernels() - ranges()) + " %", ""}});
  std::vector<Page::Panel> panels;
  for (const auto& [device, r] : roofs) panels.push_back({plot::svg(roofline(device)), "Fractions of the measured roofs; f32."});
  for (const auto& [device, m] : memory) panels.push_back({plot::svg(timeline(device)), ""});
  page.panels(panels);
  page.section("Where the time goes", "Each op's own time, without what lies within it.");
  std::vector<std::string> titles = {"op", "thread", "implementation"};
  titles.insert(titles.end(), head.begin(), head.end());
  std::vector<std::vector<std::string>> lines;
  for (const Total& t : totals) {
    std::vector<std::string> line = {html_escaped(t.op), thread_name(t.thread), html_escaped(kind_name(t))};
    for (auto& cell : cells(t, wall_us, nearness(t, roofs_of(t)))) line.push_back(std::move(cell));
    lines.push_back(std::move(line));
  }
  page.html(Page::table(titles, lines));
  for (const auto& [device, m] : memory) {
    page.section("Who holds the memory of the " + std::string(name_of(device)) + " at its peak");
    std::vector<std::vector<std::string>> owners;
    for (std::size_t i = 0; i < std::min<std::size_t>(30, m.owners.size()); ++i)
      owners.push_back({html_escaped(owner_name(m.owners[i])), std::to_string(m.owners[i].blocks),
                        bytes_text(static_cast<double>(m.owners[i].bytes))});
    page.html(Page::table({"owner", "blocks", "bytes"}, owners));
  }
  return page.finish("made by cuboid profile");
}

}  // namespace cuboid::app
