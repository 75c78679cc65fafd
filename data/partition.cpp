// SPDX-License-Identifier: Apache-2.0
#include "data/partition.h"

#include <algorithm>
#include <numeric>

namespace cuboid {
namespace {

using Counts = std::vector<std::vector<std::int64_t>>;

class Partition {
 public:
  Partition(const Counts& counts, const std::vector<double>& shares) : counts_(counts), part_of_(counts.size(), -1) {
    const std::size_t classes = counts.empty() ? 0 : counts[0].size();
    std::vector<double> total(classes, 0);
    for (const auto& row : counts)
      for (std::size_t c = 0; c < classes; ++c) total[c] += static_cast<double>(row[c]);
    have_.assign(shares.size(), std::vector<double>(classes, 0));
    for (const double share : shares) {
      target_.emplace_back();
      for (const double t : total) target_.back().push_back(share * t);
    }
  }

  /// Groups in `order`, each to the part where it helps most.
  void greedy(const std::vector<std::int64_t>& order) {
    for (const auto g : order) {
      int best = 0;
      for (int p = 1; p < parts(); ++p)
        if (gain(p, at(g)) < gain(best, at(g)) - tiny) best = p;
      put(at(g), best);
    }
  }

  /// Moves and exchanges until nothing improves.
  void improve() {
    const std::size_t n = part_of_.size();
    for (bool better = true; better;) {
      better = false;
      for (std::size_t g = 0; g < n; ++g)
        for (int p = 0; p < parts(); ++p)
          if (p != part_of_[g]) better |= attempt(part_of_[g], p, g, g, [&] { put(g, p); });
      if (n > 400) continue;  // many small groups: moves alone balance them
      for (std::size_t g = 0; g < n; ++g)
        for (std::size_t h = g + 1; h < n; ++h)
          if (part_of_[g] != part_of_[h])
            better |= attempt(part_of_[g], part_of_[h], g, h, [&] {
              const int pg = part_of_[g];
              put(g, part_of_[h]);
              put(h, pg);
            });
    }
  }

  double cost() const {
    double sum = 0;
    for (int p = 0; p < parts(); ++p) sum += cost(p);
    return sum;
  }
  const std::vector<int>& result() const { return part_of_; }

 private:
  static constexpr double tiny = 1e-12;
  static std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }
  int parts() const { return static_cast<int>(have_.size()); }

  double cost(int p) const {
    double sum = 0;
    for (std::size_t c = 0; c < have_[at(p)].size(); ++c) {
      const double want = target_[at(p)][c], have = have_[at(p)][c];
      if (want <= 0) continue;
      sum += (have - want) * (have - want) / want;  // relative to the class: rare ones count as much as common ones
      if (have == 0) sum += 1e6;
    }
    return sum;
  }
  void shift(int p, std::size_t g, double sign) {
    for (std::size_t c = 0; c < counts_[g].size(); ++c) have_[at(p)][c] += sign * static_cast<double>(counts_[g][c]);
  }
  void put(std::size_t g, int p) {
    if (part_of_[g] >= 0) shift(part_of_[g], g, -1);
    part_of_[g] = p;
    shift(p, g, 1);
  }
  double gain(int p, std::size_t g) {
    const double before = cost(p);
    shift(p, g, 1);
    const double after = cost(p);
    shift(p, g, -1);
    return after - before;
  }
  /// Keeps `change`, which touches parts a and b and groups g and h, when it lowers the cost.
  template <class Change>
  bool attempt(int a, int b, std::size_t g, std::size_t h, Change change) {
    const int pg = part_of_[g], ph = part_of_[h];
    const double before = cost(a) + cost(b);
    change();
    if (cost(a) + cost(b) < before - tiny * (1 + before)) return true;
    put(g, pg);
    if (h != g) put(h, ph);
    return false;
  }

  const Counts& counts_;
  std::vector<int> part_of_;
  std::vector<std::vector<double>> have_, target_;  // [part][class]
};

}  // namespace

std::vector<int> partition_groups(const Counts& counts, const std::vector<double>& shares, const RandomKey& key) {
  const auto n = static_cast<std::int64_t>(counts.size());
  std::vector<int> best;
  double lowest = 0;
  for (std::uint64_t start = 0; start < 16; ++start) {
    auto order = permutation(key.derive(start), n);
    const auto size = [&](std::int64_t g) {
      const auto& row = counts[static_cast<std::size_t>(g)];
      return std::accumulate(row.begin(), row.end(), std::int64_t{0});
    };
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return size(a) > size(b); });
    Partition partition(counts, shares);
    partition.greedy(order);
    partition.improve();
    const double cost = partition.cost();
    if (best.empty() || cost < lowest * (1 - 1e-9)) {
      best = partition.result();
      lowest = cost;
    }
  }
  return best;
}

}  // namespace cuboid
