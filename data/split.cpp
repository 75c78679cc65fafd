// SPDX-License-Identifier: Apache-2.0
#include "data/split.h"

#include <algorithm>
#include <limits>
#include <map>
#include <set>

#include "core/random.h"
#include "data/partition.h"

namespace cuboid {
namespace {

using Indices = std::vector<std::int64_t>;
enum Stream : std::uint64_t { legacy_stream = 1, strata_stream, folds_stream, valid_stream };

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

/// The part of a dataset that folds are made of.
struct Pool {
  const Dataset& data;
  Indices cells;
  std::vector<std::string> groups;     // sorted names; each cell without one is a group of its own
  std::vector<std::int64_t> group_of;  // parallel to cells

  explicit Pool(const Dataset& d) : data(d) {
    std::map<std::string, std::int64_t> ids;
    for (std::int64_t i = 0; i < d.size(); ++i)
      if (!d[i].held_out) {
        check<DataError>(d[i].label >= 0, "split: ", d[i].name, " has no label");
        cells.push_back(i);
        ids.emplace(group_name(i), 0);
      }
    for (auto& [name, id] : ids) {
      id = static_cast<std::int64_t>(groups.size());
      groups.push_back(name);
    }
    for (const auto i : cells) group_of.push_back(ids.at(group_name(i)));
  }
  std::string group_name(std::int64_t i) const { return data[i].group.empty() ? "cell " + data[i].name : data[i].group; }

  /// Samples of each class in each group, counting only the cells at these positions of `cells`.
  std::vector<std::vector<std::int64_t>> counts(const Indices& positions) const {
    std::vector<std::vector<std::int64_t>> table(groups.size(), std::vector<std::int64_t>(at(data.classes()), 0));
    for (const auto p : positions) ++table[at(group_of[at(p)])][at(data[cells[at(p)]].label)];
    return table;
  }
  Indices all() const {
    Indices positions(cells.size());
    for (std::size_t i = 0; i < positions.size(); ++i) positions[i] = static_cast<std::int64_t>(i);
    return positions;
  }
};

/// The class with the fewest groups (or cells), and how many.
struct Rarest {
  std::int64_t label = 0, count = std::numeric_limits<std::int64_t>::max();
};
Rarest rarest(const std::vector<std::vector<std::int64_t>>& counts, std::int64_t classes, bool groups) {
  Rarest found;
  for (std::int64_t c = 0; c < classes; ++c) {
    std::int64_t n = 0;
    for (const auto& row : counts) n += groups ? (row[at(c)] > 0) : row[at(c)];
    if (n < found.count) found = {c, n};
  }
  return found;
}

/// How many folds the data carries; a note or an error where the wish and the data disagree.
std::int64_t choose_folds(const Pool& pool, const SplitOptions& o, bool grouped, std::vector<std::string>& notes) {
  const Rarest rare = rarest(pool.counts(pool.all()), pool.data.classes(), grouped);
  const char* unit = grouped ? (rare.count == 1 ? " patient (group)" : " patients (groups)") : " cells";
  const std::string who = join_text("class '", pool.data.class_names()[at(rare.label)], "' has ", rare.count, unit);
  check<DataError>(rare.count >= 2 || o.allow_missing, "split: ", who, ", and every fold needs one to test and one to train",
                   grouped ? "; split by cell (method stratified) if you accept that patients leak between parts" : "");
  const std::int64_t wanted = o.folds ? o.folds : std::min<std::int64_t>(5, std::max<std::int64_t>(2, rare.count));
  if (o.folds == 0 && wanted < 5) notes.push_back(join_text(wanted, " folds instead of 5: ", who));
  if (wanted > rare.count) {
    check<DataError>(o.allow_missing, "split: ", who, " for ", wanted,
                     " folds, so some fold would have none to test; use at most ", rare.count, " folds");
    notes.push_back(join_text(who, " for ", wanted, " folds: some test parts lack it"));
  }
  return wanted;
}

/// Deals the cells of each class out in turn; the next class goes on where the last one stopped, so that class counts and
/// part sizes both stay within one of even.
std::vector<int> deal(const Pool& pool, const Indices& positions, std::int64_t parts, const RandomKey& key) {
  std::vector<int> part(positions.size());
  std::int64_t next = 0;
  for (std::int64_t c = 0; c < pool.data.classes(); ++c) {
    Indices mine;
    for (std::size_t i = 0; i < positions.size(); ++i)
      if (pool.data[pool.cells[at(positions[i])]].label == c) mine.push_back(static_cast<std::int64_t>(i));
    Random(key.derive(static_cast<std::uint64_t>(c))).shuffle(mine);
    for (const auto i : mine) part[at(i)] = static_cast<int>(next++ % parts);
  }
  return part;
}

/// Marks about `share` of the positions as validation: whole groups, or cells of each class.
std::vector<bool> choose_valid(const Pool& pool, const Indices& positions, double share, bool grouped, const RandomKey& key) {
  std::vector<bool> valid(positions.size(), false);
  if (share <= 0) return valid;
  if (!grouped) {
    for (std::int64_t c = 0; c < pool.data.classes(); ++c) {
      Indices mine;
      for (std::size_t i = 0; i < positions.size(); ++i)
        if (pool.data[pool.cells[at(positions[i])]].label == c) mine.push_back(static_cast<std::int64_t>(i));
      Random(key.derive(static_cast<std::uint64_t>(c))).shuffle(mine);
      auto take = static_cast<std::int64_t>(static_cast<double>(mine.size()) * share + 0.5);
      if (mine.size() >= 2) take = std::clamp<std::int64_t>(take, 1, static_cast<std::int64_t>(mine.size()) - 1);
      for (std::int64_t i = 0; i < take && i < static_cast<std::int64_t>(mine.size()); ++i) valid[at(mine[at(i)])] = true;
    }
    return valid;
  }
  // Only groups that are here take part. A class of a single group stays in training: see the order of parts below.
  const auto table = pool.counts(positions);
  std::vector<std::vector<std::int64_t>> present;
  std::vector<std::int64_t> row_of(table.size(), -1);
  for (std::size_t g = 0; g < table.size(); ++g)
    if (std::any_of(table[g].begin(), table[g].end(), [](auto n) { return n > 0; })) {
      row_of[g] = static_cast<std::int64_t>(present.size());
      present.push_back(table[g]);
    }
  if (present.size() < 2) return valid;
  auto part = partition_groups(present, {1 - share, share}, key);
  for (std::int64_t c = 0; c < pool.data.classes(); ++c) {  // training must not lack what validation has
    bool trains = false;
    for (std::size_t g = 0; g < present.size(); ++g) trains |= part[g] == 0 && present[g][at(c)] > 0;
    for (std::size_t g = 0; g < present.size() && !trains; ++g)
      if (present[g][at(c)] > 0) {
        part[g] = 0;
        trains = true;
      }
  }
  for (std::size_t i = 0; i < positions.size(); ++i) valid[i] = part[at(row_of[at(pool.group_of[at(positions[i])])])] == 1;
  return valid;
}

void note_missing_classes(const Dataset& data, Split& split, bool strict) {
  for (std::size_t f = 0; f < split.folds.size(); ++f) {
    const Fold& fold = split.folds[f];
    const std::pair<const char*, const Indices*> parts[] = {{"train", &fold.train}, {"valid", &fold.valid}, {"test", &fold.test}};
    for (const auto& [name, indices] : parts) {
      if (indices->empty() && *name == 'v') continue;
      std::vector<bool> seen(at(data.classes()), false);
      for (const auto i : *indices) seen[at(data[i].label)] = true;
      for (std::int64_t c = 0; c < data.classes(); ++c)
        if (!seen[at(c)]) {
          const std::string text = join_text("fold ", f + 1, ": no '", data.class_names()[at(c)], "' in ", name);
          check<DataError>(!strict || *name == 'v', "split: ", text, "; use fewer folds");
          split.notes.push_back(text);
        }
    }
  }
}

}  // namespace

const char* name_of(SplitMethod method) {
  constexpr const char* names[] = {"automatic", "grouped", "stratified", "legacy"};
  return names[static_cast<int>(method)];
}

SplitMethod split_method(const std::string& name) {
  for (const auto m : {SplitMethod::automatic, SplitMethod::grouped, SplitMethod::stratified, SplitMethod::legacy})
    if (name == name_of(m)) return m;
  fail<DataError>("split: no method '", name, "' (automatic, grouped, stratified, legacy)");
}

Split make_split(const Dataset& data, const SplitOptions& o) {
  check<DataError>(data.has_labels(), "split: the data has no labels");
  check(o.valid >= 0 && o.valid < 1, "split: valid share ", o.valid, " is not within [0, 1)");
  check(o.folds >= 0 && o.folds <= 1000 && o.folds != 1, "split: ", o.folds, " folds; 2 to 1000 make sense");
  Split split;
  split.method = o.method != SplitMethod::automatic ? o.method
                 : data.has_groups()                ? SplitMethod::grouped
                                                    : SplitMethod::stratified;
  split.seed = o.seed;
  split.fingerprint = data.fingerprint();
  for (std::int64_t i = 0; i < data.size(); ++i)
    if (data[i].held_out) split.held_out.push_back(i);
  const bool grouped = split.method == SplitMethod::grouped;
  check<DataError>(!grouped || data.has_groups(), "split: method grouped needs a group (patient) for every sample");

  const Pool pool(data);
  const Indices everything = pool.all();
  const auto n = static_cast<std::int64_t>(pool.cells.size());
  if (split.method == SplitMethod::legacy) {
    check(o.test > 0 && o.test + o.valid < 1, "split: shares ", o.valid, " and ", o.test, " leave nothing to train");
    for (std::int64_t k = 0; k < (o.folds ? o.folds : 10); ++k) {
      const auto order = permutation({o.seed, legacy_stream, static_cast<std::uint64_t>(k)}, n);
      const auto share = [&](double part) { return static_cast<std::int64_t>(static_cast<double>(n) * part + 1e-9); };
      const std::int64_t train = share(1 - o.valid - o.test), valid = share(o.valid);
      Fold fold;
      for (std::int64_t i = 0; i < n; ++i)
        (i < train ? fold.train : i < train + valid ? fold.valid : fold.test).push_back(pool.cells[at(order[at(i)])]);
      split.folds.push_back(std::move(fold));
    }
  } else {
    const std::int64_t folds = choose_folds(pool, o, grouped, split.notes);
    std::vector<int> fold_of;
    if (grouped) {
      const auto part = partition_groups(
          pool.counts(everything), std::vector<double>(at(folds), 1.0 / static_cast<double>(folds)), {o.seed, folds_stream, 0});
      for (const auto g : pool.group_of) fold_of.push_back(part[at(g)]);
    } else {
      fold_of = deal(pool, everything, folds, {o.seed, strata_stream, 0});
    }
    for (std::int64_t k = 0; k < folds; ++k) {
      Fold fold;
      Indices rest;
      for (std::int64_t i = 0; i < n; ++i)
        if (fold_of[at(i)] == k) fold.test.push_back(pool.cells[at(i)]);
        else rest.push_back(i);
      const auto valid = choose_valid(pool, rest, o.valid, grouped, {o.seed, valid_stream, static_cast<std::uint64_t>(k)});
      for (std::size_t i = 0; i < rest.size(); ++i) (valid[i] ? fold.valid : fold.train).push_back(pool.cells[at(rest[i])]);
      split.folds.push_back(std::move(fold));
    }
  }
  for (auto& fold : split.folds)
    for (auto* part : {&fold.train, &fold.valid, &fold.test}) std::sort(part->begin(), part->end());
  note_missing_classes(data, split, split.method != SplitMethod::legacy && !o.allow_missing);
  return split;
}

}  // namespace cuboid
