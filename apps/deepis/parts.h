// SPDX-License-Identifier: Apache-2.0
// Which cases train, which validate, which are the test.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "core/json.h"
#include "data/labelled.h"

namespace cuboid::deepis {

struct Parts {
  std::vector<std::int64_t> train, valid, test;  // ascending
  std::string note;  // what a user must know: that there is no validation, or that training cases were taken for it

  /// {"train": [names...], "valid": ..., "test": ...}
  Json to_json(const LabelledDataset& dataset) const;
  /// One line for each: how many cases, and the first few names.
  std::string table(const LabelledDataset& dataset) const;
};

/// As the data says. Where it has no part for validation, about `share` of the training cases are held out, at least one, the
/// frames of one series together; with share 0 there is no validation. DataError without cases to train on.
Parts parts_of(const LabelledDataset& dataset, double share, std::uint64_t seed);

}  // namespace cuboid::deepis
