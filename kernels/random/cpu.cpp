// SPDX-License-Identifier: Apache-2.0
#include "kernels/random/cpu.h"

#include <algorithm>

#include "core/parallel.h"

namespace cuboid::cpu {

namespace {

/// Offset in memory of row-major element i.
std::int64_t offset_of(const View& v, std::int64_t i) {
  std::int64_t offset = 0;
  for (int d = v.rank() - 1; d >= 0; --d) {
    offset += i % v.shape[d] * v.strides[d];
    i /= v.shape[d];
  }
  return offset;
}

}  // namespace

void draw(const Out& y, Draw d) {
  visit_floating(y.dtype, "random", [&]<class T>() {
    parallel_ranges(y.size(), 4096, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        y.as<T>()[offset_of(y, i)] = static_cast<T>(d.element(static_cast<std::uint64_t>(i)));
    });
  });
}

void draw_blocks(const Out& y, Draw d) {
  const std::int64_t size = y.size();
  visit_floating(y.dtype, "random", [&]<class T>() {
    parallel_ranges((size + 3) / 4, 4096, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t block = begin; block < end; ++block) {
        double v[4];
        d.block(static_cast<std::uint64_t>(block), v);
        const std::int64_t count = std::min<std::int64_t>(4, size - 4 * block);
        for (std::int64_t k = 0; k < count; ++k) y.as<T>()[4 * block + k] = static_cast<T>(v[k]);
      }
    });
  });
}

void dropout(const View& x, const Out& y, double p, RandomKey key) {
  visit_floating(x.dtype, "dropout", [&]<class T>() {
    const auto scale = static_cast<Accum<T>>(1 / (1 - p));
    parallel_ranges(x.size(), 4096, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const bool keep = random_uniform(key, static_cast<std::uint64_t>(i)) >= p;
        const auto v = static_cast<Accum<T>>(x.as<T>()[offset_of(x, i)]);
        y.as<T>()[offset_of(y, i)] = keep ? static_cast<T>(v * scale) : T{};
      }
    });
  });
}

void dropout_tiled(const View& x, const Out& y, double p, RandomKey key) {
  // A tile is 64 neighbours in space of all channels of one sample: in both memory orders it stays in the cache.
  constexpr std::int64_t tile = 64;
  const std::int64_t channels = x.shape[1], space = x.size() / (x.shape[0] * channels), tiles = (space + tile - 1) / tile;
  const bool last = !x.is(Layout::contiguous);
  const std::int64_t step = last ? channels : 1, channel_step = last ? 1 : space;
  visit_floating(x.dtype, "dropout", [&]<class T>() {
    const auto scale = static_cast<Accum<T>>(1 / (1 - p));
    parallel_for(x.shape[0] * tiles, [&](std::int64_t job) {
      const std::int64_t n = job / tiles, begin = job % tiles * tile, end = std::min(space, begin + tile);
      for (std::int64_t c = 0; c < channels; ++c) {
        const std::int64_t row = (n * channels + c) * space;  // index of the row's first element, row-major
        const T* from = x.as<T>() + n * channels * space + c * channel_step;
        T* to = y.as<T>() + n * channels * space + c * channel_step;
        for (std::int64_t s = begin; s < end;) {
          const std::int64_t i = row + s, block = i / 4;
          const Words4 words = key.block(static_cast<std::uint64_t>(block));
          for (std::int64_t k = i % 4; k < 4 && s < end; ++k, ++s) {
            const auto v = static_cast<Accum<T>>(from[s * step]);
            to[s * step] = to_unit(words.word[k]) >= p ? static_cast<T>(v * scale) : T{};
          }
        }
      }
    });
  });
}

}  // namespace cuboid::cpu
