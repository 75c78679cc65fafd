// SPDX-License-Identifier: Apache-2.0
// Bytes over MPI. Calls are never blocking ones: a rank that is lost must not hold the others in a wait that nobody can end.
// Two threads may be in here (the group's own and the one behind it), so each call takes a lock: MPI_THREAD_SERIALIZED will do.
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <ifaddrs.h>
#include <mpi.h>
#include <net/if.h>
#include <netdb.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "core/comm/group.h"
#include "core/comm/wire.h"

namespace cuboid::comm {
namespace {

std::mutex calls;

void call(int status, const char* what) {
  if (status == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(status, text, &length);
  fail("ranks: ", what, ": ", text);
}

/// The first address of this machine that others may reach; its own loopback when all ranks are here.
std::string own_address(int size) {
  const char* local = std::getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
  if (!local) local = std::getenv("MPI_LOCALNRANKS");
  if (local && std::atoi(local) == size) return "127.0.0.1";
  ifaddrs* all = nullptr;
  std::string found;
  if (getifaddrs(&all) == 0) {
    for (const ifaddrs* a = all; a && found.empty(); a = a->ifa_next) {
      if (!a->ifa_addr || a->ifa_addr->sa_family != AF_INET || (a->ifa_flags & IFF_LOOPBACK) || !(a->ifa_flags & IFF_UP))
        continue;
      char text[NI_MAXHOST] = "";
      getnameinfo(a->ifa_addr, sizeof(sockaddr_in), text, sizeof text, nullptr, 0, NI_NUMERICHOST);
      found = text;
    }
    freeifaddrs(all);
  }
  return found.empty() ? "127.0.0.1" : found;
}

/// Ends MPI with the process' last group, unless somebody is missing, for whom MPI_Finalize would wait.
struct Session {
  std::shared_ptr<Watch> watch;
  explicit Session(std::shared_ptr<Watch> w) : watch(std::move(w)) {}
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session() {
    if (!watch->lost()) MPI_Finalize();
  }
};

class MpiWire : public Wire {
 public:
  MpiWire(std::shared_ptr<Session> session, MPI_Comm from) : session_(std::move(session)), watch_(*session_->watch) {
    MPI_Request request;
    {
      const std::scoped_lock lock(calls);
      call(MPI_Comm_idup(from, &comm_, &request), "MPI_Comm_idup");
    }
    finish({request});
    MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
  }
  MpiWire(const MpiWire&) = delete;
  MpiWire& operator=(const MpiWire&) = delete;
  ~MpiWire() override {
    if (!watch_.lost()) MPI_Comm_free(&comm_);
  }
  const char* name() const override { return "mpi"; }
  std::unique_ptr<Wire> another() override { return std::make_unique<MpiWire>(session_, comm_); }

  void exchange(const std::vector<Transfer>& sends, const std::vector<Transfer>& receives) override {
    watch_.check_all();
    constexpr std::int64_t most = 1 << 30;  // MPI counts in int
    std::vector<MPI_Request> requests;
    const auto pieces = [&](const Transfer& t, const auto& start) {
      for (std::int64_t at = 0; at < t.bytes; at += most) {
        requests.emplace_back();
        start(static_cast<char*>(t.data) + at, static_cast<int>(std::min(most, t.bytes - at)), t.peer, &requests.back());
      }
    };
    {
      const std::scoped_lock lock(calls);
      for (const Transfer& t : receives)
        pieces(t, [&](char* data, int bytes, int peer, MPI_Request* r) {
          call(MPI_Irecv(data, bytes, MPI_BYTE, peer, 0, comm_, r), "MPI_Irecv");
        });
      for (const Transfer& t : sends)
        pieces(t, [&](char* data, int bytes, int peer, MPI_Request* r) {
          call(MPI_Isend(data, bytes, MPI_BYTE, peer, 0, comm_, r), "MPI_Isend");
        });
    }
    finish(std::move(requests));
  }

 private:
  void finish(std::vector<MPI_Request> requests) {
    for (int round = 0;; ++round) {
      int done = 0;
      {
        const std::scoped_lock lock(calls);
        call(MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, MPI_STATUSES_IGNORE), "MPI_Testall");
      }
      if (done) return;
      if (round < 200) std::this_thread::yield();
      else std::this_thread::sleep_for(std::chrono::microseconds(std::min(round, 1000)));
      watch_.check_all();
    }
  }

  std::shared_ptr<Session> session_;
  Watch& watch_;
  MPI_Comm comm_ = MPI_COMM_NULL;
};

}  // namespace

void mpi_start(Launch& launch) {
  int given = 0, started = 0;
  MPI_Initialized(&started);
  check(!started, "ranks: MPI was started before; one group per process");
  call(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &given), "MPI_Init_thread");
  check(given >= MPI_THREAD_SERIALIZED, "ranks: this MPI does not let two threads take turns");
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  MPI_Comm_rank(MPI_COMM_WORLD, &launch.rank);
  MPI_Comm_size(MPI_COMM_WORLD, &launch.size);
  if (launch.address.empty()) launch.address = launch.rank == 0 ? own_address(launch.size) : "";
}

std::string mpi_broadcast(const std::string& text) {
  char buffer[1024] = "";
  check(text.size() < sizeof buffer, "ranks: an address of ", text.size(), " characters");
  std::memcpy(buffer, text.data(), text.size());
  call(MPI_Bcast(buffer, sizeof buffer, MPI_CHAR, 0, MPI_COMM_WORLD), "MPI_Bcast");
  return buffer;
}

std::unique_ptr<Wire> mpi_wire(std::shared_ptr<Watch> watch) {
  return std::make_unique<MpiWire>(std::make_shared<Session>(std::move(watch)), MPI_COMM_WORLD);
}

}  // namespace cuboid::comm
