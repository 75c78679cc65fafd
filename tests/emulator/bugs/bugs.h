// SPDX-License-Identifier: Apache-2.0
// Seeded bugs: kernels, and host code around them, with a mistake chosen by a template argument; 0 is the sound version.
// table.cpp runs them all and says which the emulator caught. A detector that has died fails the test.
#pragma once
#include <vector>

#include "tests/emulator/buffer.h"
#include "tests/emulator/where.h"

namespace cuboid::test {

struct Bug {
  const char* name;
  bool (*run)();            // whether the results are right; throws what the emulator finds
  bool plain_finds = true;  // the plain build notices as well, over its seeds; the check build always does
};
struct Family {
  const char* name;
  std::vector<Bug> sound;  // nothing may be found in these
  std::vector<Bug> bugs;
};

/// c = a b to the last bit: a is rows by depth, b depth by columns, of small whole numbers.
inline bool is_product(const std::vector<float>& c, const std::vector<float>& a, const std::vector<float>& b, std::size_t rows,
                       std::size_t columns) {
  const std::size_t depth = a.size() / rows;
  for (std::size_t i = 0; i < rows; ++i)
    for (std::size_t j = 0; j < columns; ++j) {
      float sum = 0;
      for (std::size_t k = 0; k < depth; ++k) sum += a[i * depth + k] * b[k * columns + j];
      if (c[i * columns + j] != sum) return false;
    }
  return true;
}

Family reductions();      // reductions.cu: shuffles and barriers
Family copies();          // copies.cu: a matrix product whose tiles come by cp.async
Family tensor_cores();    // tensor_cores.cu: ldmatrix and mma
Family pipelines();       // pipelines.cu: TMA, mbarriers, wgmma
Family scatters();        // scatters.cu: atomics, indices, vector accesses
Family memories();        // memories.cu: what may be read, written, overflowed
Family configurations();  // configurations.cu: launches, grids, clusters, named barriers
Family streams();         // streams.cu: what the host forgets to wait for
Family lifetimes();       // lifetimes.cu: memory used too long, given back too early

}  // namespace cuboid::test
