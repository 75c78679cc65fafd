// SPDX-License-Identifier: Apache-2.0
// Folds: which samples train, which stop the training, which are the test. Written with the seed and the dataset's
// fingerprint, so a fold can be trusted to mean the same cells later.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace cuboid {

/// grouped:    K folds; a patient is in one part of a fold only, each class spread as evenly as patients allow
/// stratified: K folds of single cells, each class within one cell of its share
/// legacy:     K independent shuffles cut 60/20/20, cell-wise and unstratified, as the original repository did
/// automatic:  grouped when the dataset has groups, else stratified
enum class SplitMethod { automatic, grouped, stratified, legacy };

struct SplitOptions {
  SplitMethod method = SplitMethod::automatic;
  std::int64_t folds = 0;  // 0: 10 for legacy, else 5, or fewer when a class has fewer patients (or cells)
  double valid = 0.2;      // share of what is not test (of everything for legacy)
  double test = 0.2;       // legacy only
  std::uint64_t seed = 42;
  bool allow_missing = false;  // more folds than patients of a class: a note instead of a DataError
};

struct Fold {
  std::vector<std::int64_t> train, valid, test;  // ascending dataset indices
};

struct Split {
  SplitMethod method = SplitMethod::stratified;
  std::uint64_t seed = 0;
  std::string fingerprint;
  std::vector<Fold> folds;
  std::vector<std::int64_t> held_out;  // samples of held-out patients, outside every fold
  std::vector<std::string> notes;      // what a reader should know: fewer folds, a validation part without a class
};

const char* name_of(SplitMethod method);
/// DataError for a name that is none.
SplitMethod split_method(const std::string& name);

/// The same seed gives the same split. DataError when a fold would lack a class: which class, how many patients, what to do.
Split make_split(const Dataset& dataset, const SplitOptions& options = {});

void write_split(const std::filesystem::path& file, const Split& split, const Dataset& dataset);
/// DataError when the file is not a split, was made for other data (both fingerprints), has indices out of range or one
/// sample twice in a fold.
Split read_split(const std::filesystem::path& file, const Dataset& dataset);

}  // namespace cuboid
