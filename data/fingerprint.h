// SPDX-License-Identifier: Apache-2.0
// 16 hex digits that change when a dataset does: FNV-1a, 64 bits, mixed once more at the end.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace cuboid {

class Fingerprint {
 public:
  void add(std::string_view text) {
    for (const char c : text) step(static_cast<unsigned char>(c));
    step(0xff);  // not a UTF-8 byte: separates the fields
  }
  void add(std::int64_t value) { add(std::to_string(value)); }
  /// The file's size; -1 when it is missing.
  void add_size(const std::filesystem::path& file) {
    std::error_code missing;
    const auto bytes = std::filesystem::file_size(file, missing);
    add(missing ? -1 : static_cast<std::int64_t>(bytes));
  }
  std::string text() const {
    std::uint64_t x = state_;
    x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdu;
    x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53u;
    x ^= x >> 33;
    std::string hex;
    for (int shift = 60; shift >= 0; shift -= 4) hex += "0123456789abcdef"[(x >> shift) & 15];
    return hex;
  }

 private:
  void step(unsigned char byte) { state_ = (state_ ^ byte) * 0x100000001b3u; }
  std::uint64_t state_ = 0xcbf29ce484222325u;
};

}  // namespace cuboid
