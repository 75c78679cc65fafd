// SPDX-License-Identifier: Apache-2.0
// DenseNet121-3D, batch 8 at 64^3, f32: Cuboid against LibTorch, which may lay its tensors out both ways and may have glibc's
// allocator tuned against page faults. Same weights and input; first the numbers must agree, then the clock runs.
// All sides live side by side and take turns, A B C ... C B A, so that what slows the machine slows them alike.
//
//   bench_vs_libtorch [--mode train|infer|both] [--rounds 9] [--seconds 3] [--threads 2] [--out results/cpu]
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>

#include "bench/libtorch/child.h"
#include "bench/libtorch/statistics.h"
#include "core/json.h"
#include "core/safetensors.h"

using namespace cuboid;
using side::Child;

namespace {

struct Options {
  std::string mode = "both", out;
  int rounds = 9, threads = 2;
  double seconds = 3;
};

Options parse(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; i += 2) {
    const std::string key = argv[i];
    check(i + 1 < argc, "bench_vs_libtorch: ", key, " needs a value");
    const std::string value = argv[i + 1];
    if (key == "--mode") o.mode = value;
    else if (key == "--rounds") o.rounds = std::stoi(value);
    else if (key == "--seconds") o.seconds = std::stod(value);
    else if (key == "--threads") o.threads = std::stoi(value);
    else if (key == "--out") o.out = value;
    else fail("bench_vs_libtorch: unknown option ", key);
  }
  check(o.rounds > 0 && o.threads > 0 && (o.mode == "both" || o.mode == "train" || o.mode == "infer"),
        "bench_vs_libtorch: --mode is train, infer or both; --rounds and --threads are positive");
  return o;
}

const std::filesystem::path& here() {
  static const auto folder = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  return folder;
}

/// One configuration of one side.
struct Side {
  std::string name;
  std::vector<std::string> command, environment;
  std::vector<double> rounds = {};  // median milliseconds per step, one per round
  std::vector<double> all = {};
  double peak_mib = 0;
};

constexpr const char* tuned_malloc =
    "GLIBC_TUNABLES=glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=17179869184:glibc.malloc.top_pad="
    "268435456";

std::vector<Side> sides(const std::string& mode, int threads, const std::string& file) {
  const std::string ours = here() / "bench_cuboid_side", torch = here() / "bench_torch_side";
  const std::vector<std::string> plain{"OMP_NUM_THREADS=" + std::to_string(threads)};
  std::vector<std::string> tuned = plain;
  tuned.push_back(tuned_malloc);
  std::vector<Side> all{{"Cuboid", {ours, mode, file}, plain}};
  if (!std::filesystem::exists(torch)) return all;
  for (const char* layout : {"contiguous", "channels_last"}) {
    all.push_back({std::string("LibTorch ") + layout + ", tuned malloc", {torch, mode, layout, file}, tuned});
    all.push_back({std::string("LibTorch ") + layout, {torch, mode, layout, file}, plain});
  }
  return all;
}

// ---- the numbers ----------------------------------------------------------------------------------

/// Of the logits: largest |a - b| as a share of the largest |b|. Of the gradients: the same in the median tensor, and
/// |a - b| / |b| of all of them taken as one vector. (Tensor by tensor there are gradients that are zero but for rounding:
/// what a norm adds is taken away by the next norm.)
struct Disagreement {
  double logits = 0, median = 0, gradient = 0;
};
Disagreement disagreement(const std::filesystem::path& ours, const std::filesystem::path& theirs) {
  std::map<std::string, Tensor> expected;
  for (auto& [name, tensor] : read_safetensors(theirs)) expected.emplace(name, tensor);
  Disagreement result;
  std::vector<double> shares;
  double squares = 0, length = 0;
  for (const auto& [name, tensor] : read_safetensors(ours)) {
    const auto found = expected.find(name);
    check(found != expected.end() && found->second.shape() == tensor.shape(), "bench: the other side has no ", name,
          tensor.shape());
    const std::vector<double> a = tensor.to_vector(), b = found->second.to_vector();
    double difference = 0, largest = 0, own_squares = 0, own_length = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      check(std::isfinite(a[i]) && std::isfinite(b[i]), "bench: ", name, " is not finite");
      difference = std::max(difference, std::abs(a[i] - b[i]));
      largest = std::max(largest, std::abs(b[i]));
      own_squares += (a[i] - b[i]) * (a[i] - b[i]);
      own_length += b[i] * b[i];
    }
    expected.erase(found);
    if (name == "logits") {
      result.logits = difference / largest;
      continue;
    }
    shares.push_back(difference / largest);
    squares += own_squares;
    length += own_length;
  }
  check(expected.empty(), "bench: only the other side has ", expected.empty() ? "" : expected.begin()->first);
  if (!shares.empty()) result.median = side::median(shares), result.gradient = std::sqrt(squares / length);
  return result;
}

/// Logits of both modes, and every gradient.
Json numerics_gate(const Options& o, const std::string& file, const std::filesystem::path& scratch) {
  Json result;
  for (const std::string mode : {"infer", "train"}) {
    std::vector<Side> both = sides(mode, o.threads, file);
    const auto ours = scratch / "ours.safetensors", theirs = scratch / "theirs.safetensors";
    Child(both[0].command, both[0].environment).ask("check " + ours.string());
    Child(both[1].command, both[1].environment).ask("check " + theirs.string());
    const Disagreement d = disagreement(ours, theirs);
    std::cout << "numbers, " << mode << ": logits differ by " << d.logits;
    if (mode == "train") std::cout << ", the gradient by " << d.gradient << " (median tensor " << d.median << ")";
    std::cout << std::endl;
    check(d.logits < 1e-4 && d.gradient < 1e-4, "bench: the two sides do not compute the same; no timing");
    result[mode] = Json::object({{"logits", d.logits}, {"gradient", d.gradient}, {"median_tensor", d.median}});
  }
  return result;
}

// ---- the clock ------------------------------------------------------------------------------------

void take_turns(std::vector<Side>& all, const Options& o, Json& about) {
  std::vector<std::unique_ptr<Child>> children;
  for (const Side& s : all) {
    children.push_back(std::make_unique<Child>(s.command, s.environment));
    about[s.command.front() == all[0].command.front() ? "cuboid" : "libtorch"] = children.back()->ask("about");
    children.back()->ask("time 0");  // two steps to warm up
  }
  for (int round = 0; round < o.rounds; ++round)
    for (std::size_t k = 0; k < all.size(); ++k) {
      const std::size_t i = round % 2 ? all.size() - 1 - k : k;
      std::istringstream answer(children[i]->ask("time " + std::to_string(o.seconds)));
      std::vector<double> steps;
      for (double ms; answer >> ms;) steps.push_back(ms);
      all[i].rounds.push_back(side::median(steps));
      all[i].all.insert(all[i].all.end(), steps.begin(), steps.end());
    }
  for (std::size_t i = 0; i < all.size(); ++i) all[i].peak_mib = std::stod(children[i]->ask("end")) / 1024;
}

/// Ours / theirs, round by round.
side::Interval ratio(const Side& ours, const Side& theirs) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < ours.rounds.size(); ++i) ratios.push_back(ours.rounds[i] / theirs.rounds[i]);
  return side::bootstrap_median(ratios);
}

std::string machine() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "unknown";
}

Json report(const std::string& mode, const std::vector<Side>& all, std::ostream& text) {
  text << "\n## " << (mode == "train" ? "Train step (forward, loss, backward, SGD)" : "Inference") << "\n\n"
       << "| | min ms | median ms | IQR ms | peak MiB | Cuboid / this: time [95 %] | memory |\n|---|---|---|---|---|---|---|\n"
       << std::fixed;
  std::size_t best = 1;
  for (std::size_t i = 1; i < all.size(); ++i)
    if (side::median(all[i].rounds) < side::median(all[best].rounds)) best = i;
  Json rows = Json::array();
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Side& s = all[i];
    const double low = *std::min_element(s.all.begin(), s.all.end()), middle = side::median(s.all);
    const double spread = side::quantile(s.all, 0.75) - side::quantile(s.all, 0.25);
    text << "| " << s.name << (i == best ? " (best)" : "") << std::setprecision(0) << " | " << low << " | " << middle << " | "
         << spread << " | " << s.peak_mib << " | ";
    Json row = Json::object({{"name", s.name},
                             {"min_ms", low},
                             {"median_ms", middle},
                             {"iqr_ms", spread},
                             {"peak_mib", s.peak_mib},
                             {"rounds_ms", Json(s.rounds)}});
    if (i > 0) {
      const side::Interval r = ratio(all[0], s);
      text << std::setprecision(3) << r.median << " [" << r.low << ", " << r.high << "] | " << all[0].peak_mib / s.peak_mib;
      row["time_ratio"] = Json::object({{"median", r.median}, {"low", r.low}, {"high", r.high}});
      row["memory_ratio"] = all[0].peak_mib / s.peak_mib;
      row["best"] = i == best;
    } else {
      text << " | ";
    }
    text << " |\n";
    rows.push_back(row);
  }
  return rows;
}

void compare(const Options& o) {
  const auto scratch = std::filesystem::temp_directory_path() / ("bench_vs_libtorch." + std::to_string(getpid()));
  std::filesystem::create_directories(scratch);
  const std::string file = scratch / "weights.safetensors", ours = here() / "bench_cuboid_side";
  check(std::system((ours + " prepare " + file).c_str()) == 0, "bench: cannot prepare the weights");
  Json result = Json::object({{"work", "DenseNet121-3D, batch 8, 1x64x64x64, f32"},
                              {"cpu", machine()},
                              {"threads", o.threads},
                              {"rounds", o.rounds},
                              {"seconds_per_turn", o.seconds}});
  if (sides("infer", o.threads, file).size() > 1) result["numerics"] = numerics_gate(o, file, scratch);
  else std::cout << "LibTorch's side is not built (apt install libtorch-dev): only Cuboid is timed\n";
  std::ostringstream text;
  Json about;
  for (const std::string mode : {"train", "infer"}) {
    if (o.mode != "both" && o.mode != mode) continue;
    std::vector<Side> all = sides(mode, o.threads, file);
    take_turns(all, o, about);
    result[mode] = report(mode, all, text);
  }
  result["versions"] = about;
  std::ostringstream head;
  head << "# DenseNet121-3D, batch 8 at 64^3, f32, " << o.threads << " threads\n\n"
       << machine() << "; " << about["cuboid"].as_string();
  if (about.contains("libtorch")) head << "; " << about["libtorch"].as_string();
  head << ". " << o.rounds << " rounds in turns of " << o.seconds << " s.\n";
  std::cout << head.str() << text.str();
  if (!o.out.empty()) {
    std::filesystem::create_directories(o.out);
    std::ofstream(o.out + "/vs_libtorch.md") << head.str() << text.str();
    std::ofstream(o.out + "/vs_libtorch.json") << result.dump(2) << '\n';
  }
  std::filesystem::remove_all(scratch);
}

}  // namespace

int main(int argc, char** argv) try { compare(parse(argc, argv)); } catch (const std::exception& e) {
  std::cerr << e.what() << '\n';
  return 1;
}
