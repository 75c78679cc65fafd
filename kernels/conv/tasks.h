// SPDX-License-Identifier: Apache-2.0
// What blocks of `contract` work on: a convolution or the gradient of its input (ConvTask), the gradient of its weights
// (WeightTask), a product of matrices (MatmulTask).
#pragma once
#include "kernels/conv/contract.h"
#include "kernels/conv/gather.h"

namespace cuboid::tiles {

/// Rows: voxels of one phase. Columns: channels of the result. k: (tap, channel) of the source. Weights lie as [K][tap][C],
/// C rounded up to whole packets. blockIdx: x rows, y columns within groups, z splits of k within phases.
template <class Math, int packet, bool backward>
struct ConvTask {
  using T = typename Math::T;
  using A = Map<T, Math::rows, Math::depth, packet, Math::threads, true>;
  using B = Map<T, Math::columns, Math::depth, packet, Math::threads, !backward>;
  struct Params {
    Gather g;
    const T *source, *weights;
    Result<T> result;
    std::int64_t part;  // elements of the result
    int weight_pitch;   // of a row of C
    int column_tiles, splits, split_steps;
    Divisor by_channels;
  };

  __device__ bool open(const Params& p) {
    const Gather& g = p.g;
    group_ = blockIdx.y / p.column_tiles;
    first_column_ = static_cast<int>(blockIdx.y % p.column_tiles) * Math::columns;
    first_row_ = static_cast<int>(blockIdx.x) * Math::rows;
    split_ = blockIdx.z % p.splits;
    int phase = blockIdx.z / p.splits;
    rows_ = g.samples;
    depth_ = g.channels;
    for (int i = 2; i >= 0; --i) {
      phase_[i] = phase % g.phases[i];
      phase /= g.phases[i];
      axis_[i] = g.axis[i][phase_[i]];
      rows_ *= axis_[i].size;
      depth_ *= axis_[i].taps;
    }
    if (first_row_ >= rows_) return false;
    for (int i = 1; i < 3; ++i) reciprocal_[i] = axis_[i].taps > 0 ? (1 << 16) / axis_[i].taps + 1 : 0;
    k_ = split_ * p.split_steps * Math::depth;
    const int end = k_ + p.split_steps * Math::depth;
    depth_ = end < depth_ ? end : depth_;
    for (int i = 0; i < A::count; ++i) {
      int at[4];
      within_[i] = 0;
      from_[i] = p.source;
      if (!voxel(first_row_ + A::line(i), at)) continue;
      std::int64_t offset = at[0];
      for (int a = 0; a < 3; ++a) {
        const int first = at[a + 1] * g.source_step[a] + axis_[a].first_offset;
        offset = offset * g.source[a] + first;
        for (int t = 0; t < axis_[a].taps; ++t) {
          const int v = first + t * g.offset_step[a];
          within_[i] |= static_cast<unsigned>(v >= 0 && v < g.source[a]) << (a * Gather::most_taps + t);
        }
      }
      from_[i] = p.source + offset * g.groups * g.channels + group_ * g.channels;
    }
    return true;
  }
  __device__ int steps() const { return k_ < depth_ ? (depth_ - k_ + Math::depth - 1) / Math::depth : 0; }

  __device__ __forceinline__ void load(const Params& p, T* a, T* b) {
    const Gather& g = p.g;
    const At mine = at_k(p, k_ + A::column());
    const int away = ((mine.tap[0] * g.offset_step[0] * g.source[1] + mine.tap[1] * g.offset_step[1]) * g.source[2] +
                      mine.tap[2] * g.offset_step[2]) *
                         g.groups * g.channels +
                     mine.channel;
    const unsigned bits =
        1u << mine.tap[0] | 1u << (Gather::most_taps + mine.tap[1]) | 1u << (2 * Gather::most_taps + mine.tap[2]);
#pragma unroll
    for (int i = 0; i < A::count; ++i) {
      const bool valid = mine.valid && (within_[i] & bits) == bits;
      copy_packet<packet>(A::at(a, i), valid ? from_[i] + away : p.source, valid ? packet : 0);
    }
    const std::int64_t row = static_cast<std::int64_t>(g.all_taps()) * p.weight_pitch;
#pragma unroll
    for (int i = 0; i < B::count; ++i) {
      bool valid;
      std::int64_t offset;
      if constexpr (backward) {  // a line: one (tap, channel of the source), its weights for all channels of the result
        const At line = at_k(p, k_ + B::line(i));
        const int n = first_column_ + B::column();
        valid = line.valid && n < p.weight_pitch;
        offset = (group_ * g.channels + line.channel) * row + line.weight_tap * p.weight_pitch + n;
      } else {
        const int n = first_column_ + B::line(i);
        valid = mine.valid && n < g.results;
        offset = (group_ * g.results + n) * row + mine.weight_tap * p.weight_pitch + mine.channel;
      }
      copy_packet<packet>(B::at(b, i), valid ? p.weights + offset : p.weights, valid ? packet : 0);
    }
    k_ += Math::depth;
  }

  __device__ int column(const Params& p) const { return group_ * p.g.results + first_column_; }
  __device__ int end(const Params& p) const { return (group_ + 1) * p.g.results; }
  __device__ std::int64_t row(const Params& p, int r) const {
    int at[4];
    if (!voxel(first_row_ + r, at)) return -1;
    std::int64_t offset = at[0];
    for (int a = 0; a < 3; ++a) offset = offset * p.g.dest[a] + phase_[a] + at[a + 1] * p.g.dest_step[a];
    return offset * p.g.groups * p.g.results + (p.result.parts ? split_ * p.part : 0);
  }

 private:
  struct At {
    int tap[3], weight_tap, channel;
    bool valid;
  };
  __device__ __forceinline__ At at_k(const Params& p, int k) const {
    At at;
    at.valid = k < depth_;
    at.channel = p.by_channels.take(k);
    for (int a = 2; a > 0; --a) {  // exact: k is the number of a tap, at most 1000
      const int q = k * reciprocal_[a] >> 16;
      at.tap[a] = k - q * axis_[a].taps;
      k = q;
    }
    at.tap[0] = k;
    at.weight_tap = 0;
    for (int a = 0; a < 3; ++a) at.weight_tap = at.weight_tap * p.g.kernel[a] + axis_[a].first_tap + at.tap[a] * p.g.tap_step[a];
    return at;
  }
  /// Sample and position within the phase.
  __device__ bool voxel(int m, int (&at)[4]) const {
    if (m >= rows_) return false;
    for (int a = 2; a >= 0; --a) {
      at[a + 1] = m % axis_[a].size;
      m /= axis_[a].size;
    }
    at[0] = m;
    return true;
  }

  int group_, first_row_, first_column_, split_, rows_, depth_, k_;
  int phase_[3], reciprocal_[3];
  AxisPhase axis_[3];
  const T* from_[A::count];
  unsigned within_[A::count];
};

/// Rows: (tap, channel of x). Columns: channels of dy. k: output voxels. The result is parts[split][tap][c][K].
/// blockIdx: x rows, y columns within groups, z splits.
template <class Math, int packet>
struct WeightTask {
  using T = typename Math::T;
  using A = Map<T, Math::rows, Math::depth, packet, Math::threads, false>;
  using B = Map<T, Math::columns, Math::depth, packet, Math::threads, false>;
  struct Params {
    const T *x, *dy;
    Result<T> result;
    std::int64_t part;                      // elements of one split's result
    int groups, channels, results, voxels;  // channels per group, of x and of dy
    int in[3], kernel[3], stride[3], dilation[3], pad[3];
    int column_tiles, split_steps;
    Divisor by_channels, by_out[3];
  };

  __device__ bool open(const Params& p) {
    group_ = blockIdx.y / p.column_tiles;
    first_column_ = static_cast<int>(blockIdx.y % p.column_tiles) * Math::columns;
    first_row_ = static_cast<int>(blockIdx.x) * Math::rows;
    rows_ = p.kernel[0] * p.kernel[1] * p.kernel[2] * p.channels;
    k_ = static_cast<int>(blockIdx.z) * p.split_steps * Math::depth;
    const int end = k_ + p.split_steps * Math::depth;
    end_ = end < p.voxels ? end : p.voxels;
    int tap = first_row_ + A::column();
    inside_ = tap < rows_;
    channel_ = group_ * p.channels + p.by_channels.take(tap);
    for (int a = 2; a >= 0; --a) {
      away_[a] = tap % p.kernel[a] * p.dilation[a] - p.pad[a];
      tap /= p.kernel[a];
    }
    return true;
  }
  __device__ int steps() const { return k_ < end_ ? (end_ - k_ + Math::depth - 1) / Math::depth : 0; }

  __device__ __forceinline__ void load(const Params& p, T* a, T* b) {
#pragma unroll
    for (int i = 0; i < A::count; ++i) {
      int voxel = k_ + A::line(i), at[3];
      bool valid = inside_ && voxel < end_;
      for (int d = 2; d >= 0; --d) {
        at[d] = p.by_out[d].take(voxel) * p.stride[d] + away_[d];
        valid = valid && at[d] >= 0 && at[d] < p.in[d];
      }
      const std::int64_t offset = ((static_cast<std::int64_t>(voxel) * p.in[0] + at[0]) * p.in[1] + at[1]) * p.in[2] + at[2];
      copy_packet<packet>(A::at(a, i), valid ? p.x + offset * (p.groups * p.channels) + channel_ : p.x, valid ? packet : 0);
    }
    const int n = first_column_ + B::column();
#pragma unroll
    for (int i = 0; i < B::count; ++i) {
      const int voxel = k_ + B::line(i);
      const bool valid = voxel < end_ && n < p.results;
      const std::int64_t offset = static_cast<std::int64_t>(voxel) * (p.groups * p.results) + group_ * p.results + n;
      copy_packet<packet>(B::at(b, i), valid ? p.dy + offset : p.dy, valid ? packet : 0);
    }
    k_ += Math::depth;
  }

  __device__ int column(const Params& p) const { return group_ * p.results + first_column_; }
  __device__ int end(const Params& p) const { return (group_ + 1) * p.results; }
  __device__ std::int64_t row(const Params& p, int r) const {
    const int m = first_row_ + r;
    return m < rows_ ? blockIdx.z * p.part + static_cast<std::int64_t>(m) * (p.groups * p.results) : -1;
  }

 private:
  int group_, first_row_, first_column_, rows_, k_, end_, channel_;
  int away_[3];
  bool inside_;
};

/// (B, M, K) x (B, K, N) -> (B, M, N). An operand's lines are rows (or columns, for b) of k, or one k of all rows.
/// blockIdx: x rows, y columns, z splits of k within the batch.
template <class Math, int packet, bool a_k_major, bool b_k_major>
struct MatmulTask {
  using T = typename Math::T;
  using A = Map<T, Math::rows, Math::depth, packet, Math::threads, a_k_major>;
  using B = Map<T, Math::columns, Math::depth, packet, Math::threads, b_k_major>;
  struct Operand {
    const T* data;
    std::int64_t batch, line;  // strides
  };
  struct Params {
    Operand a, b;
    Result<T> result;
    std::int64_t part, batch_pitch, row_pitch;  // of the result
    int rows, columns, depth, splits, split_steps;
  };

  __device__ bool open(const Params& p) {
    batch_ = blockIdx.z / p.splits;
    split_ = blockIdx.z % p.splits;
    first_row_ = static_cast<int>(blockIdx.x) * Math::rows;
    first_column_ = static_cast<int>(blockIdx.y) * Math::columns;
    k_ = split_ * p.split_steps * Math::depth;
    const int end = k_ + p.split_steps * Math::depth;
    depth_ = end < p.depth ? end : p.depth;
    return true;
  }
  __device__ int steps() const { return k_ < depth_ ? (depth_ - k_ + Math::depth - 1) / Math::depth : 0; }
  __device__ __forceinline__ void load(const Params& p, T* a, T* b) {
    load<A>(p.a, a, first_row_, p.rows);
    load<B>(p.b, b, first_column_, p.columns);
    k_ += Math::depth;
  }
  __device__ int column(const Params&) const { return first_column_; }
  __device__ int end(const Params& p) const { return p.columns; }
  __device__ std::int64_t row(const Params& p, int r) const {
    const int m = first_row_ + r;
    return m < p.rows ? batch_ * p.batch_pitch + m * p.row_pitch + (p.result.parts ? split_ * p.part : 0) : -1;
  }

 private:
  template <class M>
  __device__ __forceinline__ void load(const Operand& from, T* to, int first, int count) {
    const int line = M::k_major ? first : k_, lines = M::k_major ? count : depth_;
    const int column = (M::k_major ? k_ : first) + M::column(), columns = M::k_major ? depth_ : count;
    const int left = columns - column, valid = left < 0 ? 0 : left < packet ? left : packet;
#pragma unroll
    for (int i = 0; i < M::count; ++i) {
      const int l = line + M::line(i), n = l < lines ? valid : 0;
      copy_packet<packet>(M::at(to, i), n > 0 ? from.data + batch_ * from.batch + l * from.line + column : from.data, n);
    }
  }

  std::int64_t batch_;
  int split_, first_row_, first_column_, k_, depth_;
};

}  // namespace cuboid::tiles
