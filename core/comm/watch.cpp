// SPDX-License-Identifier: Apache-2.0
#include "core/comm/watch.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "core/comm/group.h"

namespace cuboid::comm {

/// One control connection.
struct Watch::Line {
  int rank;
  const Socket* socket;
  std::string arrived;
  double silent = 0;  // seconds
  bool open = true;
};

Watch::Watch(const Launch& launch, Membership members, std::function<void(const std::string&)> on_lost)
    : members_(std::move(members)),
      rank_(launch.rank),
      join_seconds_(launch.join_seconds),
      silence_seconds_(launch.silence_seconds),
      on_lost_(std::move(on_lost)),
      wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      left_(members_.peers.size()) {
  for (std::size_t i = 0; i < members_.control.size(); ++i)
    if (members_.control[i]) lines_.push_back({static_cast<int>(i), &members_.control[i], {}});
  thread_ = std::thread([this] { run(); });
}

Watch::~Watch() {
  stop_ = true;
  wake();
  thread_.join();
  ::close(wake_fd_);
}

void Watch::wake() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(wake_fd_, &one, sizeof one);
}

std::string Watch::name(int rank) const {
  const Peer& p = peer(rank);
  return join_text("rank ", rank, " (pid ", p.pid, ", ", p.host, ")");
}

void Watch::check_all() const {
  if (!lost_) return;
  const std::scoped_lock lock(guard_);
  throw RankLost(verdict_);
}

void Watch::broken(int rank) {
  bool left = false;
  {
    std::unique_lock lock(guard_);
    decided_.wait_for(lock, std::chrono::seconds(3), [&] { return lost_ || left_[static_cast<std::size_t>(rank)]; });
    left = left_[static_cast<std::size_t>(rank)];
  }
  if (!lost_)
    decide(name(rank) + (left ? " has ended while this one still waits for it" : " was lost: its data connection broke"));
  check_all();
  fail<RankLost>(name(rank), " was lost");
}

void Watch::failed() {
  {
    const std::scoped_lock lock(guard_);
    if (lost_) return;
    verdict_ = "ranks: " + name(rank_) + " has left";
    failed_ = true;
    lost_ = true;
  }
  decided_.notify_all();
}

void Watch::decide(const std::string& verdict) {
  {
    const std::scoped_lock lock(guard_);
    if (lost_) return;
    verdict_ = "ranks: " + verdict;
    lost_ = true;
  }
  decided_.notify_all();
  if (on_lost_) on_lost_(verdict_);
}

void Watch::give_up(int rank, const std::string& how) {
  const std::string verdict = name(rank) + " was lost: " + how;
  if (rank_ == 0) tell(Json::object({{"kind", "lost"}, {"what", verdict}}), rank);
  decide(verdict);
}

void Watch::tell(const Json& message, int except) {
  const std::string bytes = packed(message);
  for (const Line& line : lines_)  // what does not fit into the system's buffer is for somebody who does not listen
    if (line.open && line.rank != except) send(line.socket->fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

void Watch::take(Line& line, const Json& message) {
  const std::string kind = message.get("kind", "");
  if (kind == "lost") return decide(message.at("what").as_string());
  if (kind == "failed") {
    const std::string verdict = name(line.rank) + " failed; its own message says why";
    if (rank_ == 0) tell(Json::object({{"kind", "lost"}, {"what", verdict}}), line.rank);
    return decide(verdict);
  }
  if (kind != "bye") return;
  line.open = false;
  {
    const std::scoped_lock lock(guard_);
    left_[static_cast<std::size_t>(line.rank)] = true;
  }
  decided_.notify_all();
}

void Watch::hear(Line& line) {
  char buffer[4096];
  for (;;) {
    const ssize_t n = recv(line.socket->fd(), buffer, sizeof buffer, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) break;
    if (n <= 0) {
      line.open = false;
      return give_up(line.rank, "its connection closed (killed, or its machine is gone)");
    }
    line.silent = 0;
    line.arrived.append(buffer, static_cast<std::size_t>(n));
    try {
      while (const auto message = take_message(line.arrived)) take(line, *message);
    } catch (const Error&) {
      line.open = false;
      return give_up(line.rank, "it sends nonsense");
    }
    if (!line.open) return;
  }
}

void Watch::run() {
  using Seconds = std::chrono::duration<double>;
  const double beat = std::min(1.0, silence_seconds_ / 4);
  const Json alive = Json::object({{"kind", "beat"}});
  auto last = std::chrono::steady_clock::now();
  double since_beat = beat;
  std::vector<pollfd> fds;
  while (!stop_) {
    fds.assign(1, {wake_fd_, POLLIN, 0});
    for (const Line& line : lines_)
      if (line.open) fds.push_back({line.socket->fd(), POLLIN, 0});
    poll(fds.data(), fds.size(), std::max(10, static_cast<int>(beat * 250)));
    const auto now = std::chrono::steady_clock::now();
    // A longer gap means that this process itself was stopped; it must not blame the others for that.
    const double passed = std::min(Seconds(now - last).count(), beat);
    last = now;
    for (Line& line : lines_) {
      if (!line.open) continue;
      line.silent += passed;
      hear(line);
      if (line.open && line.silent > silence_seconds_) {
        line.open = false;
        give_up(line.rank, join_text("no sign of life for ", silence_seconds_, " s (stopped, or cut off)"));
      }
    }
    if ((since_beat += passed) >= beat) {
      since_beat = 0;
      tell(alive);
    }
  }
  tell(Json::object({{"kind", failed_ ? "failed" : "bye"}}));
}

}  // namespace cuboid::comm
