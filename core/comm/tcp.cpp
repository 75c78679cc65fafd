// SPDX-License-Identifier: Apache-2.0
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <map>

#include "core/comm/group.h"
#include "core/comm/wire.h"

namespace cuboid::comm {
namespace {

/// Goes before each transfer, so that ranks which do different things find out.
struct Header {
  std::uint64_t mark = 0x7465736e6f723163u, number = 0, bytes = 0;
};

/// One direction of one connection: the header, then the data.
struct Flow {
  int peer = 0, fd = -1;
  Header header;
  char* data = nullptr;
  std::size_t bytes = 0, done = 0;  // of header and data together
  bool finished() const { return done == sizeof(Header) + bytes; }
  /// What comes next, and how much of it lies together.
  std::pair<char*, std::size_t> rest() {
    if (done < sizeof(Header)) return {reinterpret_cast<char*>(&header) + done, sizeof(Header) - done};
    return {data + (done - sizeof(Header)), bytes - (done - sizeof(Header))};
  }
};

/// What the wires of one group share: connections of a later mesh may come before an earlier one is complete.
struct Meshes {
  std::shared_ptr<Watch> watch;
  std::map<std::pair<std::int64_t, std::int64_t>, Socket> early;  // by mesh and rank
  std::int64_t count = 0;
};

class TcpWire : public Wire {
 public:
  explicit TcpWire(std::shared_ptr<Meshes> meshes) : meshes_(std::move(meshes)), watch_(*meshes_->watch) {
    const std::int64_t mesh = meshes_->count++;
    const int me = watch_.rank(), n = watch_.size();
    sockets_.resize(static_cast<std::size_t>(n));
    const Deadline deadline(watch_.join_seconds());
    for (int to = me + 1; to < n; ++to) {
      const Peer& peer = watch_.peer(to);
      Socket s = connect_to(peer.address, peer.port, deadline);
      if (!s || !send_message(s, Json::object({{"kind", "data"}, {"mesh", mesh}, {"rank", me}}), deadline)) watch_.broken(to);
      sockets_[static_cast<std::size_t>(to)] = std::move(s);
    }
    for (int from = 0; from < me; ++from) sockets_[static_cast<std::size_t>(from)] = accept(mesh, from, deadline);
  }

  const char* name() const override { return "tcp"; }
  std::unique_ptr<Wire> another() override { return std::make_unique<TcpWire>(meshes_); }

  void exchange(const std::vector<Transfer>& sends, const std::vector<Transfer>& receives) override {
    watch_.check_all();
    ++number_;
    std::vector<Flow> out, in;
    const auto flow = [&](const Transfer& t) {
      return Flow{t.peer,
                  sockets_[static_cast<std::size_t>(t.peer)].fd(),
                  {.number = number_, .bytes = static_cast<std::uint64_t>(t.bytes)},
                  static_cast<char*>(t.data),
                  static_cast<std::size_t>(t.bytes)};
    };
    for (const Transfer& t : sends) out.push_back(flow(t));
    for (const Transfer& t : receives) in.push_back(flow(t));
    std::vector<pollfd> waiting;
    for (;;) {
      waiting.clear();
      for (Flow& f : out)
        if (!push(f)) waiting.push_back({f.fd, POLLOUT, 0});
      for (Flow& f : in)
        if (!pull(f)) waiting.push_back({f.fd, POLLIN, 0});
      if (waiting.empty()) return;
      if (poll(waiting.data(), waiting.size(), 100) <= 0) watch_.check_all();
    }
  }

 private:
  Socket accept(std::int64_t mesh, int from, const Deadline& deadline) {
    auto& early = meshes_->early;
    for (;;) {
      if (const auto found = early.find({mesh, from}); found != early.end()) {
        Socket s = std::move(found->second);
        early.erase(found);
        return s;
      }
      watch_.check_all();
      Socket s = accept_from(watch_.data(), Deadline(0.2));
      if (!s && deadline.passed()) watch_.broken(from);
      if (!s) continue;
      const auto hello = receive_message(s, Deadline(5));
      if (!hello || hello->get("kind", "") != "data") continue;  // a stranger
      early[{hello->at("mesh").as_int(), hello->at("rank").as_int()}] = std::move(s);
    }
  }

  /// Sends what the system takes; true when all is out.
  bool push(Flow& f) {
    while (!f.finished()) {
      const auto [data, bytes] = f.rest();
      const ssize_t n = send(f.fd, data, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n > 0) f.done += static_cast<std::size_t>(n);
      else if (n < 0 && errno == EAGAIN) return false;
      else if (!(n < 0 && errno == EINTR)) watch_.broken(f.peer);
    }
    return true;
  }
  bool pull(Flow& f) {
    while (!f.finished()) {
      const auto [data, bytes] = f.rest();
      const ssize_t n = recv(f.fd, data, bytes, MSG_DONTWAIT);
      if (n > 0) {
        f.done += static_cast<std::size_t>(n);
        if (f.done == sizeof(Header)) compare(f);
      } else if (n < 0 && errno == EAGAIN) {
        return false;
      } else if (!(n < 0 && errno == EINTR)) {
        watch_.broken(f.peer);
      }
    }
    return true;
  }
  void compare(const Flow& f) const {
    const Header expected{.number = number_, .bytes = f.bytes};
    check(f.header.mark == expected.mark && f.header.number == expected.number && f.header.bytes == expected.bytes,
          "ranks: ", watch_.name(f.peer), " sends ", f.header.bytes, " bytes in exchange ", f.header.number, ", rank ",
          watch_.rank(), " expects ", f.bytes, " in ", number_,
          "\nhint: all ranks must do the same steps with tensors of the same shape");
  }

  std::shared_ptr<Meshes> meshes_;
  Watch& watch_;
  std::vector<Socket> sockets_;
  std::uint64_t number_ = 0;
};

}  // namespace

std::unique_ptr<Wire> tcp_wire(std::shared_ptr<Watch> watch) {
  auto meshes = std::make_shared<Meshes>();
  meshes->watch = std::move(watch);
  return std::make_unique<TcpWire>(meshes);
}

}  // namespace cuboid::comm
