// SPDX-License-Identifier: Apache-2.0
// SHA-256 (FIPS 180-4): the oracles beside the sample data are digests.
#pragma once
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>

namespace cuboid::test {

inline std::string sha256(std::string_view data) {
  // The constants are the first 32 bits of the fractional parts of roots of the first primes.
  std::array<std::uint32_t, 64> k{};
  std::array<std::uint32_t, 8> h{};
  const auto fraction = [](long double root) {
    return static_cast<std::uint32_t>(std::floor((root - std::floor(root)) * 4294967296.0L));
  };
  for (int prime = 2, n = 0; n < 64; ++prime) {
    bool divisible = false;
    for (int d = 2; d * d <= prime; ++d) divisible = divisible || prime % d == 0;
    if (divisible) continue;
    k[static_cast<std::size_t>(n)] = fraction(std::cbrt(static_cast<long double>(prime)));
    if (n < 8) h[static_cast<std::size_t>(n)] = fraction(std::sqrt(static_cast<long double>(prime)));
    ++n;
  }
  std::string text(data);
  text += '\x80';
  text.append((120 - text.size() % 64) % 64, '\0');
  for (int i = 7; i >= 0; --i) text += static_cast<char>(std::uint64_t{data.size()} * 8 >> 8 * i & 0xff);
  for (std::size_t at = 0; at < text.size(); at += 64) {
    std::array<std::uint32_t, 64> w{};
    for (std::size_t i = 0; i < 64; ++i) w[i / 4] |= std::uint32_t{static_cast<unsigned char>(text[at + i])} << (24 - i % 4 * 8);
    for (std::size_t i = 16; i < 64; ++i)
      w[i] = w[i - 16] + w[i - 7] + (std::rotr(w[i - 15], 7) ^ std::rotr(w[i - 15], 18) ^ w[i - 15] >> 3) +
             (std::rotr(w[i - 2], 17) ^ std::rotr(w[i - 2], 19) ^ w[i - 2] >> 10);
    auto s = h;
    for (std::size_t i = 0; i < 64; ++i) {
      const auto t1 = s[7] + (std::rotr(s[4], 6) ^ std::rotr(s[4], 11) ^ std::rotr(s[4], 25)) + ((s[4] & s[5]) ^ (~s[4] & s[6])) +
                      k[i] + w[i];
      const auto t2 =
          (std::rotr(s[0], 2) ^ std::rotr(s[0], 13) ^ std::rotr(s[0], 22)) + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
      s = {t1 + t2, s[0], s[1], s[2], s[3] + t1, s[4], s[5], s[6]};
    }
    for (std::size_t i = 0; i < 8; ++i) h[i] += s[i];
  }
  std::string hex;
  for (const std::uint32_t word : h)
    for (int i = 28; i >= 0; i -= 4) hex += "0123456789abcdef"[word >> i & 15];
  return hex;
}

}  // namespace cuboid::test
