// SPDX-License-Identifier: Apache-2.0
#include "apps/training/report.h"

#include "apps/text.h"

namespace cuboid::training {

void add_provenance(app::Page& page, const app::RunFolder& run, const std::string& unit) {
  const Json manifest = run.read_json("manifest.json");
  page.section("How this was made");
  const Json& host = manifest.at("host");
  const auto row = [](const char* name, const std::string& value) {
    return std::vector<std::string>{name, "<code>" + app::html_escaped(value) + "</code>"};
  };
  std::vector<std::vector<std::string>> rows = {
      row("command", manifest.get("command", "")),
      row("version", manifest.get("cuboid", "")),
      row("compiler", manifest.get("compiler", "")),
      row("seed", std::to_string(manifest.get("seed", 0))),
      row("started", manifest.get("started", "")),
      row("processor", host.get("processor", "") + ", " + std::to_string(manifest.get("threads", 0)) + " threads")};
  if (const Json* data = manifest.find("data"))
    rows.push_back(row("data", data->get("path", "") + "  (" + std::to_string(data->get(unit, 0)) + " " + unit +
                                   ", fingerprint " + data->get("fingerprint", "") + ")"));
  if (const Json* seconds = manifest.find("seconds"); seconds && seconds->is_number())
    rows.push_back(row("time", app::duration_text(seconds->as_double())));
  if (const Json* peak = manifest.find("peak_memory_bytes"))
    rows.push_back(row("peak memory", app::bytes_text(peak->as_double())));
  page.panels({{app::Page::table({"", ""}, rows), ""}});
  page.html("<details><summary>every option (run.toml)</summary><pre>" + app::html_escaped(run.read_text("run.toml")) +
            "</pre></details>\n");
  page.html("<details><summary>manifest</summary><pre>" + app::html_escaped(manifest.dump(2)) + "</pre></details>\n");
}

}  // namespace cuboid::training
