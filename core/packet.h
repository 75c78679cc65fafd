// SPDX-License-Identifier: Apache-2.0
// N neighbours in memory as one access of up to 16 bytes; the address must be a multiple of the packet's size.
#pragma once
#include <cstdint>

#include "core/dtype.h"
#include "core/view.h"

namespace cuboid {

template <class T, int N>
struct alignas(sizeof(T) * N) Packet {
  T at[N];

  CUBOID_HD static Packet load(const T* from) { return *reinterpret_cast<const Packet*>(from); }
  CUBOID_HD void store(T* to) const { *reinterpret_cast<Packet*>(to) = *this; }
};

/// Elements of a 16-byte packet.
template <class T>
inline constexpr int packet_width = static_cast<int>(16 / sizeof(T));

/// True when a view without data, or with rows of `channels` elements that start at its pointer, is made of whole packets.
inline bool in_packets(const View& v, std::int64_t channels) {
  return channels * size_of(v.dtype) % 16 == 0 && reinterpret_cast<std::uintptr_t>(v.data) % 16 == 0;
}

}  // namespace cuboid
