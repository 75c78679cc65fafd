// SPDX-License-Identifier: Apache-2.0
#include "core/comm/rendezvous.h"

#include <unistd.h>

namespace cuboid::comm {
namespace {

constexpr double patience = 5;  // for a message of somebody who is connected

Json hello_of(const Launch& launch, const Socket& data) {
  return Json::object({{"kind", "hello"},
                       {"rank", launch.rank},
                       {"size", launch.size},
                       {"pid", static_cast<std::int64_t>(getpid())},
                       {"host", host_name()},
                       {"port", local_port(data)}});
}

std::string who(std::int64_t rank, std::int64_t pid, const std::string& host) {
  return join_text("rank ", rank, " (pid ", pid, ", ", host, ")");
}

[[noreturn]] void refuse(const Membership& all, const Socket& newcomer, const std::string& why) {
  const Json message = Json::object({{"kind", "refused"}, {"why", why}});
  for (const Socket& s : all.control)
    if (s) send_message(s, message, Deadline(1));
  send_message(newcomer, message, Deadline(1));
  fail(why);
}

void admit(const Launch& launch, Membership& all, Socket newcomer, const Json& hello) {
  const std::int64_t rank = hello.at("rank").as_int(), size = hello.at("size").as_int();
  const Peer peer{hello.at("pid").as_int(), hello.at("host").as_string(), peer_address(newcomer),
                  static_cast<int>(hello.at("port").as_int())};
  const std::string name = who(rank, peer.pid, peer.host);
  if (size != launch.size)
    refuse(all, newcomer,
           join_text("ranks: ", name, " was told of ", size, " processes, rank 0 of ", launch.size,
                     "\nhint: WORLD_SIZE must be the same everywhere"));
  if (rank < 1 || rank >= size) refuse(all, newcomer, join_text("ranks: ", name, " of ", size));
  const auto at = static_cast<std::size_t>(rank);
  if (all.control[at])
    refuse(all, newcomer,
           join_text("ranks: two processes say they are rank ", rank, ": ", who(rank, all.peers[at].pid, all.peers[at].host),
                     " and ", name));
  all.peers[at] = peer;
  all.control[at] = std::move(newcomer);
}

Membership gather(const Launch& launch, const Socket& listener) {
  const auto n = static_cast<std::size_t>(launch.size);
  Membership all;
  all.peers.resize(n);
  all.control.resize(n);
  all.peers[0] = {getpid(), host_name(), launch.address, 0};
  const Deadline deadline(launch.join_seconds);
  for (int missing = launch.size - 1; missing > 0;) {
    Socket newcomer = accept_from(listener, deadline);
    if (!newcomer) {
      std::string names;
      for (std::size_t r = 1; r < n; ++r)
        if (!all.control[r]) names += (names.empty() ? "" : ", ") + std::to_string(r);
      refuse(all, newcomer,
             join_text("ranks: rank ", names, " of ", n, " did not come to ", launch.address, ":", launch.port, " within ",
                       launch.join_seconds, " s\nhint: CUBOID_JOIN_SECONDS gives them more time"));
    }
    const auto hello = receive_message(newcomer, Deadline(patience));
    if (!hello || hello->get("kind", "") != "hello") continue;  // a stranger
    admit(launch, all, std::move(newcomer), *hello);
    --missing;
  }
  Json table = Json::object({{"kind", "table"}, {"peers", Json::array()}});
  for (const Peer& p : all.peers)
    table["peers"].push_back(Json::object({{"pid", p.pid}, {"host", p.host}, {"address", p.address}, {"port", p.port}}));
  for (std::size_t r = 1; r < n; ++r)
    check(send_message(all.control[r], table, Deadline(patience)),
          "ranks: ", who(static_cast<int>(r), all.peers[r].pid, all.peers[r].host), " went away before all had met");
  return all;
}

Membership come(const Launch& launch) {
  const std::string where = join_text(launch.address, ":", launch.port);
  const Deadline deadline(launch.join_seconds);
  Membership all;
  all.control.push_back(connect_to(launch.address, launch.port, deadline));
  const Socket& control = all.control[0];
  check(static_cast<bool>(control), "ranks: rank ", launch.rank, " finds nobody at ", where, " within ", launch.join_seconds,
        " s\nhint: is rank 0 running, and are MASTER_ADDR and MASTER_PORT the same everywhere?");
  all.data = listen_at(local_address(control), 0);
  check(send_message(control, hello_of(launch, all.data), deadline), "ranks: the process at ", where, " hung up");
  const auto answer = receive_message(control, deadline);
  check(answer.has_value(), "ranks: the process at ", where,
        deadline.passed() ? " said nothing in time" : " hung up before all ranks had met", "\nhint: is it rank 0 of this run?");
  if (answer->get("kind", "") == "refused") fail(answer->at("why").as_string());
  check(answer->get("kind", "") == "table", "ranks: the process at ", where, " is not rank 0 of a run");
  for (const Json& p : answer->at("peers").as_array())
    all.peers.push_back(
        {p.at("pid").as_int(), p.at("host").as_string(), p.at("address").as_string(), static_cast<int>(p.at("port").as_int())});
  check(all.peers.size() == static_cast<std::size_t>(launch.size), "ranks: rank 0 knows ", all.peers.size(), " processes, rank ",
        launch.rank, " was told of ", launch.size);
  return all;
}

}  // namespace

std::string host_name() {
  char name[256] = "";
  gethostname(name, sizeof name - 1);
  return name;
}

Membership meet(const Launch& launch, const Socket& listener) {
  return launch.rank == 0 ? gather(launch, listener) : come(launch);
}

}  // namespace cuboid::comm
