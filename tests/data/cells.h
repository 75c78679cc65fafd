// SPDX-License-Identifier: Apache-2.0
// Folders of small volumes for the tests of this room.
#pragma once
#include "core/random.h"
#include "core/tensor.h"
#include "data/dataset.h"
#include "data/formats/npy.h"
#include "tests/files.h"

namespace cuboid::test {

inline Tensor noise(const Shape& shape, std::uint64_t seed) {
  const Tensor t = empty(shape);
  float* p = t.mutable_data<float>();
  cuboid::Random random(RandomKey{.seed = seed});
  for (std::int64_t i = 0; i < t.size(); ++i) p[i] = static_cast<float>(random.uniform());
  return t;
}

/// cell_0.npy ... and labels.csv (label i % 2, patient i % 6), each cell of other noise.
inline void write_cells(const std::filesystem::path& folder, std::int64_t count, const Shape& shape = {4, 6, 8}) {
  std::string table = "file,label,group\n";
  for (std::int64_t i = 0; i < count; ++i) {
    const std::string name = join_text("cell_", i, ".npy");
    write_npy(folder / name, noise(shape, static_cast<std::uint64_t>(i)));
    table += join_text(name, ',', i % 2, ",P", i % 6, '\n');
  }
  spit(folder / "labels.csv", table);
}

/// Samples without files: for everything that looks at labels and patients only.
inline Dataset imagined(const std::vector<std::int64_t>& labels, const std::vector<std::string>& groups,
                        const std::vector<std::string>& classes) {
  std::vector<Sample> samples;
  for (std::size_t i = 0; i < labels.size(); ++i)
    samples.push_back(
        {.name = join_text("cell ", i), .file = "nowhere", .label = labels[i], .group = groups.empty() ? "" : groups[i]});
  return Dataset(std::move(samples), classes);
}

/// The text of the DataError that f throws; otherwise what happened instead.
template <class F>
std::string data_error(F&& f) {
  try {
    f();
  } catch (const DataError& e) {
    return e.what();
  } catch (const std::exception& e) {
    return std::string("not a DataError: ") + e.what();
  }
  return "no error";
}

}  // namespace cuboid::test

#define EXPECT_SAYS(text, ...)                                          \
  for (const std::string& said : std::vector<std::string>{__VA_ARGS__}) \
  EXPECT_NE((text).find(said), std::string::npos) << "'" << (text) << "' does not say '" << said << "'"
