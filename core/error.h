// SPDX-License-Identifier: Apache-2.0
// Errors carry one clear line: what failed, where, and both sides of the disagreement.
#pragma once
#include <sstream>
#include <stdexcept>
#include <string>

namespace cuboid {

/// Any failure a caller can act on: wrong shapes, unreadable files, failed device calls.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Input data is at fault (a file, a label table, a checkpoint). The programs exit with code 3.
struct DataError : Error {
  using Error::Error;
};

/// An allocation did not fit; the text carries the figures. The process can go on.
struct OutOfMemory : Error {
  using Error::Error;
};

/// A device or its driver is missing or failed.
struct DeviceError : Error {
  using Error::Error;
};

/// Joins `parts` with operator<<.
template <class... Parts>
std::string join_text(const Parts&... parts) {
  std::ostringstream os;
  (os << ... << parts);
  return os.str();
}

template <class E = Error, class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  throw E(join_text(parts...));
}

/// Throws E when `ok` is false; the message is only built then.
template <class E = Error, class... Parts>
inline void check(bool ok, const Parts&... parts) {
  if (!ok) [[unlikely]]
    fail<E>(parts...);
}

}  // namespace cuboid
