// SPDX-License-Identifier: Apache-2.0
// What can be measured here: the programs beside this one, the nets they know, the sides of each row.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "apps/bench/child.h"
#include "apps/bench/result.h"

namespace cuboid::bench {

/// The two programs that do the work. The second is empty where LibTorch was not found when they were built.
struct Programs {
  std::filesystem::path cuboid, libtorch, build;  // build: the folder with compile_commands.json
};
/// Looks in `folder`, or beside this program when it is empty. DataError with a hint when Cuboid's side is not there.
Programs find_programs(const std::string& folder);

/// A net with its input, as Cuboid's side lists it.
struct Case {
  std::string name, title;
  std::string size = "small";  // "large": not with --quick; "heavy": only with --all or a filter; "test": only by a filter
  bool in_libtorch = false;
  std::int64_t scaling_batch = 0, scaling_side = 0;  // while the other grows; 0: its growth is not measured
};
std::vector<Case> find_cases(const Programs& programs);

/// A side of a row and how to start it.
struct Contender {
  Side side;
  Words command, environment;
};
struct ContenderOptions {
  int threads = 1;
  bool bf16 = false;    // Cuboid in bf16 as well
  bool untuned = true;  // LibTorch with glibc's allocator as it is as well
};
/// Cuboid first. `file` holds weights and inputs.
std::vector<Contender> contenders(const Programs& programs, const Case& c, const std::string& mode, const std::string& file,
                                  const ContenderOptions& options);

/// True where the processor multiplies bf16 by itself.
bool has_bf16();
/// Both sides get the same threads, LibTorch's bound to processors.
Words plain_environment(int threads);
Words own_environment(int threads);
/// And glibc keeps its memory: no page is mapped and unmapped at every operation.
Words tuned_environment(int threads);

}  // namespace cuboid::bench
