// SPDX-License-Identifier: Apache-2.0
// A folder of phantom pairs that every deepis command can use.
#pragma once
#include <filesystem>
#include <functional>

#include "data/phantom_pair.h"

namespace cuboid::deepis {

struct PhantomFolderOptions {
  std::filesystem::path output;  // must be empty or not exist
  PhantomPairOptions pairs;
  double valid = 0.1, test = 0.2;  // shares of the pairs, rounded; the frames of a pair stay together
  std::function<void(std::int64_t done, std::int64_t of)> progress;
};

struct PhantomFolderReport {
  std::int64_t volumes = 0, train = 0, valid = 0, test = 0, bytes = 0;
  std::filesystem::path dataset, truth;
};

/// "train", "valid" or "test" of pair i: the last pairs are the test set, those before them validate. With three pairs or more
/// each part whose share is above 0 has at least one.
std::string phantom_split(const PhantomFolderOptions& options, std::int64_t i);

/// Writes
///   dataset.json   spacing, head, labels, cases with their splits; how it was made
///   images/*.npy   f32 refractive index (1.337 = medium), (z,y,x)
///   labels/*.npy   u8: 0, 1 = cart19, 2 = k562
///   truth.csv      of each case, from its geometry: area of the synapse, volumes, mean refractive index, dry mass
PhantomFolderReport write_phantom(const PhantomFolderOptions& options);

}  // namespace cuboid::deepis
