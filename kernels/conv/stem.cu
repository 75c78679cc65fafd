// SPDX-License-Identifier: Apache-2.0
// Convolution of very few input channels (a stem, 7^3 at stride 2 say) on tensor cores, bf16 and f16. A block takes 256
// output voxels; the inputs they read lie in shared memory as they lie in x, so that a matrix of patches need not exist: the
// taps (kw, c) of one kernel row are neighbours in memory, and two of them fill one register of mma's left operand.
//
// Kernel rows are padded to an even length with weights of zero; an infinity just beside a window would make it NaN.
#include "kernels/conv/plan.h"
#include "kernels/conv/walk.h"

namespace cuboid::cuda {
namespace {

constexpr int tile_voxels = 256;

struct Stem {
  int samples, channels, results, taps;  // taps: those of all channels
  int in[3], out[3], kernel[3], stride[3], dilation[3], pad[3];
  int tile[3], tiles[3], all_tiles;  // a tile's sides, how many there are
  int halo[2], pitch, line;          // lines of inputs a tile reads, elements of one; taps of a kernel row, padded
  int depth;                         // padded taps, in whole steps of mma
  int copies;                        // 2: a second copy one element on, where windows begin at odd places

  explicit Stem(const Geometry& g)
      : samples(static_cast<int>(g.samples)),
        channels(static_cast<int>(g.in_channels)),
        results(static_cast<int>(g.out_channels)),
        taps(static_cast<int>(Geometry::volume(g.kernel) * g.in_channels)) {
    for (std::size_t a = 0; a < 3; ++a) {
      in[a] = static_cast<int>(g.in[a]);
      out[a] = static_cast<int>(g.out[a]);
      kernel[a] = static_cast<int>(g.kernel[a]);
      stride[a] = static_cast<int>(g.stride[a]);
      dilation[a] = static_cast<int>(g.dilation[a]);
      pad[a] = static_cast<int>(g.pad_lo[a]);
    }
    tile[0] = out[0] > 1 ? 4 : 1;  // 16 voxels of a line are one piece of mma
    tile[1] = out[0] > 1 ? 4 : out[1] > 1 ? 16 : 1;
    tile[2] = tile_voxels / (tile[0] * tile[1]);
    all_tiles = samples;
    for (int a = 0; a < 3; ++a) all_tiles *= tiles[a] = ceil_div(out[a], tile[a]);
    for (int a = 0; a < 2; ++a) halo[a] = (tile[a] - 1) * stride[a] + (kernel[a] - 1) * dilation[a] + 1;
    line = ceil_div(kernel[2] * channels, 2) * 2;
    pitch = ceil_div((tile[2] - 1) * stride[2] * channels + line, 2) * 2;
    depth = ceil_div(kernel[0] * kernel[1] * line, 16) * 16;
    copies = stride[2] * channels % 2 ? 2 : 1;
  }
  CUBOID_HD int halo_size() const { return halo[0] * halo[1] * pitch; }
  CUBOID_HD int weight_pitch() const { return depth + 8; }  // lines begin in different banks

  /// First output voxel of a tile and its sample.
  CUBOID_HD void place(int at, int (&first)[3], int& sample) const {
    for (int a = 2; a >= 0; --a) first[a] = take_index(at, tiles[a]) * tile[a];
    sample = at;
  }
  /// Of voxel r of a tile.
  CUBOID_HD void voxel(int r, int (&at)[3]) const {
    at[2] = take_index(r, tile[2]);
    at[1] = take_index(r, tile[1]);
    at[0] = r;
  }
  /// Where the window of a tile's voxel begins in the halo.
  CUBOID_HD int window(const int (&at)[3]) const {
    return (at[0] * stride[0] * halo[1] + at[1] * stride[1]) * pitch + at[2] * stride[2] * channels;
  }
};

/// The inputs of a tile, zeros in the padding, from element `shift` of each line on.
template <class T>
__device__ void load_halo(const Stem& s, const T* x, const int (&first)[3], int sample, int shift, T* to) {
  const int left = (first[2] * s.stride[2] - s.pad[2]) * s.channels + shift, width = s.in[2] * s.channels;
  for (int i = threadIdx.x; i < s.halo_size(); i += blockDim.x) {
    const int e = left + i % s.pitch, line = i / s.pitch;
    const int h = first[1] * s.stride[1] - s.pad[1] + line % s.halo[1], d = first[0] * s.stride[0] - s.pad[0] + line / s.halo[1];
    const bool inside = e >= 0 && e < width && h >= 0 && h < s.in[1] && d >= 0 && d < s.in[0];
    to[i] = inside ? x[(static_cast<std::int64_t>(sample * s.in[0] + d) * s.in[1] + h) * width + e] : T{};
  }
}

template <class T>
__device__ __forceinline__ void multiply(float (&sum)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  if constexpr (std::is_same_v<T, bf16>) ptx::mma_m16n8k16_bf16(sum, a, b);
  else ptx::mma_m16n8k16_f16(sum, a, b);
}

/// 8 warps of 32 voxels; 8 `across` output channels per block of blockIdx.y. Blocks go on to the next tile of voxels and
/// keep their weights.
template <class T, int across>
__global__ void __launch_bounds__(256, 2)
    stem_kernel(const __grid_constant__ Stem s, const T* x, const T* w, const T* bias, T* y) {
  gpu::SmemAlloc shared;
  T* weights = shared.take<T>(8 * across * s.weight_pitch());  // [channel][tap]
  T* halo = shared.take<T>(s.copies * s.halo_size());
  int* offsets = shared.take<int>(s.depth / 2);  // of a pair of taps, from the window's begin
  const int first_channel = blockIdx.y * 8 * across;
  for (int i = threadIdx.x; i < 8 * across * s.depth; i += 256) {
    const int n = i / s.depth, k = i % s.depth, e = k % s.line, row = k / s.line;
    const bool real = first_channel + n < s.results && e < s.kernel[2] * s.channels && row < s.kernel[0] * s.kernel[1];
    const int c = e % s.channels, tap = row * s.kernel[2] + e / s.channels;
    const std::int64_t at = static_cast<std::int64_t>(first_channel + n) * s.taps + c * (s.taps / s.channels) + tap;
    weights[n * s.weight_pitch() + k] = real ? w[at] : T{};
  }
  for (int i = threadIdx.x; i < s.depth / 2; i += 256) {
    const int row = 2 * i / s.line, kd = row / s.kernel[1], kh = row % s.kernel[1];
    offsets[i] = kd < s.kernel[0] ? (kd * s.dilation[0] * s.halo[1] + kh * s.dilation[1]) * s.pitch + 2 * i % s.line : 0;
  }
  const int lane = threadIdx.x % 32, first_row = threadIdx.x / 32 * 32;
  for (int tile = blockIdx.x; tile < s.all_tiles; tile += gridDim.x) {
    int first[3], sample;
    s.place(tile, first, sample);
    __syncthreads();  // nobody reads the tile before
    for (int copy = 0; copy < s.copies; ++copy) load_halo(s, x, first, sample, copy, halo + copy * s.halo_size());
    __syncthreads();
    int window[2][2];
    for (int i = 0; i < 4; ++i) {
      int at[3];
      s.voxel(first_row + i * 8 + lane / 4, at);
      const int begin = s.window(at), odd = begin % 2;
      window[i / 2][i % 2] = odd * s.halo_size() + begin - odd;
    }
    float sum[2][across][4];
#pragma unroll
    for (int j = 0; j < across; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int n = first_channel + j * 8 + lane % 4 * 2 + e % 2;
        sum[0][j][e] = sum[1][j][e] = bias && n < s.results ? static_cast<float>(bias[n]) : 0.f;
      }
    for (int k = 0; k < s.depth; k += 16) {
      std::uint32_t a[2][4], b[across][2];
      for (int h = 0; h < 2; ++h) {
        const int offset = offsets[k / 2 + h * 4 + lane % 4];
#pragma unroll
        for (int i = 0; i < 2; ++i)
#pragma unroll
          for (int r = 0; r < 2; ++r) a[i][2 * h + r] = *reinterpret_cast<const std::uint32_t*>(halo + window[i][r] + offset);
      }
#pragma unroll
      for (int j = 0; j < across; j += 2) {
        std::uint32_t both[4];
        ptx::ldmatrix_x4(both, weights + (j * 8 + lane % 8 + lane / 16 * 8) * s.weight_pitch() + k + lane / 8 % 2 * 8);
        b[j][0] = both[0], b[j][1] = both[1], b[j + 1][0] = both[2], b[j + 1][1] = both[3];
      }
#pragma unroll
      for (int i = 0; i < 2; ++i)
#pragma unroll
        for (int j = 0; j < across; ++j) multiply<T>(sum[i][j], a[i], b[j]);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      int at[3];
      s.voxel(first_row + i * 8 + lane / 4, at);
      bool inside = true;
      std::int64_t voxel = sample;
      for (int a = 0; a < 3; ++a) {
        inside = inside && first[a] + at[a] < s.out[a];
        voxel = voxel * s.out[a] + first[a] + at[a];
      }
      if (!inside) continue;
#pragma unroll
      for (int j = 0; j < across; ++j) {
        const int n = first_channel + j * 8 + lane % 4 * 2;
        for (int e = 0; e < 2; ++e)
          if (n + e < s.results) y[voxel * s.results + n + e] = static_cast<T>(sum[i / 2][j][i % 2 * 2 + e]);
      }
    }
  }
}

/// parts[block and warp in depth][tap][K]. Rows: taps, 32 per warp; columns: 64 output channels; k: the voxels of a tile,
/// shared out among `deep` groups of warps.
template <class T>
__global__ void __launch_bounds__(512, 1)
    stem_weight_kernel(const __grid_constant__ Stem s, const T* x, const T* dy, float* parts, int deep) {
  constexpr int across = 8, dy_pitch = 8 * across + 8;
  gpu::SmemAlloc shared;
  T* gradient = shared.take<T>(tile_voxels * dy_pitch);  // [voxel][channel]
  T* halo = shared.take<T>(s.halo_size());
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, first_channel = blockIdx.y * 8 * across;
  const int first_tap = warp / deep * 32, mine = warp % deep;
  int offsets[4];  // of the taps first_tap + lane / 4 + 8 i from the window's begin
  for (int i = 0; i < 4; ++i) {
    const int tap = first_tap + i * 8 + lane / 4, length = s.kernel[2] * s.channels, row = tap / length;
    offsets[i] = tap >= s.taps ? 0
                               : (row / s.kernel[1] * s.dilation[0] * s.halo[1] + row % s.kernel[1] * s.dilation[1]) * s.pitch +
                                     tap % length;
  }
  const int step = s.stride[2] * s.channels;
  float sum[2][across][4] = {};
  for (int tile = blockIdx.x; tile < s.all_tiles; tile += gridDim.x) {
    int first[3], sample;
    s.place(tile, first, sample);
    __syncthreads();
    for (int i = threadIdx.x; i < tile_voxels * across; i += blockDim.x) {
      const int r = i / across, n = first_channel + i % across * 8;
      int at[3];
      s.voxel(r, at);
      bool inside = n < s.results;
      std::int64_t voxel = sample;
      for (int a = 0; a < 3; ++a) {
        inside = inside && first[a] + at[a] < s.out[a];
        voxel = voxel * s.out[a] + first[a] + at[a];
      }
      ptx::cp_async<16>(gradient + r * dy_pitch + i % across * 8, inside ? dy + voxel * s.results + n : dy, inside ? 16 : 0);
    }
    ptx::cp_async_commit();
    load_halo(s, x, first, sample, 0, halo);
    ptx::cp_async_wait<0>();
    __syncthreads();
    for (int q = mine; q < tile_voxels / 16; q += deep) {  // 16 voxels of a line
      int at[3];
      s.voxel(q * 16, at);
      const T* window = halo + s.window(at) + lane % 4 * 2 * step;
      std::uint32_t a[2][4], b[across][2];
#pragma unroll
      for (int i = 0; i < 2; ++i)
#pragma unroll
        for (int r = 0; r < 4; ++r) {
          const T* from = window + offsets[2 * i + r % 2] + r / 2 * 8 * step;
          a[i][r] = static_cast<std::uint32_t>(from[0].bits) | static_cast<std::uint32_t>(from[step].bits) << 16;
        }
#pragma unroll
      for (int j = 0; j < across; j += 2) {
        std::uint32_t both[4];
        ptx::ldmatrix_x4_trans(both, gradient + (q * 16 + lane % 16) * dy_pitch + (j + lane / 16) * 8);
        b[j][0] = both[0], b[j][1] = both[1], b[j + 1][0] = both[2], b[j + 1][1] = both[3];
      }
#pragma unroll
      for (int i = 0; i < 2; ++i)
#pragma unroll
        for (int j = 0; j < across; ++j) multiply<T>(sum[i][j], a[i], b[j]);
    }
  }
  float* part = parts + static_cast<std::int64_t>(blockIdx.x * deep + mine) * s.taps * s.results;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int tap = first_tap + i * 8 + lane / 4;
    if (tap >= s.taps) continue;
#pragma unroll
    for (int j = 0; j < across; ++j)
      for (int e = 0; e < 2; ++e) {
        const int n = first_channel + j * 8 + lane % 4 * 2 + e;
        if (n < s.results) part[static_cast<std::int64_t>(tap) * s.results + n] = sum[i / 2][j][i % 2 * 2 + e];
      }
  }
}

constexpr int most_blocks = 256;
constexpr std::size_t most_shared = 100 * 1024;

std::size_t forward_bytes(const Stem& s) {
  const int columns = s.results <= 32 ? 32 : 64;
  return 2 * static_cast<std::size_t>(columns * s.weight_pitch() + s.copies * s.halo_size()) +
         2 * static_cast<std::size_t>(s.depth) + 64;
}
std::size_t weight_bytes(const Stem& s) { return 2 * static_cast<std::size_t>(tile_voxels * 72 + s.halo_size()) + 64; }

bool fits(const View& x, const View& w, const View& y, const ConvSpec& spec) {
  return (x.dtype == DType::bf16 || x.dtype == DType::f16) && tiles_fit(x, w, y, spec) && spec.groups == 1 && x.dim(1) <= 4 &&
         spec.dilation[-1] == 1 && w.size() > w.dim(0) * w.dim(1);
}
Stem stem_of(const View& x, const View& w, const View& y, const ConvSpec& spec) {
  return Stem(geometry(x.dtype, x.shape, w.shape, y.shape, spec));
}
template <class F>
void typed(DType dtype, F&& f) {
  if (dtype == DType::bf16) f.template operator()<bf16>();
  else f.template operator()<f16>();
}

}  // namespace

namespace stem {

bool forward_fits(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec& spec, Storage*) {
  return fits(x, w, y, spec) && (!bias.data || bias.is(Layout::contiguous)) &&
         forward_bytes(stem_of(x, w, y, spec)) <= most_shared;
}
bool weight_fits(const View& g, const View& x, const Out& dw, const ConvSpec& spec) {
  if (!fits(x, dw, g, spec) || !whole_packets(g, spec, 8)) return false;
  const Stem s = stem_of(x, dw, g, spec);
  return s.taps <= 512 && weight_bytes(s) <= most_shared;
}

void conv_forward(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec& spec, Storage*) {
  const Stem s = stem_of(x, w, y, spec);
  typed(x.dtype, [&]<class T>() {
    const auto launch = [&](auto kernel, int columns) {
      gpu::LaunchCfg c = blocks_of(std::min(s.all_tiles, most_blocks), 256, "stem");
      c.grid.y = static_cast<unsigned>(ceil_div(s.results, columns));
      c.smem = forward_bytes(s);
      gpu::launch(kernel, c, s, x.as<T>(), w.as<T>(), bias.as<T>(), y.as<T>());
    };
    if (s.results <= 32) launch(stem_kernel<T, 4>, 32);
    else launch(stem_kernel<T, 8>, 64);
  });
}

void conv_weight(const View& g, const View& x, const Out& dw, const ConvSpec& spec) {
  const Stem s = stem_of(x, dw, g, spec);
  const int warps = ceil_div(s.taps, 32), deep = std::max(1, 8 / warps), blocks = std::min(s.all_tiles, most_blocks / 2);
  const Scratch<float> parts(static_cast<std::int64_t>(blocks) * deep * s.taps * s.results, Device::cuda);
  typed(x.dtype, [&]<class T>() {
    gpu::LaunchCfg c = blocks_of(blocks, 32 * warps * deep, "stem_weight");
    c.grid.y = static_cast<unsigned>(ceil_div(s.results, 64));
    c.smem = weight_bytes(s);
    gpu::launch(stem_weight_kernel<T>, c, s, x.as<T>(), g.as<T>(), parts.data(), deep);
    add_weight_parts<T>(parts.data(), blocks * deep, s.taps / s.channels, s.channels, s.results, dw.as<T>());
  });
}

}  // namespace stem
}  // namespace cuboid::cuda
