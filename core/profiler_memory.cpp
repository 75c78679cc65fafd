// SPDX-License-Identifier: Apache-2.0
#include "core/profiler_memory.h"

#include <algorithm>
#include <map>
#include <mutex>

namespace cuboid::profiler {
namespace {

struct Block {
  std::int64_t bytes = 0;
  const char *op = "", *path = "";
};

/// A block begins or ends.
struct Change {
  double us;
  std::int64_t id;
  bool begins;
};

/// One device's blocks. The changes are folded into the report whenever there are many of them, so that a run of any length
/// needs little memory.
class Ledger {
 public:
  void begin(const void* p, std::int64_t bytes) {
    const Frame* at = here();
    const std::int64_t id = ++last_;
    blocks_[id] = {bytes, at && at->kernel ? at->kernel : "", at ? at->path : ""};
    living_[static_cast<const char*>(p)] = id;
    ++report_.allocations;
    note({now_us(), id, true});
  }
  void end(const void* p) {
    const auto found = living_.find(static_cast<const char*>(p));
    if (found == living_.end()) return;  // from before
    note({now_us(), found->second, false});
    living_.erase(found);
  }
  void own(const char* op, const void* data) {
    auto found = living_.upper_bound(static_cast<const char*>(data));
    if (found == living_.begin()) return;
    --found;
    Block& b = blocks_.at(found->second);
    if (!*b.op && static_cast<const char*>(data) < found->first + std::max<std::int64_t>(1, b.bytes)) b.op = op;
  }
  const MemoryReport& report() {
    fold();
    return report_;
  }

 private:
  void note(const Change& c) {
    changes_.push_back(c);
    if (changes_.size() >= 1 << 18) fold();
  }
  /// Twice through the changes: where the peak is, then who lives there.
  void fold() {
    std::int64_t bytes = base_bytes_, most = report_.peak;
    std::size_t peak_at = 0;
    for (std::size_t i = 0; i < changes_.size(); ++i) {
      const Change& c = changes_[i];
      bytes += c.begins ? blocks_.at(c.id).bytes : -blocks_.at(c.id).bytes;
      draw(c.us, bytes);
      if (bytes > most) most = bytes, peak_at = i + 1;
    }
    if (peak_at > 0) {
      std::map<std::int64_t, bool> there;
      for (const auto id : base_) there[id] = true;
      for (std::size_t i = 0; i < peak_at; ++i) there[changes_[i].id] = changes_[i].begins;
      std::map<std::pair<std::string, std::string>, MemoryOwner> owners;
      for (const auto& [id, alive] : there) {
        if (!alive) continue;
        const Block& b = blocks_.at(id);
        MemoryOwner& o = owners[{b.op, b.path}];
        o = {b.op, b.path, o.bytes + b.bytes, o.blocks + 1};
      }
      report_.peak = most;
      report_.peak_us = changes_[peak_at - 1].us;
      report_.owners.clear();
      for (auto& [key, owner] : owners) report_.owners.push_back(std::move(owner));
      std::stable_sort(report_.owners.begin(), report_.owners.end(),
                       [](const auto& a, const auto& b) { return a.bytes > b.bytes; });
    }
    changes_.clear();
    base_.clear();
    std::map<std::int64_t, Block> still;
    for (const auto& [p, id] : living_) {
      base_.push_back(id);
      still[id] = blocks_.at(id);
    }
    blocks_ = std::move(still);
    base_bytes_ = bytes;
  }
  /// A few thousand points for a run of any length: neighbours become one, the higher.
  void draw(double us, std::int64_t bytes) {
    auto& line = report_.timeline;
    if (line.empty() || us >= line.back().first + pitch_us_) line.emplace_back(us, bytes);
    else line.back().second = std::max(line.back().second, bytes);
    if (line.size() < 8192) return;
    std::size_t kept = 0;
    for (std::size_t i = 0; i + 1 < line.size(); i += 2)
      line[kept++] = {line[i].first, std::max(line[i].second, line[i + 1].second)};
    line.resize(kept);
    pitch_us_ = 2 * std::max(pitch_us_, (line.back().first - line.front().first) / 8192);
  }

  std::map<const char*, std::int64_t> living_;  // by address
  std::map<std::int64_t, Block> blocks_;        // all that the changes speak of, and the living
  std::vector<std::int64_t> base_;              // who lived before the changes
  std::vector<Change> changes_;
  std::int64_t last_ = 0, base_bytes_ = 0;
  double pitch_us_ = 0;
  MemoryReport report_;
};

std::mutex guard;
Ledger& ledger(Device device) {
  static auto& all = *new std::map<Device, Ledger>;
  return all[device];
}

}  // namespace

void watch_memory(bool want) {
  const std::scoped_lock lock(guard);
  if (!want) {
    detail::wishes &= ~static_cast<unsigned>(detail::memory);
    return;
  }
  if (!watches_memory())
    for (const Device device : {Device::cpu, Device::cuda}) ledger(device) = {};
  detail::wishes |= detail::memory;
}
void allocated(const void* block, std::int64_t bytes, Device device) {
  const std::scoped_lock lock(guard);
  ledger(device).begin(block, bytes);
}
void freed(const void* block, Device device) {
  const std::scoped_lock lock(guard);
  ledger(device).end(block);
}
void wrote(const char* op, const void* data, Device device) {
  const std::scoped_lock lock(guard);
  ledger(device).own(op, data);
}
MemoryReport memory_report(Device device) {
  const std::scoped_lock lock(guard);
  return ledger(device).report();
}

}  // namespace cuboid::profiler
