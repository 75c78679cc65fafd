// SPDX-License-Identifier: Apache-2.0
// Sums over any axes. Either the fastest dimension of x is summed (rows: many lanes along a row, folded at its end) or it
// is kept (columns: one lane per kept element, rows added to it). Every lane adds at most `lane_terms` numbers before it
// is folded into a wider sum; work is cut into chunks of about `chunk` elements whose sums are added in order.
#include "core/strided.h"
#include "kernels/reduce/cpu.h"

namespace cuboid::reduce::cpu {
namespace {

constexpr std::int64_t chunk = 1 << 16, lane_terms = 1024, column_tile = 1024;

/// Lanes of f32 meet in f64; f64 and integers (which wrap) stay what they are.
template <class T>
using Lane = std::conditional_t<std::is_integral_v<T>, std::uint64_t, Accum<T>>;
template <class T>
using Total = std::conditional_t<std::is_integral_v<T>, std::uint64_t, double>;

template <class T>
T scaled(Total<T> total, double scale) {
  if constexpr (std::is_integral_v<T>) return static_cast<T>(total);
  else return static_cast<T>(total * scale);
}

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// x's dimensions, slowest first, parted into kept and reduced ones and merged where they lie densely.
struct Split {
  Shape kept, reduced;
  Strides kept_x, kept_y, reduced_x;
  bool inner_reduced = false;  // the fastest dimension

  Split(const View& x, const View& y) {
    const auto order = by_stride(x.strides);
    for (int k = 0; k < x.rank(); ++k) {
      const int d = order[static_cast<std::size_t>(k)];
      if (x.shape[d] == 1) continue;
      inner_reduced = y.shape[d] == 1;
      if (inner_reduced) {
        if (!reduced.empty() && reduced_x[-1] == x.strides[d] * x.shape[d]) {
          reduced[-1] *= x.shape[d];
          reduced_x[-1] = x.strides[d];
        } else {
          reduced.push_back(x.shape[d]);
          reduced_x.push_back(x.strides[d]);
        }
      } else if (!kept.empty() && kept_x[-1] == x.strides[d] * x.shape[d] && kept_y[-1] == y.strides[d] * x.shape[d]) {
        kept[-1] *= x.shape[d];
        kept_x[-1] = x.strides[d];
        kept_y[-1] = y.strides[d];
      } else {
        kept.push_back(x.shape[d]);
        kept_x.push_back(x.strides[d]);
        kept_y.push_back(y.strides[d]);
      }
    }
    if (reduced.empty()) reduced = reduced_x = {1};
  }
};

Shape without_last(const Shape& s) { return Shape(std::span(s.begin(), static_cast<std::size_t>(s.rank() - 1))); }

// ---- the fastest dimension is summed -----------------------------------------------------------

template <class T>
Total<T> sum_row(const T* p, std::int64_t n, std::int64_t step) {
  constexpr std::int64_t lanes = 32;
  Total<T> total = 0;
  std::int64_t i = 0;
  if (step == 1) {
    while (n - i >= lanes) {
      Lane<T> lane[lanes] = {};
      const std::int64_t end = i + std::min((n - i) / lanes, lane_terms) * lanes;
      for (; i < end; i += lanes)
        for (std::int64_t j = 0; j < lanes; ++j) lane[j] += static_cast<Lane<T>>(p[i + j]);
      for (std::int64_t width = lanes / 2; width > 4; width /= 2)
        for (std::int64_t j = 0; j < width; ++j) lane[j] += lane[j + width];
      for (std::int64_t j = 0; j < 8; ++j) total += static_cast<Total<T>>(lane[j]);
    }
  }
  while (i < n) {
    Lane<T> lane = 0;
    for (const std::int64_t end = std::min(n, i + lane_terms); i < end; ++i) lane += static_cast<Lane<T>>(p[i * step]);
    total += static_cast<Total<T>>(lane);
  }
  return total;
}

template <class T>
void sum_rows(const Split& s, const View& x, const Out& y, double scale) {
  const std::int64_t outputs = s.kept.count(), length = s.reduced[-1], step = s.reduced_x[-1];
  const Shape outer = without_last(s.reduced);
  const std::int64_t pieces = ceil_div(length, chunk), rows = outer.count() * pieces;
  const std::int64_t rows_per_chunk = std::max<std::int64_t>(1, chunk / std::min(length, chunk));
  const std::int64_t chunks = ceil_div(rows, rows_per_chunk);

  const auto chunk_sum = [&](const T* base, std::int64_t c) {
    Total<T> total = 0;
    const std::int64_t first = c * rows_per_chunk, last = std::min(rows, first + rows_per_chunk);
    Odometer<1> at(outer, {s.reduced_x}, first / pieces);
    for (std::int64_t r = first; r < last; ++r) {
      const std::int64_t start = r % pieces * chunk;
      total += sum_row(base + at.offsets()[0] + start * step, std::min(chunk, length - start), step);
      if (start + chunk >= length) at.next();
    }
    return total;
  };
  if (chunks == 1) {
    parallel_ranges(outputs, std::max<std::int64_t>(1, chunk / s.reduced.count()), [&](std::int64_t begin, std::int64_t end) {
      Odometer<2> at(s.kept, {s.kept_x, s.kept_y}, begin);
      for (std::int64_t o = begin; o < end; ++o, at.next()) {
        const T* base = x.as<T>() + at.offsets()[0];
        y.as<T>()[at.offsets()[1]] = scaled<T>(rows == 1 ? sum_row(base, length, step) : chunk_sum(base, 0), scale);
      }
    });
    return;
  }
  const Scratch<Total<T>> parts(outputs * chunks);
  parallel_for(outputs * chunks, [&](std::int64_t i) {
    const Odometer<1> at(s.kept, {s.kept_x}, i / chunks);
    parts[i] = chunk_sum(x.as<T>() + at.offsets()[0], i % chunks);
  });
  Odometer<1> at(s.kept, {s.kept_y}, 0);
  for (std::int64_t o = 0; o < outputs; ++o, at.next()) {
    Total<T> total = 0;
    for (std::int64_t c = 0; c < chunks; ++c) total += parts[o * chunks + c];
    y.as<T>()[at.offsets()[0]] = scaled<T>(total, scale);
  }
}

// ---- the fastest dimension is kept -------------------------------------------------------------

/// sums[j] += the sum over `rows` of p[row * row_step + j]; j < n <= column_tile, dense columns.
template <class T>
void add_dense_rows(const T* p, std::int64_t rows, std::int64_t row_step, std::int64_t n, Total<T>* sums) {
  Lane<T> lane[column_tile];
  for (std::int64_t r = 0; r < rows;) {
    const std::int64_t count = std::min(rows - r, lane_terms);
    std::fill_n(lane, n, Lane<T>{0});
    std::int64_t k = 0;
    for (; k + 4 <= count; k += 4) {  // four rows at a time: a quarter of the traffic to the lanes
      const T* p0 = p + (r + k) * row_step;
      const T *p1 = p0 + row_step, *p2 = p1 + row_step, *p3 = p2 + row_step;
      for (std::int64_t j = 0; j < n; ++j)
        lane[j] += (static_cast<Lane<T>>(p0[j]) + static_cast<Lane<T>>(p1[j])) +
                   (static_cast<Lane<T>>(p2[j]) + static_cast<Lane<T>>(p3[j]));
    }
    for (; k < count; ++k) {
      const T* q = p + (r + k) * row_step;
      for (std::int64_t j = 0; j < n; ++j) lane[j] += static_cast<Lane<T>>(q[j]);
    }
    for (std::int64_t j = 0; j < n; ++j) sums[j] += static_cast<Total<T>>(lane[j]);
    r += count;
  }
}

template <class T>
void add_rows(const T* p, std::int64_t rows, std::int64_t row_step, std::int64_t n, std::int64_t step, Total<T>* sums) {
  if (step != 1) {
    for (std::int64_t j = 0; j < n; ++j) sums[j] += sum_row(p + j * step, rows, row_step);
    return;
  }
  constexpr std::int64_t wide = 64;
  if (row_step == n && n <= wide / 2 && rows > 1) {  // a few channels: several rows side by side make one long row
    const std::int64_t together = std::min(wide / n, rows), width = n * together, whole = rows / together;
    Total<T> folded[wide] = {};
    add_dense_rows(p, whole, width, width, folded);
    for (std::int64_t j = 0; j < width; ++j) sums[j % n] += folded[j];
    p += whole * width;
    rows -= whole * together;
  }
  add_dense_rows(p, rows, row_step, n, sums);
}

template <class T>
void sum_columns(const Split& s, const View& x, const Out& y, double scale) {
  const std::int64_t columns = s.kept[-1], step_x = s.kept_x[-1], step_y = s.kept_y[-1];
  const Shape outer = without_last(s.kept), outer_reduced = without_last(s.reduced);
  const std::int64_t tiles = ceil_div(columns, column_tile), tile = std::min(columns, column_tile);
  const std::int64_t length = s.reduced[-1], rows = s.reduced.count();
  const std::int64_t rows_per_chunk = std::max<std::int64_t>(1, chunk / tile), chunks = ceil_div(rows, rows_per_chunk);
  const std::int64_t tasks = outer.count() * tiles;

  /// Sums of tile t of output row o over chunk c.
  const auto add_chunk = [&](std::int64_t o, std::int64_t t, std::int64_t c, Total<T>* sums) {
    const Odometer<1> at(outer, {s.kept_x}, o);
    const T* base = x.as<T>() + at.offsets()[0] + t * column_tile * step_x;
    const std::int64_t n = std::min(column_tile, columns - t * column_tile);
    std::fill_n(sums, n, Total<T>{0});
    const std::int64_t last = std::min(rows, (c + 1) * rows_per_chunk);
    Odometer<1> run(outer_reduced, {s.reduced_x}, c * rows_per_chunk / length);
    for (std::int64_t r = c * rows_per_chunk; r < last; run.next()) {
      const std::int64_t first = r % length, count = std::min(length - first, last - r);
      add_rows(base + run.offsets()[0] + first * s.reduced_x[-1], count, s.reduced_x[-1], n, step_x, sums);
      r += count;
    }
  };
  const auto write = [&](std::int64_t o, std::int64_t t, const Total<T>* sums) {
    const Odometer<1> at(outer, {s.kept_y}, o);
    T* to = y.as<T>() + at.offsets()[0] + t * column_tile * step_y;
    const std::int64_t n = std::min(column_tile, columns - t * column_tile);
    for (std::int64_t j = 0; j < n; ++j) to[j * step_y] = scaled<T>(sums[j], scale);
  };
  if (chunks == 1) {
    parallel_ranges(tasks, std::max<std::int64_t>(1, chunk / (tile * rows)), [&](std::int64_t begin, std::int64_t end) {
      Total<T> sums[column_tile];
      for (std::int64_t i = begin; i < end; ++i) {
        add_chunk(i / tiles, i % tiles, 0, sums);
        write(i / tiles, i % tiles, sums);
      }
    });
    return;
  }
  const Scratch<Total<T>> parts(tasks * chunks * tile);
  parallel_for(tasks * chunks, [&](std::int64_t i) {
    const std::int64_t task = i / chunks;
    add_chunk(task / tiles, task % tiles, i % chunks, parts.data() + i * tile);
  });
  parallel_for(tasks, [&](std::int64_t task) {
    Total<T>* total = parts.data() + task * chunks * tile;
    const std::int64_t n = std::min(column_tile, columns - task % tiles * column_tile);
    for (std::int64_t c = 1; c < chunks; ++c)
      for (std::int64_t j = 0; j < n; ++j) total[j] += total[c * tile + j];
    write(task / tiles, task % tiles, total);
  });
}

}  // namespace

void sum(const View& x, const Out& y, const double& scale) {
  const Split split(x, y);
  visit(x.dtype, [&]<class T>() {
    if (split.inner_reduced || split.kept.empty()) sum_rows<T>(split, x, y, scale);
    else sum_columns<T>(split, x, y, scale);
  });
}

}  // namespace cuboid::reduce::cpu
