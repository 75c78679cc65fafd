// SPDX-License-Identifier: Apache-2.0
// For the tests of readers: mutations of sound files, and how much memory reading them took.
#pragma once
#include <algorithm>
#include <fstream>
#include <string>

#include "core/random.h"
#include "tests/files.h"

namespace cuboid::test {

/// A few random edits of `bytes`, mostly within the first `hot` bytes, where the headers are.
inline std::string mutated(std::string bytes, std::uint64_t seed, std::size_t hot) {
  cuboid::Random random({.seed = 77, .step = seed});
  for (std::uint64_t n = 1 + random.below(4); n > 0 && !bytes.empty(); --n) {
    const std::size_t at = random.below(random.chance(0.8) ? std::min(hot, bytes.size()) : bytes.size());
    switch (random.below(6)) {
      case 0:
        bytes[at] = static_cast<char>(random.below(256));
        break;
      case 1:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.below(8)));
        break;
      case 2:
        bytes.erase(at, 1 + random.below(8));
        break;
      case 3:
        bytes.insert(at, bytes, random.below(bytes.size()), 1 + random.below(8));
        break;
      case 4:
        bytes.resize(at + 1);
        break;
      default:
        for (std::size_t i = at; i < std::min(bytes.size(), at + 4); ++i)
          bytes[i] = static_cast<char>(random.chance(0.5) ? 0xff : 0);
    }
  }
  return bytes;
}

/// The most memory this process has held since the last reset, in bytes.
inline std::int64_t peak_resident() {
  std::ifstream in("/proc/self/status");
  for (std::string word; in >> word;)
    if (word == "VmHWM:") {
      std::int64_t kib = 0;
      in >> kib;
      return kib * 1024;
    }
  return 0;
}
inline void reset_peak_resident() { std::ofstream("/proc/self/clear_refs") << "5"; }

/// What is read in this scope must not need more than 64 MiB. (Sanitizers keep freed memory, so they cannot tell.)
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool memory_can_be_measured = false;
#else
inline constexpr bool memory_can_be_measured = true;
#endif
class FrugalScope {
 public:
  FrugalScope() {
    reset_peak_resident();
    before_ = peak_resident();
  }
  ~FrugalScope() {
    if (memory_can_be_measured) {
      EXPECT_LE(peak_resident() - before_, std::int64_t{64} << 20) << "memory taken by a reader";
    }
  }

 private:
  std::int64_t before_;
};

/// Columns of an oracle table that have no quotes before the one wanted.
inline std::vector<std::string> cells(const std::string& line) {
  std::vector<std::string> all(1);
  for (const char c : line)
    if (c == ',') all.emplace_back();
    else if (c != '\r') all.back() += c;
  return all;
}

}  // namespace cuboid::test
