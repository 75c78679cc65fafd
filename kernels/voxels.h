// SPDX-License-Identifier: Apache-2.0
// A tensor N,C,[[D,]H,]W as the kernels of a device see it: by coordinates, in any memory order.
#pragma once
#include "core/packet.h"

namespace cuboid {

/// Missing dimensions are in front and have size 1.
template <class T>
struct Voxels {
  T* data;
  std::int64_t sample, channel, axis[3] = {};  // strides in elements

  explicit Voxels(const View& v) : data(v.as<T>()), sample(v.stride(0)), channel(v.stride(1)) {
    for (int i = 1; i <= v.rank() - 2; ++i) axis[3 - i] = v.stride(v.rank() - i);
  }
  CUBOID_HD T* at(std::int64_t n, std::int64_t c) const { return data + n * sample + c * channel; }
  CUBOID_HD std::int64_t offset(std::int64_t d, std::int64_t h, std::int64_t w) const {
    return d * axis[0] + h * axis[1] + w * axis[2];
  }
};

/// True when the channels of every voxel are whole packets of 16 bytes.
inline bool channels_in_packets(const View& v) {
  if (v.rank() < 3 || v.stride(1) != 1 || !in_packets(v, v.dim(1))) return false;
  for (int d = 0; d < v.rank(); ++d)
    if (d != 1 && v.dim(d) > 1 && v.stride(d) * size_of(v.dtype) % 16 != 0) return false;
  return true;
}

// What a thread takes, and what counts the threads: one element, or a packet of channels.
struct OneByOne {
  template <class T>
  static constexpr int width() {
    return 1;
  }
  using Index = std::int64_t;
};
struct InPackets {
  template <class T>
  static constexpr int width() {
    return packet_width<T>;
  }
  using Index = int;
};
inline bool packets_fit(const View& a, const View& b) {
  const auto fits = [](const View& v) { return channels_in_packets(v) && v.bytes() / 16 < (1LL << 31) - (1 << 20); };
  return fits(a) && fits(b);
}

/// Cuts the last coordinate off a number that counts through several.
template <class I>
CUBOID_HD I take(I& rest, I size) {
  const I q = rest / size, last = rest - q * size;
  rest = q;
  return last;
}

}  // namespace cuboid
