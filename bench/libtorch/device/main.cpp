// SPDX-License-Identifier: Apache-2.0
// bench_cuda_vs_libtorch: a whole net's step on a GPU, Cuboid against LibTorch at its best: cudnn.benchmark, both layouts,
// autocast, TF32 where ours has it, one launch for the optimiser, as it comes and from a CUDA graph. Same weights and input;
// first the numbers must agree, then the clock runs. All sides live side by side and take turns, A B C ... C B A. Needs no app:
// it is for machines with a GPU and nothing else. Where no LibTorch was found, Cuboid is timed alone.
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>

#include "bench/libtorch/device/child.h"
#include "bench/libtorch/statistics.h"
#include "core/json.h"
#include "core/safetensors.h"

using namespace cuboid;
using side::Child;

namespace {

constexpr const char* usage = R"(usage: bench_cuda_vs_libtorch [OPTIONS]
  --net NAME               densenet121_3d (default), densenet169_3d, densenet121_2d; `bench_cuboid_side list` knows them
  --dtypes LIST            of bf16,tf32,f32: of convolutions and products (bf16,tf32)
  --mode train|infer|both  (both)
  --rounds N               turns of each side (7)
  --seconds S              of each turn (1)
  --out FOLDER             writes FOLDER/vs_libtorch_NET_DTYPE.json and .md
)";

struct Options {
  std::string net = "densenet121_3d", mode = "both", out;
  std::vector<std::string> dtypes{"bf16", "tf32"};
  int rounds = 7;
  double seconds = 1;
};

Options parse(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; i += 2) {
    const std::string key = argv[i];
    check(i + 1 < argc, usage);
    const std::string value = argv[i + 1];
    if (key == "--net") o.net = value;
    else if (key == "--mode") o.mode = value;
    else if (key == "--rounds") o.rounds = std::stoi(value);
    else if (key == "--seconds") o.seconds = std::stod(value);
    else if (key == "--out") o.out = value;
    else if (key == "--dtypes") {
      o.dtypes.clear();
      std::istringstream in(value);
      for (std::string word; std::getline(in, word, ',');) o.dtypes.push_back(word);
    } else fail("bench_cuda_vs_libtorch: unknown option ", key, "\n", usage);
  }
  check(o.rounds > 0 && (o.mode == "both" || o.mode == "train" || o.mode == "infer"), usage);
  return o;
}

const std::filesystem::path& here() {
  static const auto folder = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  return folder;
}

/// One configuration of one side.
struct Side {
  std::string name;
  std::vector<std::string> command;
  std::vector<double> rounds = {};  // median milliseconds per step, one per round
  std::vector<double> all = {};
  double peak_mib = 0, reserved_mib = 0;
  bool ours() const { return name.starts_with("Cuboid"); }
};

std::vector<Side> sides(const std::string& mode, const Options& o, const std::string& dtype, const std::string& file) {
  const std::string ours = here() / "bench_cuboid_side", torch = here() / "bench_torch_side";
  std::vector<Side> all;
  const auto add = [&](const std::string& name, const std::string& program, const std::string& variant) {
    all.push_back({name, {program, "serve", o.net, mode, variant, file}});
  };
  add("Cuboid", ours, "cuda:" + dtype);
  if (mode == "train") add("Cuboid, CUDA graph", ours, "cuda:" + dtype + ":graph");
  if (!std::filesystem::exists(torch)) return all;
  for (const std::string layout : {"contiguous", "channels_last"}) {
    add("LibTorch " + layout, torch, layout + ":cuda:" + dtype);
    add("LibTorch " + layout + ", CUDA graph", torch, layout + ":cuda:" + dtype + ":graph");
  }
  return all;
}

// ---- the numbers ----------------------------------------------------------------------------------

/// Of the outputs: largest |a - b| as a share of the largest |b|. Of the gradients: the same in the median tensor, and
/// |a - b| / |b| of all of them taken as one vector. (Tensor by tensor there are gradients that are zero but for rounding:
/// what a norm adds is taken away by the next norm.)
struct Disagreement {
  double outputs = 0, median = 0, gradient = 0;
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
    if (name == "outputs") {
      result.outputs = difference / largest;
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

/// What a side computes, in a file.
std::filesystem::path answer_of(const Side& s, const std::filesystem::path& to) {
  Child(s.command, {}).ask("check " + to.string());
  return to;
}

/// Outputs of both modes, and every gradient. In f32 the two must agree; what else is asked for may be as far from LibTorch's f32
/// as twice LibTorch's own.
Json numerics_gate(const Options& o, const std::string& dtype, const std::string& file, const std::filesystem::path& scratch) {
  Json result = Json::object();
  const auto say = [&](const std::string& what, const std::string& mode, const Disagreement& d) {
    std::cout << what << ", " << mode << ": outputs differ by " << d.outputs;
    if (mode == "train") std::cout << ", the gradient by " << d.gradient << " (median tensor " << d.median << ")";
    std::cout << std::endl;
    result[mode + ", " + what] = Json::object({{"outputs", d.outputs}, {"gradient", d.gradient}, {"median_tensor", d.median}});
  };
  const auto of_libtorch = [](const std::vector<Side>& all) {
    return *std::find_if(all.begin(), all.end(), [](const Side& s) { return !s.ours(); });
  };
  for (const std::string mode : {"infer", "train"}) {
    const std::vector<Side> exact = sides(mode, o, "f32", file);
    const auto ours = answer_of(exact.front(), scratch / "ours.safetensors");
    const auto theirs = answer_of(of_libtorch(exact), scratch / "theirs.safetensors");
    const Disagreement d = disagreement(ours, theirs);
    say("Cuboid's f32 from LibTorch's", mode, d);
    check(d.outputs < 1e-4 && d.gradient < 1e-3, "bench: the two sides do not compute the same; no timing");
    if (dtype == "f32") continue;
    const std::vector<Side> rounded = sides(mode, o, dtype, file);
    const Disagreement own = disagreement(answer_of(rounded.front(), ours), theirs),
                       other = disagreement(answer_of(of_libtorch(rounded), scratch / "rounded.safetensors"), theirs);
    say("Cuboid's " + dtype + " from f32", mode, own);
    say("LibTorch's " + dtype + " from f32", mode, other);
    check(own.outputs < 2 * other.outputs + 1e-3 && own.gradient < 2 * other.gradient + 1e-3, "bench: Cuboid's ", dtype,
          " is further from f32 than LibTorch's; no timing");
  }
  return result;
}

// ---- the clock ------------------------------------------------------------------------------------

void take_turns(std::vector<Side>& all, const Options& o, Json& about) {
  std::vector<std::unique_ptr<Child>> children;
  for (const Side& s : all) {
    children.push_back(std::make_unique<Child>(s.command, std::vector<std::string>{}));
    about[s.ours() ? "cuboid" : "libtorch"] = Json::parse(children.back()->ask("about"));
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
  for (std::size_t i = 0; i < all.size(); ++i) {
    std::istringstream kib(children[i]->ask("end"));
    kib >> all[i].peak_mib >> all[i].reserved_mib;
    all[i].peak_mib /= 1024;
    all[i].reserved_mib /= 1024;
  }
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

/// The fastest of ours, or of theirs; all.size() when there is none.
std::size_t fastest(const std::vector<Side>& all, bool ours) {
  std::size_t best = all.size();
  for (std::size_t i = 0; i < all.size(); ++i)
    if (all[i].ours() == ours && (best == all.size() || side::median(all[i].rounds) < side::median(all[best].rounds))) best = i;
  return best;
}

Json report(const std::string& mode, const std::vector<Side>& all, std::ostream& text) {
  text << "\n## " << (mode == "train" ? "Train step (forward, loss, backward, SGD)" : "Inference") << "\n\n"
       << "| | min ms | median ms | IQR ms | peak MiB | Cuboid / this: time [95 %] | memory |\n|---|---|---|---|---|---|---|\n"
       << std::fixed;
  const std::size_t own = fastest(all, true), best = fastest(all, false);
  Json rows = Json::array();
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Side& s = all[i];
    const double low = *std::min_element(s.all.begin(), s.all.end()), middle = side::median(s.all);
    const double spread = side::quantile(s.all, 0.75) - side::quantile(s.all, 0.25);
    const int digits = middle < 100 ? 3 : 0;
    text << "| " << s.name << (i == best ? " (best)" : "") << std::setprecision(digits) << " | " << low << " | " << middle
         << " | " << spread << " | " << std::setprecision(0) << s.peak_mib << " | ";
    Json row = Json::object({{"name", s.name},
                             {"min_ms", low},
                             {"median_ms", middle},
                             {"iqr_ms", spread},
                             {"peak_mib", s.peak_mib},
                             {"rounds_ms", Json(s.rounds)}});
    if (s.reserved_mib > 0) row["reserved_mib"] = s.reserved_mib;
    if (!s.ours()) {
      const side::Interval r = ratio(all[own], s);
      text << std::setprecision(3) << r.median << " [" << r.low << ", " << r.high << "] | " << all[own].peak_mib / s.peak_mib;
      row["time_ratio"] = Json::object({{"median", r.median}, {"low", r.low}, {"high", r.high}});
      row["memory_ratio"] = all[own].peak_mib / s.peak_mib;
      row["best"] = i == best;
    } else {
      text << " | ";
    }
    text << " |\n";
    rows.push_back(row);
  }
  return rows;
}

void compare(const Options& o, const std::string& dtype) {
  const auto scratch = std::filesystem::temp_directory_path() / ("bench_cuda_vs_libtorch." + std::to_string(getpid()));
  std::filesystem::create_directories(scratch);
  const std::string file = scratch / "weights.safetensors", ours = here() / "bench_cuboid_side";
  check(std::system(join_text(ours, " prepare ", o.net, " ", file).c_str()) == 0, "bench: cannot prepare the weights");
  Json result = Json::object(
      {{"net", o.net}, {"dtype", dtype}, {"processor", machine()}, {"rounds", o.rounds}, {"seconds_per_turn", o.seconds}});
  if (std::filesystem::exists(here() / "bench_torch_side")) result["numerics"] = numerics_gate(o, dtype, file, scratch);
  else std::cout << "LibTorch's side is not built (python3 with a torch for CUDA): Cuboid is timed alone\n";
  std::ostringstream text;
  Json about = Json::object();
  for (const std::string mode : {"train", "infer"}) {
    if (o.mode != "both" && o.mode != mode) continue;
    std::vector<Side> all = sides(mode, o, dtype, file);
    take_turns(all, o, about);
    result[mode] = report(mode, all, text);
  }
  result["versions"] = about;
  std::ostringstream head;
  head << "# " << o.net << ", " << dtype << ", " << about.at("cuboid").get("device", "") << "\n\n" << machine();
  for (const auto& [side, what] : about.as_object()) head << "; " << what.at("version").as_string();
  head << ". " << o.rounds << " rounds in turns of " << o.seconds << " s, the host waiting after every tenth step.\n";
  std::cout << head.str() << text.str() << std::endl;
  if (!o.out.empty()) {
    std::filesystem::create_directories(o.out);
    const std::string name = o.out + "/vs_libtorch_" + o.net + "_" + dtype;
    std::ofstream(name + ".md") << head.str() << text.str();
    std::ofstream(name + ".json") << result.dump(2) << '\n';
  }
  std::filesystem::remove_all(scratch);
}

}  // namespace

int main(int argc, char** argv) try {
  const Options o = parse(argc, argv);
  for (const std::string& dtype : o.dtypes) compare(o, dtype);
} catch (const std::exception& e) {
  std::cerr << e.what() << '\n';
  return 1;
}
