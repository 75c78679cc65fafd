// SPDX-License-Identifier: Apache-2.0
// Max-pooling of channels-last f32 and bf16 with AVX-512: the best values of 64 channels and where they were found stay in
// registers while a window passes by.
#include "kernels/bf16_simd.h"
#include "kernels/pool/rows.h"
#if CUBOID_AVX512_BF16
#include "core/parallel.h"
#include "kernels/pool/windows.h"

namespace cuboid::cpu::wide {
namespace {

using bf::lanes, bf::Vec;

bool fits(const View& x) {
  return (x.dtype == DType::f32 || x.dtype == DType::bf16) && x.dim(1) % lanes == 0 && x.is(Layout::channels_last);
}

/// f(n, d, h) for the lines of `size` in each sample, in parallel.
template <class F>
void each_line(const Windows& s, const Triple& size, const F& f) {
  const std::int64_t grain = std::max<std::int64_t>(1, 16384 / (size[2] * s.channels));
  parallel_ranges(s.samples * size[0] * size[1], grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) f(i / (size[0] * size[1]), i / size[1] % size[0], i % size[1]);
  });
}

/// f.operator()<count>(c) for all channels, 64 at a time while there are as many.
template <class F>
void each_channel(std::int64_t channels, const F& f) {
  std::int64_t c = 0;
  for (; c + 4 * lanes <= channels; c += 4 * lanes) f.template operator()<4>(c);
  for (; c < channels; c += lanes) f.template operator()<1>(c);
}

__m512i load_places(const std::int32_t* p) { return _mm512_loadu_si512(p); }

/// The first largest value of one window, NaN before all others; x is the sample's first element.
template <int count, class T>
void best_of(const Windows& s, const Span& d, const Span& h, const Span& w, const T* x, T* y, std::int32_t* index) {
  Vec best[count];
  __m512i place[count];
  for (int k = 0; k < count; ++k) {
    best[k] = bf::load(x + s.input_at(d.begin, h.begin, w.begin) * s.channels + k * lanes);
    place[k] = _mm512_set1_epi32(static_cast<std::int32_t>(s.input_at(d.begin, h.begin, w.begin)));
  }
  for (std::int64_t i = d.begin; i < d.end; ++i)
    for (std::int64_t j = h.begin; j < h.end; ++j)
      for (std::int64_t at = s.input_at(i, j, w.begin), last = s.input_at(i, j, w.end); at < last; ++at) {
        const __m512i here = _mm512_set1_epi32(static_cast<std::int32_t>(at));
#pragma GCC unroll 4
        for (int k = 0; k < count; ++k) {
          const Vec v = bf::load(x + at * s.channels + k * lanes);
          const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
          const auto take = static_cast<__mmask16>(nan | _mm512_cmp_ps_mask(v, best[k], _CMP_GT_OQ));
          best[k] = _mm512_mask_mov_ps(best[k], take, v);
          place[k] = _mm512_mask_mov_epi32(place[k], take, here);
        }
      }
  for (int k = 0; k < count; ++k) {
    bf::store_exact(y + k * lanes, best[k]);
    _mm512_storeu_si512(index + k * lanes, place[k]);
  }
}

/// What flows back into one voxel from the windows that found their value there.
template <int count, class T>
void gathered(const Windows& s, const Triple& i, const T* g, const std::int32_t* index, T* dx) {
  const Span d = s.outputs(0, i[0]), h = s.outputs(1, i[1]), w = s.outputs(2, i[2]);
  const __m512i here = _mm512_set1_epi32(static_cast<std::int32_t>(s.input_at(i[0], i[1], i[2])));
  Vec sum[count] = {};
  for (std::int64_t a = d.begin; a < d.end; ++a)
    for (std::int64_t b = h.begin; b < h.end; ++b)
      for (std::int64_t at = s.output_at(a, b, w.begin), last = s.output_at(a, b, w.end); at < last; ++at)
#pragma GCC unroll 4
        for (int k = 0; k < count; ++k) {
          const std::int64_t from = at * s.channels + k * lanes;
          const __mmask16 mine = _mm512_cmpeq_epi32_mask(load_places(index + from), here);
          sum[k] = _mm512_mask_add_ps(sum[k], mine, sum[k], bf::load(g + from));
        }
  for (int k = 0; k < count; ++k) bf::store(dx + k * lanes, sum[k]);
}

template <class T>
void pool(const View& x, const Out& y, const Out& index, const PoolSpec& spec) {
  const Windows s(x.shape, y.shape, spec);
  const std::int64_t inputs = Windows::volume(s.in) * s.channels;
  each_line(s, s.out, [&](std::int64_t n, std::int64_t d, std::int64_t h) {
    for (std::int64_t w = 0; w < s.out[2]; ++w) {
      const std::int64_t to = (n * Windows::volume(s.out) + s.output_at(d, h, w)) * s.channels;
      each_channel(s.channels, [&]<int count>(std::int64_t c) {
        best_of<count>(s, s.inputs(0, d), s.inputs(1, h), s.inputs(2, w), x.as<T>() + n * inputs + c, y.as<T>() + to + c,
                       index.as<std::int32_t>() + to + c);
      });
    }
  });
}

template <class T>
void scatter(const View& g, const View& index, const Out& dx, const PoolSpec& spec) {
  const Windows s(dx.shape, g.shape, spec);
  const std::int64_t outputs = Windows::volume(s.out) * s.channels;
  each_line(s, s.in, [&](std::int64_t n, std::int64_t d, std::int64_t h) {
    for (std::int64_t w = 0; w < s.in[2]; ++w) {
      T* to = dx.as<T>() + (n * Windows::volume(s.in) + s.input_at(d, h, w)) * s.channels;
      each_channel(s.channels, [&]<int count>(std::int64_t c) {
        gathered<count>(s, {d, h, w}, g.as<T>() + n * outputs + c, index.as<std::int32_t>() + n * outputs + c, to + c);
      });
    }
  });
}

}  // namespace

bool max_pool_fits(const View& x, const Out& y, const Out& index, const PoolSpec&) {
  return fits(x) && y.is(Layout::channels_last) && index.is(Layout::channels_last);
}
bool max_pool_scatter_fits(const View& g, const View& index, const Out& dx, const PoolSpec&) {
  return fits(g) && index.is(Layout::channels_last) && dx.is(Layout::channels_last);
}

void max_pool(const View& x, const Out& y, const Out& index, const PoolSpec& spec) {
  if (x.dtype == DType::f32) pool<float>(x, y, index, spec);
  else pool<bf16>(x, y, index, spec);
}
void max_pool_scatter(const View& g, const View& index, const Out& dx, const PoolSpec& spec) {
  if (g.dtype == DType::f32) scatter<float>(g, index, dx, spec);
  else scatter<bf16>(g, index, dx, spec);
}

}  // namespace cuboid::cpu::wide
#else
namespace cuboid::cpu::wide {
bool max_pool_fits(const View&, const Out&, const Out&, const PoolSpec&) { return false; }
bool max_pool_scatter_fits(const View&, const View&, const Out&, const PoolSpec&) { return false; }
void max_pool(const View&, const Out&, const Out&, const PoolSpec&) {}
void max_pool_scatter(const View&, const View&, const Out&, const PoolSpec&) {}
}  // namespace cuboid::cpu::wide
#endif
