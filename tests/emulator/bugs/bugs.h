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
