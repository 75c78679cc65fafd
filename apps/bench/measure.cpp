// SPDX-License-Identifier: Apache-2.0
#include "apps/bench/measure.h"

#include <fstream>
#include <memory>
#include <sstream>

#include "apps/app.h"
#include "apps/bench/gate.h"
#include "apps/text.h"
#include "core/roofs.h"

namespace cuboid::bench {
namespace {

constexpr double none = std::numeric_limits<double>::quiet_NaN();

/// Jiffies since the start of the machine: those taken by others (a hypervisor's other guests), and all.
struct Jiffies {
  double stolen = 0, all = 0;
};
Jiffies jiffies() {
  std::ifstream in("/proc/stat");
  std::string word;
  in >> word;
  Jiffies j;
  double value = 0;
  for (int i = 0; i < 8 && in >> value; ++i) {
    j.all += value;
    if (i == 7) j.stolen = value;
  }
  return j;
}

/// A contender that takes part, or sits out.
struct Runner {
  Contender contender;
  std::unique_ptr<Child> child = {};
  std::vector<double> all = {};
  bool out = false;
  Side& side() { return contender.side; }
  /// Starts the process where it does not run; so many steps warm it up.
  void start(int steps) {
    if (child) return;
    child = std::make_unique<Child>(contender.command, contender.environment);
    for (int i = 0; i < steps; ++i) child->ask("time 0");
  }
  /// Asks for the peak memory and ends the process.
  void end() {
    if (!child) return;
    side().peak_mib = std::max(side().peak_mib, std::stod(child->ask("end")) / 1024);
    child.reset();
  }
};

/// Outputs and gradients of each of ours against LibTorch's, which is asked once.
std::vector<Agreement> gate(const std::vector<Contender>& all, const std::string& row, const std::filesystem::path& scratch,
                            Reporter& reporter) {
  const auto theirs = std::find_if(all.begin(), all.end(), [](const Contender& c) { return !c.side.ours(); });
  if (theirs == all.end()) return {};
  const auto judge = scratch / "judge.safetensors", file = scratch / "ours.safetensors";
  Child(theirs->command, theirs->environment).ask("check " + judge.string());
  std::vector<Agreement> found;
  for (const Contender& c : all) {
    if (!c.side.ours()) continue;
    Child(c.command, c.environment).ask("check " + file.string());
    found.push_back(agreement(c.side.id, file, judge));
    reporter.say(join_text("  numbers of ", c.side.id, ": outputs differ by ", found.back().outputs, ", gradients by ",
                           found.back().gradient));
    require(found.back(), c.side.dtype, row);
  }
  return found;
}

/// LibTorch's sides that are clearly behind its fastest.
void retire(std::vector<Runner>& runners, Reporter& reporter) {
  double fastest = std::numeric_limits<double>::infinity();
  for (Runner& r : runners)
    if (!r.side().ours()) fastest = std::min(fastest, median(r.side().rounds));
  for (Runner& r : runners) {
    if (r.side().ours() || r.out || median(r.side().rounds) <= behind * fastest) continue;
    reporter.say("  " + r.side().name() + " sits out from here: " + app::fixed(median(r.side().rounds) / fastest, 2) +
                 " of the fastest LibTorch");
    r.end();
    r.out = true;
  }
}

void note_versions(Runner& r, Result& result) {
  const Json about = Json::parse(r.child->ask("about"), r.side().id);
  result.versions[r.side().library] = about.at("version");
  if (about.contains("config")) result.versions["libtorch_config"] = about.at("config");
}

KeptRounds judge_rounds(const Row& row, Result& result, double share) {
  for (const Calibration& c : row.calibrations) {
    result.best.flops = std::max(result.best.flops, c.flops);
    result.best.bytes = std::max(result.best.bytes, c.bytes);
  }
  return keep_rounds(row.calibrations, result.best, share);
}

}  // namespace

std::vector<double> steps_of(const std::string& answer) {
  std::istringstream in(answer);
  std::vector<double> steps;
  for (double ms = 0; in >> ms;) steps.push_back(ms);
  check(!steps.empty(), "bench: a side answered '", answer, "' instead of times");
  return steps;
}

Calibration calibrate(double seconds) {
  const Roofs roofs = measure_roofs(Device::cpu, seconds);
  return {roofs.flops.median, roofs.bytes.median};
}

double expected_turns(std::size_t sides, const MeasureOptions& o) {
  const double all = static_cast<double>(sides), lasting = std::min(all, o.bf16 ? 4. : 3.);
  const int trial = o.quick ? o.rounds : std::min(o.rounds, trial_rounds);
  return trial * all + (o.rounds - trial) * lasting;
}

std::optional<Row> measure_row(const Programs& programs, const Case& c, const std::string& mode, const MeasureOptions& o,
                               const std::filesystem::path& scratch, Reporter& reporter, Result& result) {
  const std::string file = scratch / (c.name + ".safetensors");
  if (!std::filesystem::exists(file)) output_of({programs.cuboid.string(), "prepare", c.name, file});
  Row row{.id = c.name + "/" + mode, .title = c.title, .mode = mode};
  const std::vector<Contender> all = contenders(programs, c, mode, file, {o.threads, o.bf16, !o.quick});
  std::vector<Runner> runners;
  try {
    row.numerics = gate(all, row.id, scratch, reporter);
    // Processes of a heavy net would not fit into memory beside each other: each lives for its turn.
    const bool alone = c.size == "heavy";
    for (const Contender& contender : all) {
      Runner& r = runners.emplace_back(Runner{contender});
      r.start(alone ? 0 : 2);
      note_versions(r, result);
      if (contender.side.id == "cuboid/f32") row.gflop = std::stod(r.child->ask("work")) * 1e-9;
      if (alone) r.end();
    }
    row.calibrations.push_back(calibrate(o.calibration_seconds));
    Jiffies before = jiffies();
    // A disturbed round is made up for, three at most.
    for (int round = 0; round < o.rounds + 3; ++round) {
      if (round >= o.rounds && static_cast<int>(judge_rounds(row, result, o.keep_above).count()) >= o.rounds) break;
      if (round == trial_rounds && !o.quick) retire(runners, reporter);
      std::vector<double> medians(runners.size(), none);
      for (std::size_t k = 0; k < runners.size(); ++k) {
        const std::size_t i = round % 2 ? runners.size() - 1 - k : k;
        if (runners[i].out) continue;
        runners[i].start(1);
        const std::vector<double> steps = steps_of(runners[i].child->ask("time " + app::shortest(o.seconds)));
        if (alone) runners[i].end();
        medians[i] = median(steps);
        runners[i].all.insert(runners[i].all.end(), steps.begin(), steps.end());
        reporter.turn(runners[i].side().name(), round, medians[i]);
      }
      for (std::size_t i = 0; i < runners.size(); ++i) runners[i].side().rounds.push_back(medians[i]);
      const Jiffies after = jiffies();
      row.steal.push_back(after.all > before.all ? (after.stolen - before.stolen) / (after.all - before.all) : 0);
      before = after;
      row.calibrations.push_back(calibrate(o.calibration_seconds));
    }
    for (Runner& r : runners) r.end();
  } catch (const app::Interrupted&) {
    row.calibrations.resize(std::min(row.calibrations.size(), row.steal.size() + 1));
  }
  if (row.steal.empty() || row.calibrations.size() < 2) return std::nullopt;
  row.calibrations.resize(row.steal.size() + 1, row.calibrations.back());
  row.kept = judge_rounds(row, result, o.keep_above);
  for (Runner& r : runners) {
    r.side().min_ms = *std::min_element(r.all.begin(), r.all.end());
    row.sides.push_back(r.side());
  }
  const std::size_t kept = row.kept.count(), rounds = row.kept.kept.size();
  if (kept < rounds)
    reporter.say(join_text("  ", rounds - kept, " of ", rounds, " rounds dropped: the machine was below ", 100 * o.keep_above,
                           " % of its best", row.kept.enough ? "" : "; too few were undisturbed, the best of the others count"));
  return row;
}

}  // namespace cuboid::bench
