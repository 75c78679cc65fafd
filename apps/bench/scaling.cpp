// SPDX-License-Identifier: Apache-2.0
#include "apps/bench/scaling.h"

#include "apps/bench/measure.h"
#include "apps/text.h"

namespace cuboid::bench {

std::vector<Growth> growth_of(const Case& c, const std::string& mode, int threads) {
  std::vector<Growth> points;
  const auto add = [&](std::int64_t batch, std::int64_t side) {
    for (const int count : {1, threads})
      if (count == 1 || threads > 1) points.push_back({c.name, c.title.substr(0, c.title.find(',')), mode, batch, side, count});
  };
  if (c.scaling_side == 0) return points;
  for (const std::int64_t batch : {1, 2, 4, 8, 16}) add(batch, c.scaling_side);
  for (const std::int64_t side : {32, 48, 64, 80, 96})
    if (side != c.scaling_side || c.scaling_batch > 16) add(c.scaling_batch, side);
  return points;
}

void measure_growth(const Programs& programs, const std::filesystem::path& scratch, double seconds, std::vector<Growth>& points,
                    Json& versions, const std::function<void(const Growth&, double)>& tell) {
  const auto measure = [&](Growth& g) {
    const std::string file = scratch / join_text(g.net, "_", g.batch, "_", g.side, ".safetensors");
    if (!std::filesystem::exists(file))
      output_of({programs.cuboid.string(), "prepare", g.net, file, std::to_string(g.batch), std::to_string(g.side)});
    Child child({programs.cuboid.string(), "serve", g.net, g.mode, "f32", file}, own_environment(static_cast<int>(g.threads)));
    if (!versions.contains("cuboid")) versions["cuboid"] = Json::parse(child.ask("about"), g.net).at("version");
    child.ask("time 0");  // to warm up
    std::vector<double> ms = steps_of(child.ask("time 0"));
    for (const double more : steps_of(child.ask("time " + app::shortest(seconds)))) ms.push_back(more);
    child.ask("end");
    g.ms.insert(g.ms.end(), ms.begin(), ms.end());
    tell(g, median(ms));
  };
  for (auto g = points.begin(); g != points.end(); ++g) measure(*g);
  for (auto g = points.rbegin(); g != points.rend(); ++g) measure(*g);
}

}  // namespace cuboid::bench
