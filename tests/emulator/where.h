// SPDX-License-Identifier: Apache-2.0
// Places in kernel source, the emulator's exception, and the one way a device thread stops with an error.
#pragma once
#include <ostream>
#include <string>

#include "core/error.h"

namespace cuboid::emulator {

/// A line of source. A defaulted argument `Where at = Where::current()` is the caller's, without a macro in kernel code.
struct Where {
  const char* file = "";
  unsigned line = 0;
  static constexpr Where current(const char* file = __builtin_FILE(), unsigned line = __builtin_LINE()) { return {file, line}; }
  friend bool operator==(const Where&, const Where&) = default;
};
/// "conv.cu:28": the file without its folders.
std::ostream& operator<<(std::ostream& os, Where at);

/// What a launch, a copy or a synchronisation throws. `kind` is one word for tests ("race", "deadlock", "global-bounds");
/// what() names the kernel, block and thread.
struct Error : DeviceError {
  Error(std::string which, const std::string& text) : DeviceError("emulator: " + which + ": " + text), kind(std::move(which)) {}
  std::string kind;
};

/// In a device thread: gives up the launch, which then throws Error from where the host waits. On the host: throws it.
[[noreturn]] void stop_with(const char* kind, const std::string& text);
template <class... Parts>
[[noreturn]] void stop(const char* kind, const Parts&... parts) {
  stop_with(kind, join_text(parts...));
}

}  // namespace cuboid::emulator
