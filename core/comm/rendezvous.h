// SPDX-License-Identifier: Apache-2.0
// How the ranks meet: everyone comes to rank 0, which tells everyone who is there.
#pragma once
#include <vector>

#include "core/comm/launch.h"
#include "core/comm/socket.h"

namespace cuboid::comm {

struct Peer {
  std::int64_t pid = 0;
  std::string host;
  std::string address;  // where it listens for data
  int port = 0;
};

struct Membership {
  std::vector<Peer> peers;      // by rank
  std::vector<Socket> control;  // rank 0: one per rank (its own is closed); others: to rank 0
  Socket data;                  // where lower ranks come for data; rank 0 needs none
};

/// `listener`: rank 0's, at launch.address and launch.port; the others' is closed. Error that says who did not come in
/// launch.join_seconds, or whose idea of the run is another one.
Membership meet(const Launch& launch, const Socket& listener);

std::string host_name();

}  // namespace cuboid::comm
