// SPDX-License-Identifier: Apache-2.0
#include "apps/bench/cases.h"

#include <algorithm>
#include <fstream>

#include "apps/app.h"

namespace cuboid::bench {
namespace fs = std::filesystem;

Programs find_programs(const std::string& folder) {
  std::error_code error;
  const fs::path here = fs::read_symlink("/proc/self/exe", error).parent_path();
  const fs::path root = folder.empty() ? here / "bench" / "libtorch" : fs::path(folder);
  Programs p{root / "bench_cuboid_side", root / "bench_torch_side", here};
  check<DataError>(fs::exists(p.cuboid, error),
                   app::with_hint(p.cuboid.string() + ": no such program",
                                  "'./run bench' builds it; or cmake --build build/release, then --programs DIR"));
  if (!fs::exists(p.libtorch, error)) p.libtorch.clear();
  return p;
}

namespace {
Json listed(const fs::path& program) { return Json::parse(output_of({program.string(), "list"}), program.filename().string()); }
}  // namespace

std::vector<Case> find_cases(const Programs& programs) {
  std::vector<std::string> known;
  const Json ours = listed(programs.cuboid), theirs = programs.libtorch.empty() ? Json::array() : listed(programs.libtorch);
  for (const Json& c : theirs.as_array()) known.push_back(c.at("name").as_string());
  std::vector<Case> cases;
  for (const Json& c : ours.as_array()) {
    const std::string name = c.at("name").as_string();
    cases.push_back({name, c.at("title").as_string(), c.get("size", "small"),
                     std::find(known.begin(), known.end(), name) != known.end(), c.get("scaling_batch", std::int64_t{0}),
                     c.get("scaling_side", std::int64_t{0})});
  }
  return cases;
}

bool has_bf16() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("flags")) return line.find(" avx512_bf16") != line.npos;
  return false;
}

Words plain_environment(int threads) { return {"OMP_NUM_THREADS=" + std::to_string(threads), "OMP_PROC_BIND=true"}; }

Words own_environment(int threads) { return {"OMP_NUM_THREADS=" + std::to_string(threads)}; }
Words tuned_environment(int threads) {
  Words all = plain_environment(threads);
  all.push_back(
      "GLIBC_TUNABLES=glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=17179869184:"
      "glibc.malloc.top_pad=268435456");
  return all;
}

std::vector<Contender> contenders(const Programs& programs, const Case& c, const std::string& mode, const std::string& file,
                                  const ContenderOptions& options) {
  std::vector<Contender> all;
  for (const char* dtype : {"f32", "bf16"}) {
    if (dtype == std::string("bf16") && !options.bf16) continue;
    all.push_back({{.id = std::string("cuboid/") + dtype, .library = "cuboid", .dtype = dtype, .layout = "channels_last"},
                   {programs.cuboid.string(), "serve", c.name, mode, dtype, file},
                   own_environment(options.threads)});
  }
  if (!c.in_libtorch) return all;
  for (const bool tuned : {true, false})
    for (const std::string layout : {"contiguous", "channels_last"}) {
      if (!tuned && !options.untuned) continue;
      const std::string malloc = tuned ? "tuned" : "default";
      all.push_back(
          {{.id = "libtorch/" + layout + "/" + malloc, .library = "libtorch", .dtype = "f32", .layout = layout, .malloc = malloc},
           {programs.libtorch.string(), "serve", c.name, mode, layout, file},
           tuned ? tuned_environment(options.threads) : plain_environment(options.threads)});
    }
  return all;
}

}  // namespace cuboid::bench
