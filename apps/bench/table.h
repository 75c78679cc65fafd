// SPDX-License-Identifier: Apache-2.0
// Markdown of a result, and the place in a document where it stands:
//   <!-- cuboid bench table summary -->   or   full   or   scaling
//   ... written by the tool ...
//   <!-- end of table -->
#pragma once
#include "apps/bench/result.h"

namespace cuboid::bench {

/// A line per net and type of Cuboid's against the fastest LibTorch; then start-up, size and compile time; then where it was
/// measured.
std::string summary_table(const Result& result);
/// Every side of every row, with what was dropped and how far the numbers agree.
std::string full_table(const Result& result);

/// How the cost grows with batch, volume and threads; empty when that was not measured.
std::string scaling_table(const Result& result);

/// `text` with every marked place rewritten. DataError when there is none, or one has no end; `source` names it.
std::string with_tables(const std::string& text, const Result& result, const std::string& source);

/// "0.512 [0.487, 0.550]".
std::string ratio_text(const Interval& ratio);

}  // namespace cuboid::bench
