// SPDX-License-Identifier: Apache-2.0
#include "apps/bench/table.h"

#include <cstdio>

#include "apps/app.h"
#include "apps/text.h"

namespace cuboid::bench {
namespace {

using app::fixed;

std::string line(const std::vector<std::string>& cells) {
  std::string text = "|";
  for (const std::string& cell : cells) text += " " + cell + (cell.empty() ? "|" : " |");
  return text + "\n";
}
std::string rule(std::size_t columns) {
  std::string text = "|";
  for (std::size_t i = 0; i < columns; ++i) text += "---|";
  return text + "\n";
}

/// Three figures that count, no more than two decimals.
std::string number(double v) {
  if (!std::isfinite(v)) return "";
  return fixed(v, v >= 100 ? 0 : v >= 10 ? 1 : 2);
}
/// "1.7e-06".
std::string tiny(double v) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1e", v);
  return text;
}
std::string share(double over, double under) { return over > 0 && under > 0 ? fixed(over / under, 2) : ""; }

std::string mode_text(const std::string& mode) {
  return mode == "train" ? "training step" : mode == "infer" ? "inference" : mode;
}

/// FLOPs of the definition per second, as a share of what the processor's multiply-adds reached in f32.
std::string of_peak(const Result& result, const Row& row, double ms) {
  if (!(row.gflop > 0) || !(result.best.flops > 0) || !(ms > 0)) return "";
  return fixed(100 * row.gflop * 1e9 / (ms * 1e-3) / result.best.flops, 0) + " %";
}

bool any_libtorch(const Result& result) {
  for (const Row& row : result.rows)
    if (row.best()) return true;
  return false;
}

std::string text_of(const Json& object, const char* key) {
  const Json* value = object.find(key);
  if (!value) return "";
  return value->is_string() ? value->as_string() : value->is_number() ? app::shortest(value->as_double()) : value->dump();
}

std::string provenance(const Result& r) {
  std::string text = "Measured " + r.date.substr(0, 10) + " on " + text_of(r.machine, "processor") + ", " +
                     text_of(r.machine, "threads") + " of " + text_of(r.machine, "cores") + " cores, " +
                     text_of(r.machine, "system") + "; " + text_of(r.versions, "cuboid");
  if (r.versions.contains("libtorch")) text += "; " + text_of(r.versions, "libtorch");
  text += ". " + text_of(r.options, "rounds") + " rounds in turns of " + text_of(r.options, "seconds") + " s";
  std::size_t dropped = 0, all = 0;
  for (const Row& row : r.rows) all += row.kept.kept.size(), dropped += row.kept.kept.size() - row.kept.count();
  if (r.best.flops > 0)
    text += ", " + std::to_string(dropped) + " of " + std::to_string(all) +
            " rounds dropped as disturbed; multiply-adds reached " + fixed(r.best.flops * 1e-9, 0) + " GFLOP/s in f32, memory " +
            fixed(r.best.bytes * 1e-9, 1) + " GB/s";
  text += ".";
  for (const Row& row : r.rows)
    if (!row.kept.enough) text += " " + row.id + ": too few undisturbed rounds.";
  if (r.quick) text += " A quick run, not for conclusions.";
  if (!r.complete) text += " Interrupted: not everything was measured.";
  return text + " Command: `" + r.command + "`.\n";
}

std::string figures_table(const Result& r) {
  if (r.figures.empty()) return "";
  std::string text = line({"", "Cuboid", "LibTorch", "ratio"}) + rule(4);
  for (const Figure& f : r.figures) {
    const double a = median(f.cuboid), b = median(f.libtorch);
    text += line(
        {f.title + (f.unit.empty() ? "" : ", " + f.unit), number(a), number(b), std::isfinite(a / b) ? fixed(a / b, 3) : ""});
  }
  return text + "\n";
}

}  // namespace

std::string ratio_text(const Interval& r) {
  if (!std::isfinite(r.median)) return "";
  return fixed(r.median, 2) + " [" + fixed(r.low, 2) + ", " + fixed(r.high, 2) + "]";
}

std::string summary_table(const Result& r) {
  const bool compared = any_libtorch(r);
  std::vector<std::string> head{"", "Cuboid, ms", "of f32 peak", "peak MiB"};
  if (compared)
    for (const char* name : {"best LibTorch, ms", "ratio [95 %]", "memory", "LibTorch as installed, ms", "ratio"})
      head.push_back(name);
  std::string text = r.rows.empty() ? "" : line(head) + rule(head.size());
  for (const Row& row : r.rows)
    for (const Side* ours : row.ours()) {
      const double ms = median(row.times(*ours));
      std::vector<std::string> cells{row.title + ", " + mode_text(row.mode) + ", " + ours->dtype, number(ms), of_peak(r, row, ms),
                                     fixed(ours->peak_mib, 0)};
      if (const Side* best = row.best(), *plain = row.as_installed(); compared) {
        cells.push_back(best ? number(median(row.times(*best))) : "");
        cells.push_back(best ? ratio_text(row.ratio(*ours, *best)) : "");
        cells.push_back(best ? share(ours->peak_mib, best->peak_mib) : "");
        cells.push_back(plain ? number(median(row.times(*plain))) : "");
        cells.push_back(plain ? ratio_text(row.ratio(*ours, *plain)) : "");
      }
      text += line(cells);
    }
  return text + (text.empty() ? "" : "\n") + figures_table(r) + provenance(r);
}

std::string full_table(const Result& r) {
  std::string text;
  for (const Row& row : r.rows) {
    text += "### " + row.title + ": " + mode_text(row.mode) + "\n\n";
    const Side* best = row.best();
    std::vector<std::string> head{"", "min ms", "median ms", "IQR ms", "rounds", "peak MiB"};
    for (const Side* o : row.ours()) head.push_back("Cuboid " + o->dtype + " / this [95 %]");
    text += line(head) + rule(head.size());
    for (const Side& s : row.sides) {
      const std::vector<double> times = row.times(s);
      std::vector<std::string> cells{s.name() + (&s == best ? " (best)" : ""),
                                     number(s.min_ms),
                                     number(median(times)),
                                     number(quantile(times, 0.75) - quantile(times, 0.25)),
                                     std::to_string(times.size()),
                                     fixed(s.peak_mib, 0)};
      for (const Side* o : row.ours()) cells.push_back(s.ours() ? "" : ratio_text(row.ratio(*o, s)));
      text += line(cells);
    }
    text += "\n";
    for (const Agreement& a : row.numerics)
      text += "Numbers of " + a.side + " against LibTorch: outputs differ by " + tiny(a.outputs) +
              (row.mode == "train" ? ", gradients by " + tiny(a.gradient) : "") + ". ";
    if (row.gflop > 0) text += "One step is " + fixed(row.gflop, 1) + " GFLOP, taps on padding left out. ";
    if (const std::size_t dropped = row.kept.kept.size() - row.kept.count())
      text += std::to_string(dropped) + " of " + std::to_string(row.kept.kept.size()) + " rounds dropped. ";
    while (text.ends_with(' ')) text.pop_back();
    text += "\n\n";
  }
  return text + figures_table(r) + scaling_table(r) + provenance(r);
}

std::string scaling_table(const Result& r) {
  if (r.growth.empty()) return "";
  std::string text, net;
  const auto find = [&](const Growth& like, bool one) {
    for (const Growth& g : r.growth)
      if (g.net == like.net && g.mode == like.mode && g.batch == like.batch && g.side == like.side && (g.threads == 1) == one)
        return &g;
    return static_cast<const Growth*>(nullptr);
  };
  for (const Growth& g : r.growth) {
    const Growth *one = find(g, true), *all = find(g, false);
    if (&g != (one ? one : all)) continue;
    if (net != g.net + g.mode) {
      text +=
          (net.empty() ? "" : "\n") +
          line({g.title + ", " + mode_text(g.mode), "1 thread, ms [quartiles]", "per million voxels",
                text_of(r.machine, "threads") + " threads, ms [quartiles]", "per million voxels", "threads make it faster by"}) +
          rule(6);
      net = g.net + g.mode;
    }
    std::vector<std::string> cells{join_text("batch ", g.batch, ", ", g.side, "^3")};
    for (const Growth* point : {one, all}) {
      const double ms = point ? median(point->ms) : 0;
      cells.push_back(
          point ? number(ms) + " [" + number(quantile(point->ms, 0.25)) + ", " + number(quantile(point->ms, 0.75)) + "]" : "");
      cells.push_back(point ? number(1e6 * ms / point->voxels()) : "");
    }
    cells.push_back(one && all ? fixed(median(one->ms) / median(all->ms), 2) : "");
    text += line(cells);
  }
  return text + "\n";
}

std::string with_tables(const std::string& text, const Result& result, const std::string& source) {
  const std::string begin = "<!-- cuboid bench table ", end = "<!-- end of table -->";
  std::string out;
  std::size_t at = 0, count = 0;
  for (;; ++count) {
    const auto start = text.find(begin, at);
    if (start == text.npos) break;
    const auto close = text.find("-->", start), stop = text.find(end, start);
    check<DataError>(close != text.npos && stop != text.npos && text.find(begin, close) >= stop, source, ": a '", begin,
                     "... -->' without '", end, "'");
    const std::string which = text.substr(start + begin.size(), close - start - begin.size());
    check<DataError>(which == "summary " || which == "full " || which == "scaling ", source, ": '", begin, which,
                     "-->': the table is summary, full or scaling");
    out += text.substr(at, close + 3 - at) + "\n" +
           (which == "full "      ? full_table(result)
            : which == "scaling " ? scaling_table(result)
                                  : summary_table(result));
    at = stop;
  }
  check<DataError>(count > 0, app::with_hint(source + ": no place for a table in it",
                                             "write these two lines into it: " + begin + "summary -->  and  " + end));
  return out + text.substr(at);
}

}  // namespace cuboid::bench
