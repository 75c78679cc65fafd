// SPDX-License-Identifier: Apache-2.0
#include "core/comm/exchange.h"

#include <algorithm>
#include <cstring>

#include "core/parallel.h"

namespace cuboid::comm {
namespace {

constexpr std::int64_t small = 1 << 15;       // bytes: everyone gets everything, in one round
constexpr std::int64_t at_once = 64LL << 20;  // bytes of a large sum: what the workspace is made for

/// to[i] = sum over parts in their order.
template <class T>
void add_in_order(const std::vector<const T*>& parts, T* to, std::int64_t count) {
  constexpr std::int64_t block = 1024;
  parallel_ranges(count, 1 << 16, [&](std::int64_t begin, std::int64_t end) {
    Accum<T> sums[block];
    for (std::int64_t at = begin; at < end; at += block) {
      const std::int64_t n = std::min(block, end - at);
      for (std::int64_t i = 0; i < n; ++i) sums[i] = static_cast<Accum<T>>(parts[0][at + i]);
      for (std::size_t p = 1; p < parts.size(); ++p)
        for (std::int64_t i = 0; i < n; ++i) sums[i] = static_cast<Accum<T>>(sums[i] + static_cast<Accum<T>>(parts[p][at + i]));
      for (std::int64_t i = 0; i < n; ++i) to[at + i] = static_cast<T>(sums[i]);
    }
  });
}

/// Each rank adds one stretch of all ranks' data and sends the result round.
template <class T>
void sum_by_stretches(Wire& wire, Place place, T* data, std::int64_t count) {
  const auto start = [&](int rank) { return count * rank / place.size; };
  const auto length = [&](int rank) { return start(rank + 1) - start(rank); };
  const auto bytes = [&](int rank) { return length(rank) * static_cast<std::int64_t>(sizeof(T)); };
  const std::int64_t mine = length(place.rank);
  const Scratch<T> others(mine * (place.size - 1));
  std::vector<Transfer> out, in;
  std::vector<const T*> parts;
  for (int r = 0; r < place.size; ++r) {
    if (r == place.rank) {
      parts.push_back(data + start(r));
      continue;
    }
    T* part = others.data() + static_cast<std::int64_t>(in.size()) * mine;
    parts.push_back(part);
    out.push_back({r, data + start(r), bytes(r)});
    in.push_back({r, part, bytes(place.rank)});
  }
  wire.exchange(out, in);
  add_in_order<T>(parts, data + start(place.rank), mine);
  out.clear();
  in.clear();
  for (int r = 0; r < place.size; ++r) {
    if (r == place.rank) continue;
    out.push_back({r, data + start(place.rank), bytes(place.rank)});
    in.push_back({r, data + start(r), bytes(r)});
  }
  wire.exchange(out, in);
}

template <class T>
void sum_at_once(Wire& wire, Place place, T* data, std::int64_t count) {
  const Scratch<T> all(count * place.size);
  gather_all(wire, place, data, all.data(), count * static_cast<std::int64_t>(sizeof(T)));
  std::vector<const T*> parts;
  for (int r = 0; r < place.size; ++r) parts.push_back(all.data() + r * count);
  add_in_order<T>(parts, data, count);
}

}  // namespace

void sum_over(Wire& wire, Place place, void* data, std::int64_t count, DType dtype) {
  visit(dtype, [&]<class T>() {
    const std::int64_t most = at_once / size_of(dtype);
    for (std::int64_t begin = 0; begin < count; begin += most) {
      const std::int64_t n = std::min(most, count - begin);
      T* at = static_cast<T*>(data) + begin;
      if (n * size_of(dtype) <= small) sum_at_once(wire, place, at, n);
      else sum_by_stretches(wire, place, at, n);
    }
  });
}

void copy_from(Wire& wire, Place place, int root, void* data, std::int64_t bytes) {
  std::vector<Transfer> out;
  if (place.rank != root) return wire.exchange({}, {{root, data, bytes}});
  for (int r = 0; r < place.size; ++r)
    if (r != root) out.push_back({r, data, bytes});
  wire.exchange(out, {});
}

void gather_all(Wire& wire, Place place, const void* mine, void* all, std::int64_t bytes) {
  std::vector<Transfer> out, in;
  char* to = static_cast<char*>(all);
  for (int r = 0; r < place.size; ++r) {
    if (r == place.rank) continue;
    out.push_back({r, const_cast<void*>(mine), bytes});
    in.push_back({r, to + r * bytes, bytes});
  }
  std::memcpy(to + place.rank * bytes, mine, static_cast<std::size_t>(bytes));
  wire.exchange(out, in);
}

}  // namespace cuboid::comm
