// SPDX-License-Identifier: Apache-2.0
// TCP between ranks: sockets that close themselves, waits that end, messages of JSON.
#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include "core/json.h"

namespace cuboid::comm {

class Deadline {
 public:
  explicit Deadline(double seconds)
      : end_(std::chrono::steady_clock::now() + std::chrono::microseconds(static_cast<std::int64_t>(seconds * 1e6))) {}
  bool passed() const { return std::chrono::steady_clock::now() >= end_; }
  /// For poll(), at most `most`.
  int milliseconds(int most = 1000) const;

 private:
  std::chrono::steady_clock::time_point end_;
};

class Socket {
 public:
  Socket() = default;
  explicit Socket(int fd) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Socket() { close(); }
  void close();
  int fd() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

/// Port 0: any free one. Error when the address is not of this machine or the port is in use.
Socket listen_at(const std::string& address, int port);
/// Tries again while nobody listens there; closed when the time is over.
Socket connect_to(const std::string& address, int port, const Deadline& deadline);
/// Closed when the time is over.
Socket accept_from(const Socket& listener, const Deadline& deadline);

std::string local_address(const Socket& socket);
std::string peer_address(const Socket& socket);
int local_port(const Socket& socket);

/// All of it, or false: the other end is gone, or the time is over.
bool write_all(const Socket& socket, const void* data, std::size_t bytes, const Deadline& deadline);
bool read_all(const Socket& socket, void* data, std::size_t bytes, const Deadline& deadline);

// ---- messages ----------------------------------------------------------------------------------
/// Eight bytes (a mark and the length) and the JSON text.
std::string packed(const Json& message);
bool send_message(const Socket& socket, const Json& message, const Deadline& deadline);
/// Nothing: no message of ours came in time.
std::optional<Json> receive_message(const Socket& socket, const Deadline& deadline);
/// Takes the first message out of what has arrived; nothing while it is not complete. Error: this is no message of ours.
std::optional<Json> take_message(std::string& arrived);

}  // namespace cuboid::comm
