// SPDX-License-Identifier: Apache-2.0
#include "core/comm/socket.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <thread>

namespace cuboid::comm {
namespace {

constexpr char mark[] = "CUB1";
constexpr std::uint32_t longest = 1 << 24;

struct FreeAddresses {
  void operator()(addrinfo* a) const { freeaddrinfo(a); }
};
using Addresses = std::unique_ptr<addrinfo, FreeAddresses>;

Addresses resolve(const std::string& address, int port, int flags) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int status = getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found);
  check(status == 0, "ranks: the address '", address, "' means nothing here: ", gai_strerror(status));
  return Addresses(found);
}

void set(int fd, int level, int option) {
  const int on = 1;
  setsockopt(fd, level, option, &on, sizeof on);
}

/// Waits until the socket is ready; false when the time is over.
bool ready(int fd, short events, const Deadline& deadline) {
  for (;;) {
    pollfd p{fd, events, 0};
    const int n = poll(&p, 1, deadline.milliseconds());
    if (n > 0) return true;
    if (n < 0 && errno != EINTR) return false;
    if (deadline.passed()) return false;
  }
}

sockaddr_storage name_of(const Socket& socket, int (*ask)(int, sockaddr*, socklen_t*)) {
  sockaddr_storage name{};
  socklen_t length = sizeof name;
  ask(socket.fd(), reinterpret_cast<sockaddr*>(&name), &length);
  return name;
}
std::string numeric(const sockaddr_storage& name) {
  char text[NI_MAXHOST] = "";
  const socklen_t length = name.ss_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  getnameinfo(reinterpret_cast<const sockaddr*>(&name), length, text, sizeof text, nullptr, 0, NI_NUMERICHOST);
  return text;
}

/// recv or send until all is through.
template <class Call>
bool all(const Socket& socket, std::size_t bytes, short events, const Deadline& deadline, const Call& call) {
  std::size_t done = 0;
  while (done < bytes) {
    if (!ready(socket.fd(), events, deadline)) return false;
    const ssize_t n = call(done);
    if (n > 0) done += static_cast<std::size_t>(n);
    else if (n == 0 || (errno != EINTR && errno != EAGAIN)) return false;
  }
  return true;
}

}  // namespace

int Deadline::milliseconds(int most) const {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end_ - std::chrono::steady_clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left + 1, 0, most));
}

void Socket::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Socket listen_at(const std::string& address, int port) {
  const Addresses found = resolve(address, port, AI_PASSIVE);
  int error = 0;
  for (const addrinfo* a = found.get(); a; a = a->ai_next) {
    Socket s(socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol));
    set(s.fd(), SOL_SOCKET, SO_REUSEADDR);
    if (s && bind(s.fd(), a->ai_addr, a->ai_addrlen) == 0 && listen(s.fd(), SOMAXCONN) == 0) return s;
    error = errno;
  }
  fail("ranks: cannot listen at ", address, ":", port, ": ", std::strerror(error),
       error == EADDRINUSE ? "\nhint: another MASTER_PORT; or is another run's rank 0 still there?"
                           : "\nhint: MASTER_ADDR must be an address of rank 0's machine");
}

Socket connect_to(const std::string& address, int port, const Deadline& deadline) {
  for (;;) {
    const Addresses found = resolve(address, port, 0);
    for (const addrinfo* a = found.get(); a; a = a->ai_next) {
      Socket s(socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol));
      if (!s) continue;
      if (connect(s.fd(), a->ai_addr, a->ai_addrlen) != 0) {
        if (errno != EINPROGRESS || !ready(s.fd(), POLLOUT, deadline)) continue;
        int error = 0;
        socklen_t length = sizeof error;
        if (getsockopt(s.fd(), SOL_SOCKET, SO_ERROR, &error, &length) != 0 || error != 0) continue;
      }
      // On one machine a port nobody listens at can end up connected to itself.
      const sockaddr_storage here = name_of(s, getsockname), there = name_of(s, getpeername);
      if (std::memcmp(&here, &there, sizeof here) == 0) continue;
      set(s.fd(), IPPROTO_TCP, TCP_NODELAY);
      return s;
    }
    if (deadline.passed()) return Socket();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

Socket accept_from(const Socket& listener, const Deadline& deadline) {
  while (ready(listener.fd(), POLLIN, deadline)) {
    Socket s(accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!s) continue;
    set(s.fd(), IPPROTO_TCP, TCP_NODELAY);
    return s;
  }
  return Socket();
}

std::string local_address(const Socket& socket) { return numeric(name_of(socket, getsockname)); }
std::string peer_address(const Socket& socket) { return numeric(name_of(socket, getpeername)); }
int local_port(const Socket& socket) {
  const sockaddr_storage name = name_of(socket, getsockname);
  return ntohs(name.ss_family == AF_INET ? reinterpret_cast<const sockaddr_in&>(name).sin_port
                                         : reinterpret_cast<const sockaddr_in6&>(name).sin6_port);
}

bool write_all(const Socket& socket, const void* data, std::size_t bytes, const Deadline& deadline) {
  return all(socket, bytes, POLLOUT, deadline, [&](std::size_t done) {
    return send(socket.fd(), static_cast<const char*>(data) + done, bytes - done, MSG_NOSIGNAL | MSG_DONTWAIT);
  });
}
bool read_all(const Socket& socket, void* data, std::size_t bytes, const Deadline& deadline) {
  return all(socket, bytes, POLLIN, deadline,
             [&](std::size_t done) { return recv(socket.fd(), static_cast<char*>(data) + done, bytes - done, MSG_DONTWAIT); });
}

// ---- messages ----------------------------------------------------------------------------------

std::string packed(const Json& message) {
  const std::string text = message.dump();
  const auto length = static_cast<std::uint32_t>(text.size());
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), mark, 4);
  std::memcpy(bytes.data() + 4, &length, 4);
  return bytes + text;
}

bool send_message(const Socket& socket, const Json& message, const Deadline& deadline) {
  const std::string bytes = packed(message);
  return write_all(socket, bytes.data(), bytes.size(), deadline);
}

std::optional<Json> take_message(std::string& arrived) {
  if (arrived.size() < 8) return std::nullopt;
  std::uint32_t length = 0;
  std::memcpy(&length, arrived.data() + 4, 4);
  check(std::memcmp(arrived.data(), mark, 4) == 0 && length <= longest, "ranks: what arrives is no message of another rank");
  if (arrived.size() < 8 + length) return std::nullopt;
  Json message = Json::parse(arrived.substr(8, length), "a message of another rank");
  arrived.erase(0, 8 + length);
  return message;
}

std::optional<Json> receive_message(const Socket& socket, const Deadline& deadline) {
  std::string bytes(8, '\0');
  if (!read_all(socket, bytes.data(), 8, deadline)) return std::nullopt;
  try {
    if (auto empty = take_message(bytes)) return empty;
    std::uint32_t length = 0;
    std::memcpy(&length, bytes.data() + 4, 4);
    bytes.resize(8 + length);
    if (!read_all(socket, bytes.data() + 8, length, deadline)) return std::nullopt;
    return take_message(bytes);
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace cuboid::comm
