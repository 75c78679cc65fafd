// SPDX-License-Identifier: Apache-2.0
// The JSON form of a split.
#include <set>

#include "core/files.h"
#include "core/json.h"
#include "data/split.h"

namespace cuboid {
namespace {

using Indices = std::vector<std::int64_t>;

Indices read_indices(const Json& list, const Dataset& data, const std::string& where, std::set<std::int64_t>& seen) {
  Indices indices;
  for (const Json& item : list.as_array()) {
    const std::int64_t i = item.as_int();
    check<DataError>(i >= 0 && i < data.size(), where, ": index ", i, " of a dataset with ", data.size(), " samples");
    check<DataError>(seen.insert(i).second, where, ": sample ", i, " (", data[i].name, ") is there twice");
    indices.push_back(i);
  }
  return indices;
}

}  // namespace

void write_split(const std::filesystem::path& file, const Split& split, const Dataset& data) {
  Json json = Json::object({{"format", "cuboid split 1"},
                            {"method", name_of(split.method)},
                            {"seed", split.seed},
                            {"fingerprint", split.fingerprint},
                            {"samples", data.size()},
                            {"class_names", data.class_names()},
                            {"notes", split.notes},
                            {"held_out", split.held_out}});
  Json folds = Json::array();
  for (const Fold& fold : split.folds)
    folds.push_back(Json::object({{"train", fold.train}, {"valid", fold.valid}, {"test", fold.test}}));
  json["folds"] = std::move(folds);
  atomic_write(file, json.dump(-1) + "\n");
}

Split read_split(const std::filesystem::path& file, const Dataset& data) {
  const std::string name = file.string();
  const Json json = Json::parse(read_file(file), name);
  check<DataError>(json.is_object() && json.get("format", "") == "cuboid split 1", name,
                   ": not a split file (csf split writes them)");
  try {
    Split split;
    split.fingerprint = json.at("fingerprint").as_string();
    check<DataError>(split.fingerprint == data.fingerprint(), "made for other data: fingerprint ", split.fingerprint, ", ",
                     json.get("samples", 0), " samples; this data has ", data.fingerprint(), ", ", data.size(),
                     " samples. Split again, or give the data it was made for");
    split.method = split_method(json.at("method").as_string());
    split.seed = json.at("seed").as_uint();
    for (const Json& note : json.at("notes").as_array()) split.notes.push_back(note.as_string());
    std::set<std::int64_t> held_out;
    split.held_out = read_indices(json.at("held_out"), data, "held_out", held_out);
    for (const Json& entry : json.at("folds").as_array()) {
      const std::string where = join_text("fold ", split.folds.size() + 1);
      std::set<std::int64_t> seen = held_out;
      Fold fold;
      fold.train = read_indices(entry.at("train"), data, where, seen);
      fold.valid = read_indices(entry.at("valid"), data, where, seen);
      fold.test = read_indices(entry.at("test"), data, where, seen);
      check<DataError>(!fold.train.empty(), where, ": nothing to train on");
      split.folds.push_back(std::move(fold));
    }
    check<DataError>(!split.folds.empty(), "no folds");
    return split;
  } catch (const DataError& error) {
    throw DataError(name + ": " + error.what());
  }
}

}  // namespace cuboid
