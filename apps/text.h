// SPDX-License-Identifier: Apache-2.0
// Small text helpers of the programs: numbers for people, and the closest word to a mistyped one.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cuboid::app {

/// Fixed number of decimals: fixed(0.98765, 3) = "0.988"; "nan" stays "nan".
std::string fixed(double value, int decimals);
/// The shortest text that reads back as the same double: "0.0001", "1e-09".
std::string shortest(double value);
/// "1.5 GiB", "640 B".
std::string bytes_text(double bytes);
/// "8.2 s", "3 min 20 s", "2 h 05 min".
std::string duration_text(double seconds);
/// 18525826 -> "18,525,826".
std::string grouped(std::int64_t value);

/// Insertions, deletions, changes and swaps of neighbours that turn a into b.
int edit_distance(std::string_view a, std::string_view b);
/// The word of `known` that `typed` most likely meant; empty when none is near.
std::string closest(std::string_view typed, const std::vector<std::string>& known);
/// "; did you mean 'train'?" or nothing.
std::string did_you_mean(std::string_view typed, const std::vector<std::string>& known);

/// Runs of digits compare as numbers: "t2" before "t10".
bool natural_less(std::string_view a, std::string_view b);

std::vector<std::string> split(std::string_view text, char separator);
std::string join(const std::vector<std::string>& words, std::string_view separator);

}  // namespace cuboid::app
