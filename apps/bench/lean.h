// SPDX-License-Identifier: Apache-2.0
// What a program costs besides its steps: start-up, size on disk, compile time of a net's source file.
#pragma once
#include "apps/bench/cases.h"

namespace cuboid::bench {

struct LeanOptions {
  int starts = 15, compiles = 1, threads = 1;
  bool compile = true;
};

/// From execve to the first answer, page cache warm, the two sides in turns: one sample through the net `c` with its weights
/// read from `file`.
Figure startup(const Programs& programs, const Case& c, const std::string& file, const LeanOptions& options);

/// Stripped program and its shared libraries, without the C library's own. In MiB; and how many libraries.
std::vector<Figure> sizes(const Programs& programs, const std::filesystem::path& scratch);

/// Seconds of one compiler for the file that defines the DenseNet of each side, with the flags it was built with. Nothing when
/// compile_commands.json is not beside this program.
std::vector<Figure> compile_time(const Programs& programs, const std::filesystem::path& scratch, const LeanOptions& options);

/// The command of a compile_commands.json that compiles the file ending in `source`, its output sent to `to`, without ccache.
/// Empty when there is none.
std::string compile_command(const Json& commands, const std::string& source, const std::string& to);

/// Paths in the output of ldd, without those of the C library and the kernel.
std::vector<std::string> closure(const std::string& ldd_output);

}  // namespace cuboid::bench
