// SPDX-License-Identifier: Apache-2.0
#include "data/optics.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>
#include <vector>

namespace cuboid {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

/// Radix-2 transforms of length n over rows of `width` neighbouring values, real and imaginary parts apart, so that the inner
/// loop runs along memory. Forward leaves the frequencies in bit-reversed order, backward takes them so.
class RowFft {
 public:
  explicit RowFft(std::int64_t n) : n_(n), cos_(at(n / 2)), sin_(at(n / 2)) {
    for (std::int64_t k = 0; k < n / 2; ++k) {
      const double angle = 2 * std::numbers::pi * static_cast<double>(k) / static_cast<double>(n);
      cos_[at(k)] = static_cast<float>(std::cos(angle));
      sin_[at(k)] = static_cast<float>(std::sin(angle));
    }
  }
  void forward(float* re, float* im, std::int64_t stride, std::int64_t width) const {
    for (std::int64_t half = n_ / 2; half >= 1; half /= 2)
      for (std::int64_t start = 0; start < n_; start += 2 * half)
        for (std::int64_t j = 0; j < half; ++j) {
          const float c = cos_[at(j * (n_ / 2 / half))], s = -sin_[at(j * (n_ / 2 / half))];
          float* __restrict ar = re + (start + j) * stride;
          float* __restrict ai = im + (start + j) * stride;
          float* __restrict br = ar + half * stride;
          float* __restrict bi = ai + half * stride;
          for (std::int64_t x = 0; x < width; ++x) {
            const float tr = ar[x] - br[x], ti = ai[x] - bi[x];
            ar[x] += br[x];
            ai[x] += bi[x];
            br[x] = tr * c - ti * s;
            bi[x] = tr * s + ti * c;
          }
        }
  }
  /// Without the division by n.
  void backward(float* re, float* im, std::int64_t stride, std::int64_t width) const {
    for (std::int64_t half = 1; half < n_; half *= 2)
      for (std::int64_t start = 0; start < n_; start += 2 * half)
        for (std::int64_t j = 0; j < half; ++j) {
          const float c = cos_[at(j * (n_ / 2 / half))], s = sin_[at(j * (n_ / 2 / half))];
          float* __restrict ar = re + (start + j) * stride;
          float* __restrict ai = im + (start + j) * stride;
          float* __restrict br = ar + half * stride;
          float* __restrict bi = ai + half * stride;
          for (std::int64_t x = 0; x < width; ++x) {
            const float tr = br[x] * c - bi[x] * s, ti = br[x] * s + bi[x] * c;
            br[x] = ar[x] - tr;
            bi[x] = ai[x] - ti;
            ar[x] += tr;
            ai[x] += ti;
          }
        }
  }

 private:
  std::int64_t n_;
  std::vector<float> cos_, sin_;
};

void transpose(float* plane, std::int64_t rows, std::int64_t columns, std::vector<float>& scratch) {
  scratch.resize(at(rows * columns));
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < columns; ++j) scratch[at(j * rows + i)] = plane[i * columns + j];
  std::copy(scratch.begin(), scratch.end(), plane);
}

/// Cycles per µm at position i of the bit-reversed order.
std::vector<double> frequencies(std::int64_t n, double spacing) {
  std::vector<double> f(at(n));
  const int bits = std::countr_zero(static_cast<std::uint64_t>(n));
  for (std::int64_t i = 0; i < n; ++i) {
    std::int64_t k = 0;
    for (int b = 0; b < bits; ++b) k |= ((i >> b) & 1) << (bits - 1 - b);
    f[at(i)] = static_cast<double>(k < n / 2 ? k : k - n) / (static_cast<double>(n) * spacing);
  }
  return f;
}

double transfer(double lateral, double axial, const Optics& o) {
  const double k = o.medium / o.wavelength_um, sine = std::min(0.999, o.aperture / o.medium), cosine = std::sqrt(1 - sine * sine);
  if (lateral > 2 * k * sine) return 0;
  // Lenses pass fine detail less well than coarse.
  const double fine = std::exp(-lateral * lateral / (2.8 * 2.8));
  const double taper = 0.15;  // cycles per µm: soft edges ring less
  const double reach = std::sqrt(std::max(0.0, k * k - (lateral - k * sine) * (lateral - k * sine))) - k * cosine;
  const auto soft = [&](double limit) {
    const double t = std::clamp(1 + (limit - axial) / taper, 0.0, 1.0);
    return t * t * (3 - 2 * t);
  };
  return fine * (o.residual * soft(k * (1 - cosine)) + (1 - o.residual) * soft(reach));
}

}  // namespace

void image_through(const Tensor& volume, const std::array<double, 3>& spacing_um, const Optics& optics) {
  const std::int64_t d = volume.dim(0), h = volume.dim(1), w = volume.dim(2);
  check(volume.rank() == 3 && volume.is(Layout::contiguous), "optics: needs a contiguous volume, got ", volume.shape());
  for (const auto n : volume.shape())
    check(n >= 2 && std::has_single_bit(static_cast<std::uint64_t>(n)), "optics: size ", n, " is no power of two");
  float* re = volume.mutable_data<float>();
  std::vector<float> imaginary(at(volume.size()), 0), scratch;
  float* im = imaginary.data();
  const RowFft along_z(d), along_y(h), along_x(w);

  const auto planes = [&](bool forward) {
    for (std::int64_t z = 0; z < d; ++z) {
      float *pr = re + z * h * w, *pi = im + z * h * w;
      if (forward) along_y.forward(pr, pi, w, w);
      else along_y.backward(pr, pi, w, w);
      transpose(pr, h, w, scratch);
      transpose(pi, h, w, scratch);
      if (forward) along_x.forward(pr, pi, h, h);
      else along_x.backward(pr, pi, h, h);
      transpose(pr, w, h, scratch);
      transpose(pi, w, h, scratch);
    }
  };
  planes(true);
  for (std::int64_t y = 0; y < h; ++y) along_z.forward(re + y * w, im + y * w, h * w, w);

  const auto fz = frequencies(d, spacing_um[0]), fy = frequencies(h, spacing_um[1]), fx = frequencies(w, spacing_um[2]);
  const double norm = 1 / static_cast<double>(volume.size());
  for (std::int64_t y = 0; y < h; ++y)
    for (std::int64_t x = 0; x < w; ++x) {
      const double lateral = std::hypot(fy[at(y)], fx[at(x)]);
      for (std::int64_t z = 0; z < d; ++z) {
        const auto gain = static_cast<float>(norm * transfer(lateral, std::abs(fz[at(z)]), optics));
        re[(z * h + y) * w + x] *= gain;
        im[(z * h + y) * w + x] *= gain;
      }
    }
  for (std::int64_t y = 0; y < h; ++y) along_z.backward(re + y * w, im + y * w, h * w, w);
  planes(false);
}

void add_noise(const Tensor& volume, double deviation, const RandomKey& key) {
  float* values = volume.mutable_data<float>();
  const std::int64_t count = volume.size();
  const auto scale = static_cast<float>(deviation * std::sqrt(3.0) / 65536.0);
  for (std::int64_t i = 0; i < count; i += 4) {
    const Words4 words = key.block(static_cast<std::uint64_t>(i / 4));
    for (std::int64_t k = 0; k < std::min<std::int64_t>(4, count - i); ++k) {
      const std::uint64_t w = words.word[k];
      const auto sum = static_cast<std::int32_t>((w & 0xffff) + (w >> 16 & 0xffff) + (w >> 32 & 0xffff) + (w >> 48));
      values[i + k] += scale * static_cast<float>(sum - 131070);
    }
  }
}

}  // namespace cuboid
