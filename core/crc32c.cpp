// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <bit>
#include <cstring>

#include "core/files.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace cuboid {
namespace {

/// table[k][b]: the remainder of byte b followed by k zero bytes ("slicing by 8").
constexpr auto make_tables() {
  std::array<std::array<std::uint32_t, 256>, 8> t{};
  for (std::uint32_t b = 0; b < 256; ++b) {
    std::uint32_t c = b;
    for (int bit = 0; bit < 8; ++bit) c = c >> 1 ^ (c & 1 ? 0x82F63B78u : 0u);
    t[0][b] = c;
  }
  for (std::size_t k = 1; k < 8; ++k)
    for (std::size_t b = 0; b < 256; ++b) t[k][b] = t[k - 1][b] >> 8 ^ t[0][t[k - 1][b] & 0xff];
  return t;
}
constexpr auto tables = make_tables();

std::uint32_t by_table(std::uint32_t c, const unsigned char* p, std::size_t n) {
  for (; n >= 8 && std::endian::native == std::endian::little; n -= 8, p += 8) {
    std::uint64_t w;
    std::memcpy(&w, p, 8);
    w ^= c;
    c = 0;
    for (std::size_t k = 0; k < 8; ++k) c ^= tables[7 - k][w >> 8 * k & 0xff];
  }
  for (; n; --n, ++p) c = c >> 8 ^ tables[0][(c ^ *p) & 0xff];
  return c;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) std::uint32_t by_instruction(std::uint32_t c, const unsigned char* p, std::size_t n) {
  std::uint64_t wide = c;
  for (; n >= 8; n -= 8, p += 8) {
    std::uint64_t w;
    std::memcpy(&w, p, 8);
    wide = _mm_crc32_u64(wide, w);
  }
  c = static_cast<std::uint32_t>(wide);
  for (; n; --n, ++p) c = _mm_crc32_u8(c, *p);
  return c;
}
#endif

}  // namespace

std::uint32_t crc32c(const void* data, std::size_t bytes, std::uint32_t so_far) {
  const auto* p = static_cast<const unsigned char*>(data);
#if defined(__x86_64__)
  static const bool fast = __builtin_cpu_supports("sse4.2");
  if (fast) return ~by_instruction(~so_far, p, bytes);
#endif
  return ~by_table(~so_far, p, bytes);
}

}  // namespace cuboid
