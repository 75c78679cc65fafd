// SPDX-License-Identifier: Apache-2.0
// bench_cuda: every row of the device's tables on the shapes of the nets, side by side, as fractions of what this device can
// do. Needs nothing but Cuboid itself. Numbers are compared with the reference rows before anything is timed.
#include <chrono>
#include <iostream>
#include <regex>
#include <set>
#include <sstream>

#include "bench/device/convolutions.h"
#include "bench/device/ops.h"
#include "core/cuda.h"
#include "kernels/dispatch.h"

using namespace bench;

namespace {

constexpr const char* usage = R"(usage: bench_cuda [OPTIONS]
  --device cpu|cuda        (cuda where there is one)
  --ops LIST               of conv,norm,pool,resize,dense_block,optimiser (all)
  --nets LIST              whose convolutions: of densenet121_3d,csf,gcn_unet (all)
  --dtypes LIST            of bf16,f32 (both)
  --filter REGEX           only work whose name "op/dtype/shape" has a match
  --rounds N               turns each row takes (5)
  --round-ms MS            of one row in one turn (4)
  --flush-mib N            written before each call, so that nothing is in the L2 cache (256 on a GPU, otherwise 0)
  --seconds S              start nothing new after that long; what is missing is said (no limit)
  --reference              time the reference rows as well
  --no-check               do not compare with the reference rows (on the CPU they are too slow for it but with --tiny)
  --tf32                   products of f32 may be rounded to TF32
  --tiny                   sizes for a look at whether it runs
  --out FOLDER             writes FOLDER/kernels.json (as Google Benchmark does) and kernels.txt
)";

struct Options {
  Device device = cuda::available() ? Device::cuda : Device::cpu;
  std::set<std::string> ops{"conv", "norm", "pool", "resize", "dense_block", "optimiser"};
  std::vector<std::string> nets{"densenet121_3d", "csf", "gcn_unet"};
  std::vector<DType> dtypes{DType::bf16, DType::f32};
  std::string filter, out;
  int rounds = 5;
  double round_ms = 4, seconds = 0;
  std::int64_t flush_mib = -1;
  bool reference = false, check = true, tiny = false;
};

std::vector<std::string> list(const std::string& text) {
  std::vector<std::string> all;
  std::istringstream in(text);
  for (std::string word; std::getline(in, word, ',');) all.push_back(word);
  return all;
}

Options parse(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const std::string key = argv[i];
    const auto value = [&]() -> std::string {
      check(i + 1 < argc, "bench_cuda: ", key, " needs a value\n", usage);
      return argv[++i];
    };
    if (key == "--device") {
      const std::string name = value();
      check(name == "cpu" || name == "cuda", "bench_cuda: no device ", name);
      o.device = name == "cuda" ? Device::cuda : Device::cpu;
    } else if (key == "--ops") {
      const auto words = list(value());
      o.ops = {words.begin(), words.end()};
    } else if (key == "--nets") {
      o.nets = list(value());
    } else if (key == "--dtypes") {
      o.dtypes.clear();
      for (const auto& name : list(value())) {
        check(name == "bf16" || name == "f32", "bench_cuda: no type ", name);
        o.dtypes.push_back(name == "f32" ? DType::f32 : DType::bf16);
      }
    } else if (key == "--filter") o.filter = value();
    else if (key == "--rounds") o.rounds = std::stoi(value());
    else if (key == "--round-ms") o.round_ms = std::stod(value());
    else if (key == "--flush-mib") o.flush_mib = std::stoll(value());
    else if (key == "--seconds") o.seconds = std::stod(value());
    else if (key == "--out") o.out = value();
    else if (key == "--reference") o.reference = true;
    else if (key == "--no-check") o.check = false;
    else if (key == "--tf32") dispatch::set_tf32(true);
    else if (key == "--tiny") o.tiny = true;
    else fail("bench_cuda: unknown option ", key, "\n", usage);
  }
  check(o.device == Device::cpu || cuda::available(), "bench_cuda: no CUDA device answers");
  o.check = o.check && (o.device == Device::cuda || o.tiny);
  return o;
}

MeterOptions meter_options(const Options& o) {
#if CUBOID_EMULATED
  const bool gpu = false;
#else
  const bool gpu = o.device == Device::cuda;
#endif
  return {.device = o.device,
          .rounds = o.rounds,
          .round_ms = o.round_ms,
          .flush_bytes = (o.flush_mib >= 0 ? o.flush_mib
                          : gpu            ? 256
                                           : 0)
                         << 20};
}

/// Per net: the sum over its layers of the fastest row's time, ours and the vendor's.
struct Sums {
  double ours = 0, vendor = 0, floor = 0;
  int layers = 0, without_vendor = 0;
};
using SumsByNet = std::map<std::string, Sums>;

void add_to(SumsByNet& sums, const std::string& suffix, const ConvCase& c, double floor, const std::vector<Timing>& timings) {
  double ours = 0, vendor = 0;
  for (const Timing& t : timings) {
    double& best = t.name == "cudnn" || t.name == "cublas" || t.name == "onednn" ? vendor : ours;
    if (t.name != "reference" && (best == 0 || t.median() < best)) best = t.median();
  }
  for (const auto& [net, layers] : c.layers) {
    Sums& s = sums[net + suffix];
    s.ours += layers * ours;
    s.vendor += layers * (vendor > 0 ? vendor : ours);
    s.floor += layers * floor;
    s.layers += layers;
    s.without_vendor += vendor > 0 ? 0 : layers;
  }
}

class Run {
 public:
  Run(const Options& o, const char* command) : o_(o), meter_(meter_options(o)), report_(meter_.options(), command) {}

  int all() {
    measure_roofs(meter_, report_, o_.tiny);
    for (const DType dtype : o_.dtypes) {
      if (o_.ops.contains("conv")) convolution(dtype);
      const OpOptions options{o_.device, o_.tiny, o_.reference, o_.check};
      if (o_.ops.contains("norm")) run(norms(dtype, options));
      if (o_.ops.contains("pool")) run(pools(dtype, options));
      if (o_.ops.contains("resize")) run(resizes(dtype, options));
      if (o_.ops.contains("dense_block")) run(dense_blocks(dtype, options));
      if (o_.ops.contains("optimiser") && dtype == o_.dtypes.front()) run(optimisers(options));
      report_.write(o_.out, "kernels");
    }
    if (missing_ > 0)
      report_.note("not_started", join_text("no time for ", missing_, " more pieces of work (--seconds ", o_.seconds, ")\n"),
                   missing_);
    for (const std::string& name : report_.wrong()) std::cout << "WRONG: " << name << '\n';
    report_.write(o_.out, "kernels");
    return report_.wrong().empty() ? 0 : 1;
  }

 private:
  bool wanted(const std::string& name) {
    if (!o_.filter.empty() && !std::regex_search(name, std::regex(o_.filter))) return false;
    const std::chrono::duration<double> since = std::chrono::steady_clock::now() - start_;
    if (o_.seconds == 0 || since.count() < o_.seconds) return true;
    ++missing_;
    return false;
  }

  void run(const std::vector<OpCase>& cases) {
    for (const OpCase& c : cases) {
      if (!wanted(join_text(c.op, "/", name_of(c.dtype), "/", c.shape))) continue;
      report_.add(c.op, c.shape, c.dtype, c.cost, meter_.compare(c.make()), c.limit);
    }
  }

  void convolution(DType dtype) {
    SumsByNet sums;
    for (const ConvCase& c : convolutions(o_.nets, o_.tiny))
      for (const Pass pass : every_pass) {
        if (pass == Pass::input && c.x[1] == 1) continue;  // nobody needs the gradient of the image
        if (!wanted(join_text(name_of(pass), "/", name_of(dtype), "/", c.name()))) continue;
        const Cost cost = c.cost(dtype);
        const auto timings = meter_.compare(candidates(c, pass, dtype, o_.device, o_.reference, o_.check));
        report_.add(name_of(pass), c.name(), dtype, cost, timings);
        if (!timings.empty())
          add_to(sums, join_text("/", name_of(pass), "/", name_of(dtype)), c, report_.roofs().floor(cost, dtype), timings);
      }
    for (const auto& [name, s] : sums)
      report_.note(join_text("sum/", name),
                   join_text("all convolutions of ", name, ": ours ", s.ours, " us, vendor's ", s.vendor, " us (ours in ",
                             s.without_vendor, " of ", s.layers, " layers), floor ", s.floor, " us\n"),
                   Json::object({{"ours_us", s.ours},
                                 {"vendor_us", s.vendor},
                                 {"floor_us", s.floor},
                                 {"layers", s.layers},
                                 {"layers_without_vendor", s.without_vendor}}));
  }

  Options o_;
  Meter meter_;
  Report report_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  int missing_ = 0;
};

}  // namespace

int main(int argc, char** argv) try { return Run(parse(argc, argv), argv[0]).all(); } catch (const std::exception& e) {
  std::cerr << e.what() << '\n';
  return 2;
}
