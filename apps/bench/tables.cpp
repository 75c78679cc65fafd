// SPDX-License-Identifier: Apache-2.0
// cuboid bench compare, cuboid bench table: what is done with results.
#include <iostream>

#include "apps/bench/compare.h"
#include "apps/bench/table.h"
#include "apps/commands.h"
#include "apps/text.h"
#include "core/files.h"

namespace cuboid::app {

int bench_compare(const Arguments& arguments) {
  std::vector<std::string> files;
  std::string limit = "5%";
  Common common;
  Options options("bench compare",
                  "Compares two results of 'cuboid bench', row by row. Exit code 1 when Cuboid has become slower somewhere.");
  options.other_commands(command_names());
  options.example("cuboid bench compare old.json new.json --fail-above 3%", "");
  options.positional("files", &files, "the old result and the new one").required();
  options.add("--fail-above", &limit, "slower by more than this, and the 95 % interval leaves no doubt");
  common.add(options);
  if (!parse_or_help(options, arguments)) return success;
  common.apply();
  if (common.dry_run) return std::cout << options.origin_table(), success;
  const double threshold = bench::threshold_of(limit);
  check<UsageError>(files.size() == 2, "bench compare needs two files, got ", files.size());
  const bench::Comparison c = bench::compare(bench::Result::read(files[0]), bench::Result::read(files[1]));
  for (const auto& w : c.warnings) std::cerr << "warning: " << w << '\n';
  std::size_t slower = 0;
  Json rows = Json::array();
  if (!common.json)
    std::cout << "| row | side | old ms | new ms | new / old [95 %] | memory | |\n|---|---|---|---|---|---|---|\n";
  for (const auto& change : c.changes) {
    const std::string verdict = change.slower(threshold) ? "SLOWER" : change.faster(threshold) ? "faster" : "";
    slower += change.slower(threshold);
    const double memory = change.old_mib > 0 ? change.new_mib / change.old_mib : 1;
    if (common.json)
      rows.push_back(Json::object({{"row", change.row},
                                   {"side", change.side},
                                   {"old_ms", change.old_ms},
                                   {"new_ms", change.new_ms},
                                   {"ratio", change.ratio.median},
                                   {"low", change.ratio.low},
                                   {"high", change.ratio.high},
                                   {"memory", memory},
                                   {"verdict", verdict}}));
    else
      std::cout << "| " << change.row << " | " << change.side << " | " << fixed(change.old_ms, 1) << " | "
                << fixed(change.new_ms, 1) << " | " << bench::ratio_text(change.ratio) << " | " << fixed(memory, 2) << " | "
                << verdict << " |\n";
  }
  if (common.json) std::cout << Json::object({{"threshold", threshold}, {"slower", slower}, {"rows", rows}}).dump(2) << '\n';
  else
    std::cout << '\n' << slower << " of " << c.changes.size() << " slower by more than " << fixed(100 * threshold, 1) << " %\n";
  return slower ? runtime_error : success;
}

int bench_table(const Arguments& arguments) {
  std::string result, write, look;
  bool full = false;
  Common common;
  Options options("bench table",
                  "Shows a result of 'cuboid bench' as a Markdown table, or puts it where a document has the place for it.");
  options.other_commands(command_names());
  options.example("cuboid bench table bench/results/cpu/bench.json --write README.md",
                  "between <!-- cuboid bench table summary --> and <!-- end of table -->");
  options.positional("result", &result, "what 'cuboid bench' wrote").required();
  options.add("--full", &full, "every side of every row");
  options.add("--write", &write, "rewrite the tables in this document");
  options.add("--check", &look, "exit code 1 when the tables in this document are not those of the result");
  common.add(options);
  if (!parse_or_help(options, arguments)) return success;
  common.apply();
  if (common.dry_run) return std::cout << options.origin_table(), success;
  check<UsageError>(write.empty() || look.empty(), "bench table: --write or --check, not both");
  const bench::Result r = bench::Result::read(result);
  if (write.empty() && look.empty()) {
    std::cout << (full ? bench::full_table(r) : bench::summary_table(r));
    return success;
  }
  const std::string document = write.empty() ? look : write, text = read_file(document);
  const std::string renewed = bench::with_tables(text, r, document);
  if (!write.empty()) {
    if (renewed != text) atomic_write(document, renewed);
    std::cout << document << (renewed == text ? ": is up to date\n" : ": table written\n");
    return success;
  }
  check(renewed == text,
        with_hint(document + ": its table is not the one of " + result, "cuboid bench table " + result + " --write " + document));
  return success;
}

}  // namespace cuboid::app
