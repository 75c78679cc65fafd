// SPDX-License-Identifier: Apache-2.0
// Whether all ranks are still there. Every rank but 0 holds a connection to rank 0, over which both give a sign of life every
// second; a process that dies closes it at once, one that hangs in the system or was stopped falls silent. Rank 0 tells the
// others who was lost.
#pragma once
#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "core/comm/rendezvous.h"

namespace cuboid::comm {

class Watch {
 public:
  /// `on_lost` is called once, from the thread that watches, with what error() would say.
  Watch(const Launch& launch, Membership members, std::function<void(const std::string&)> on_lost);
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  /// Says goodbye, so that the others do not take it for a loss.
  ~Watch();

  int rank() const { return rank_; }
  int size() const { return static_cast<int>(members_.peers.size()); }
  const Peer& peer(int rank) const { return members_.peers[static_cast<std::size_t>(rank)]; }
  const Socket& data() const { return members_.data; }
  double join_seconds() const { return join_seconds_; }
  /// "rank 1 (pid 4711, node7)"
  std::string name(int rank) const;

  /// Throws RankLost when a rank was lost.
  void check_all() const;
  bool lost() const { return lost_; }
  /// The data connection to `rank` broke: waits a moment for the reason, then throws RankLost.
  [[noreturn]] void broken(int rank);
  /// This rank leaves because of an error of its own: the goodbye will say so, and nobody here waits any longer.
  void failed();

 private:
  struct Line;
  void run();
  void hear(Line& line);
  void take(Line& line, const Json& message);
  void give_up(int rank, const std::string& how);
  void decide(const std::string& verdict);
  void tell(const Json& message, int except = -1);
  void wake();

  Membership members_;
  int rank_;
  double join_seconds_, silence_seconds_;
  std::function<void(const std::string&)> on_lost_;
  std::vector<Line> lines_;  // of the watching thread
  int wake_fd_;
  std::atomic<bool> stop_ = false, lost_ = false, failed_ = false;
  mutable std::mutex guard_;  // of verdict_ and left_
  mutable std::condition_variable decided_;
  std::string verdict_;
  std::vector<bool> left_;  // by rank: has said goodbye
  std::thread thread_;
};

}  // namespace cuboid::comm
