// SPDX-License-Identifier: Apache-2.0
// cuboid bench: both sides, row by row, then what a program costs besides its steps.
#include <unistd.h>

#include <fstream>
#include <iostream>
#include <regex>
#include <thread>

#include "apps/bench/lean.h"
#include "apps/bench/measure.h"
#include "apps/bench/scaling.h"
#include "apps/bench/table.h"
#include "apps/commands.h"
#include "apps/progress.h"
#include "apps/run_folder.h"
#include "apps/text.h"
#include "core/parallel.h"

namespace cuboid::app {
namespace fs = std::filesystem;
namespace {

struct RunOptions {
  std::string filter, out, programs, command;
  std::int64_t rounds = 7;
  double seconds = 3, keep_above = 0.95;
  bool quick = false, bf16 = true, list = false, lean = true, all = false, compared = true, scaling = false;
  bench::MeasureOptions measure = {};
};

Json machine_json(int threads) {
  std::string processor = "unknown", system = "unknown";
  std::ifstream cpu("/proc/cpuinfo"), release("/etc/os-release");
  for (std::string text; std::getline(cpu, text);)
    if (text.starts_with("model name")) {
      processor = text.substr(text.find(':') + 2);
      break;
    }
  for (std::string text; std::getline(release, text);)
    if (text.starts_with("PRETTY_NAME=")) system = text.substr(13, text.size() - 14);
  const double memory = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  return Json::object({{"processor", processor},
                       {"cores", static_cast<int>(std::thread::hardware_concurrency())},
                       {"threads", threads},
                       {"memory_gib", std::round(memory / (1 << 30))},
                       {"bf16", bench::has_bf16()},
                       {"system", system}});
}

/// Progress on stderr: a live line on a terminal, a line per row elsewhere; both with what is left.
class Terminal : public bench::Reporter {
 public:
  Terminal(Progress& progress, double turns, double seconds) : progress_(progress), turns_(turns), guess_(seconds) {
    progress_.begin("bench", static_cast<std::int64_t>(turns));
  }
  void say(const std::string& text) override { progress_.say(text); }
  void turn(const std::string& side, int round, double ms) override {
    done_ += 1;
    progress_.update(std::min(static_cast<std::int64_t>(done_), static_cast<std::int64_t>(turns_)),
                     join_text("round ", round + 1, ", ", side, ": ", fixed(ms, 1), " ms"));
  }
  /// At the start of a row: what all before it should have taken decides how far we are.
  void row(std::size_t number, std::size_t rows, const std::string& id, double turns_before) {
    done_ = turns_before;
    const double each = turns_before > 0 ? watch_.seconds() / turns_before : guess_;
    say(join_text("[", number, "/", rows, "] ", id, "; about ", duration_text(std::max(0., turns_ - turns_before) * each),
                  " left"));
  }

 private:
  Progress& progress_;
  Stopwatch watch_;
  double turns_, guess_, done_ = 0;
};

struct Scratch {
  fs::path path = fs::temp_directory_path() / ("cuboid_bench." + std::to_string(getpid()));
  Scratch() { fs::create_directories(path); }
  ~Scratch() {
    std::error_code error;
    fs::remove_all(path, error);
  }
};

struct Planned {
  bench::Case c;
  std::string mode;
};

std::vector<Planned> plan(const bench::Programs& programs, const RunOptions& o) {
  std::regex filter;
  try {
    filter = std::regex(o.filter);
  } catch (const std::regex_error&) {
    fail<UsageError>("--filter ", o.filter, ": not a regular expression");
  }
  std::vector<Planned> rows;
  std::vector<std::string> ids;
  for (const auto& c : bench::find_cases(programs))
    for (const char* mode : {"train", "infer"}) {
      ids.push_back(c.name + "/" + mode);
      const bool named = !o.filter.empty() && std::regex_search(ids.back(), filter);
      const bool wanted = c.size == "small" || (c.size == "large" && !o.quick) || (c.size == "heavy" && o.all) || named;
      if (wanted && std::regex_search(ids.back(), filter)) rows.push_back({c, mode});
    }
  check<UsageError>(!rows.empty(), with_hint("--filter " + o.filter + ": no such row", "there are " + join(ids, ", ")));
  return rows;
}

void measure_lean(const bench::Programs& programs, const std::vector<Planned>& rows, const RunOptions& o, const fs::path& scratch,
                  bench::Reporter& reporter, bench::Result& result) {
  reporter.say("start-up, size, compile time");
  const bench::LeanOptions options{.starts = o.quick ? 5 : 15, .threads = o.measure.threads, .compile = !o.quick};
  const bench::Case& c = rows.front().c;
  const std::string file = scratch / (c.name + ".safetensors");
  result.figures.push_back(bench::startup(programs, c, file, options));
  for (auto& f : bench::sizes(programs, scratch)) result.figures.push_back(f);
  if (options.compile)
    for (auto& f : bench::compile_time(programs, scratch, options)) result.figures.push_back(f);
}

void measure_scaling(const bench::Programs& programs, const std::vector<Planned>& rows, const RunOptions& o,
                     const fs::path& scratch, bench::Reporter& reporter, bench::Result& result) {
  std::vector<bench::Growth> points;
  for (const Planned& p : rows)
    for (auto& g : bench::growth_of(p.c, p.mode, o.measure.threads)) points.push_back(std::move(g));
  check<UsageError>(!points.empty(), "bench --scaling: none of the rows is of a net whose growth is measured");
  reporter.say(join_text("scaling: ", points.size(), " sizes, twice"));
  bench::measure_growth(programs, scratch, o.quick ? 0 : 1, points, result.versions, [&](const bench::Growth& g, double ms) {
    reporter.say(join_text("  ", g.net, "/", g.mode, " batch ", g.batch, ", ", g.side, "^3, threads ", g.threads, ": ",
                           fixed(ms, 1), " ms"));
  });
  result.growth = std::move(points);
}

void store(const bench::Result& result, const fs::path& folder) {
  fs::create_directories(folder);
  result.write(folder / "bench.json");
  std::ofstream(folder / "bench.md") << bench::summary_table(result) << "\n" << bench::full_table(result);
}

int run(RunOptions o, const Common& common) {
  const bench::Programs programs = bench::find_programs(o.programs);
  const std::vector<Planned> rows = plan(programs, o);
  if (o.list) {
    for (const auto& r : rows)
      std::cout << r.c.name << '/' << r.mode << "  " << r.c.title << (r.c.in_libtorch ? "" : "  (Cuboid only)") << '\n';
    return success;
  }
  Progress progress("turns", common.quiet ? Progress::Mode::quiet : Progress::Mode::automatic);
  if (programs.libtorch.empty())
    progress.say(
        "LibTorch's side is not built (apt install libtorch-dev, then build again): only Cuboid and the machine's limits");
  o.measure = {.rounds = static_cast<int>(o.rounds),
               .threads = thread_count(),
               .seconds = o.seconds,
               .keep_above = o.keep_above,
               .bf16 = o.bf16 && bench::has_bf16(),
               .quick = o.quick};
  const std::size_t sides = (o.measure.bf16 ? 2 : 1) + (programs.libtorch.empty() ? 0 : o.quick ? 2 : 4);
  const double turns = bench::expected_turns(sides, o.measure);
  bench::Result result;
  result.date = utc_now();
  result.command = o.command;
  result.machine = machine_json(o.measure.threads);
  result.quick = o.quick;
  result.options = Json::object({{"rounds", o.rounds}, {"seconds", o.seconds}, {"keep_above", o.keep_above}});
  const fs::path folder = o.out.empty() ? RunFolder::numbered("runs", "bench").path() : fs::path(o.out);
  Terminal terminal(progress, turns * static_cast<double>(rows.size()), o.seconds * 1.2);
  const Scratch scratch;
  catch_signals();
  for (int i = 0; i < 3; ++i) {
    const bench::Calibration c = bench::calibrate(o.measure.calibration_seconds);
    result.best = {std::max(result.best.flops, c.flops), std::max(result.best.bytes, c.bytes)};
  }
  std::vector<std::string> failed;
  const auto attempt = [&](const auto& body) {  // one row that fails leaves the others
    try {
      body();
    } catch (const Interrupted&) {
    } catch (const Error& e) {
      terminal.say(e.what());
      failed.emplace_back(e.what());
    }
  };
  for (std::size_t i = 0; i < rows.size() && o.compared && !stop_signal(); ++i)
    attempt([&] {
      terminal.row(i + 1, rows.size(), rows[i].c.name + "/" + rows[i].mode, turns * static_cast<double>(i));
      if (auto row = bench::measure_row(programs, rows[i].c, rows[i].mode, o.measure, scratch.path, terminal, result))
        result.rows.push_back(std::move(*row));
    });
  if (o.scaling && !stop_signal()) attempt([&] { measure_scaling(programs, rows, o, scratch.path, terminal, result); });
  if (o.lean && o.compared && !stop_signal()) attempt([&] { measure_lean(programs, rows, o, scratch.path, terminal, result); });
  result.complete = !stop_signal() && failed.empty();
  store(result, folder);
  if (common.json) std::cout << result.to_json().dump(2) << '\n';
  else
    std::cout << bench::scaling_table(result) << (o.compared ? bench::summary_table(result) : "")
              << "\nall sides: " << (folder / "bench.md").string() << ", " << (folder / "bench.json").string() << '\n';
  check(failed.empty(), join(failed, "\n"));
  if (stop_signal()) fail<Interrupted>("interrupted; what there is is in ", folder.string());
  return success;
}

/// What measured this, without where it was put or how it was shown.
std::string repeatable(const Arguments& arguments) {
  Arguments words = {"cuboid", "bench"};
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    if (word == "-o" || word == "--out" || word == "--programs") ++i;
    if (word == "-o" || word == "-q" || word == "--quiet" || word == "--json") continue;
    if (word.starts_with("--out") || word.starts_with("--programs")) continue;
    words.push_back(word);
  }
  return command_line(words);
}

}  // namespace

int bench(const Arguments& arguments) {
  RunOptions o;
  Common common;
  Options options(
      "bench",
      "Times whole nets in Cuboid and in LibTorch, in turns, and says how sure the ratios are. The numbers must agree "
      "first. Takes about 20 minutes; nothing else should run meanwhile.");
  options.other_commands(command_names());
  options.example("cuboid bench", "every row; results in runs/NNN-bench");
  options.example("cuboid bench --quick", "three minutes: fewer rounds, no large nets, LibTorch's best layouts only");
  options.example("cuboid bench --filter 3d/train --out new/", "one kind of row");
  options.example("cuboid bench --filter unet", "rows that take minutes each are measured when named, or with --all");
  options.example("cuboid bench --scaling --no-compared", "how the cost grows with batch and volume, and falls with threads");
  options.example("cuboid bench compare old/bench.json new/bench.json --fail-above 5%", "has anything become slower?");
  options.example("cuboid bench table new/bench.json --write README.md", "the table of a document, from a result");
  options.add("--filter", &o.filter, "only rows that match this regular expression");
  options.add("--all", &o.all, "also the nets that take minutes for each row (a filter that names them does it too)");
  options.add("--rounds", &o.rounds, "rounds of turns; disturbed ones are made up for, three at most").at_least(1).at_most(1000);
  options.add("--seconds", &o.seconds, "length of a turn").at_least(0).at_most(3600);
  options.add("--quick", &o.quick, "3 rounds of 1 s, small nets");
  options.add("--bf16", &o.bf16, "Cuboid in bf16 too, where the processor has AVX-512 BF16");
  options.add("--keep-above", &o.keep_above, "drop rounds in which the machine reached less of its best").at_least(0).at_most(1);
  options.add("--scaling", &o.scaling, "Cuboid on batches of 1 to 16 and cubes of 32^3 to 96^3, one thread and all; minutes");
  options.add("--compared", &o.compared, "the rows themselves");
  options.add("--lean", &o.lean, "start-up, size and compile time too");
  options.add("-o,--out", &o.out, "folder for bench.json and bench.md (default: runs/NNN-bench)");
  options.add("--programs", &o.programs, "folder with bench_cuboid_side and bench_torch_side (default: beside this program)");
  options.add("--list", &o.list, "show the rows");
  common.add(options);
  if (!parse_or_help(options, arguments)) return success;
  common.apply();
  if (o.quick) {
    if (options.origin("rounds") == Origin::standard) o.rounds = 3;
    if (options.origin("seconds") == Origin::standard) o.seconds = 1;
  }
  if (common.dry_run) return std::cout << options.origin_table(), success;
  o.command = repeatable(arguments);
  return run(o, common);
}

}  // namespace cuboid::app
