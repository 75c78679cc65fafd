// SPDX-License-Identifier: Apache-2.0
// The device's reference of normalisation: one block per channel of a segment, any strides, sums in f64.
#include "core/launch.h"
#include "kernels/norm/cuda.h"

namespace cuboid::cuda {
namespace {

constexpr int threads = 256;

/// The elements of a tensor by segment, channel and number within them.
template <class T, class I>
struct Channels {
  T* data;
  I samples, volume, sample_stride, channel_stride;  // samples per segment
  int rank;
  I dims[max_rank], strides[max_rank];

  Channels(const View& v, std::int64_t segments)
      : data(v.as<T>()),
        samples(static_cast<I>(v.dim(0) / segments)),
        volume(1),
        sample_stride(static_cast<I>(v.stride(0))),
        channel_stride(static_cast<I>(v.stride(1))),
        rank(v.rank() - 2) {
    for (int d = 0; d < rank; ++d) {
      dims[d] = static_cast<I>(v.dim(2 + d));
      strides[d] = static_cast<I>(v.stride(2 + d));
      volume *= dims[d];
    }
  }
  CUBOID_HD I count() const { return samples * volume; }
  CUBOID_HD T& at(I segment, I channel, I i) const {
    const I sample = i / volume;
    I rest = i - sample * volume, offset = (segment * samples + sample) * sample_stride + channel * channel_stride;
    for (int d = rank - 1; d >= 0; --d) {
      const I q = rest / dims[d];
      offset += (rest - q * dims[d]) * strides[d];
      rest = q;
    }
    return data[offset];
  }
};

/// The sum of every thread's value, for all of them.
__device__ double block_sum(double value) {
  GPU_SHARED(double, parts, [threads]);
  parts[threadIdx.x] = value;
  __syncthreads();
  for (unsigned width = threads / 2; width > 0; width /= 2) {
    if (threadIdx.x < width) parts[threadIdx.x] += parts[threadIdx.x + width];
    __syncthreads();
  }
  const double sum = parts[0];
  __syncthreads();
  return sum;
}

template <class T, class I>
__global__ void statistics_kernel(Channels<const T, I> x, I channels, Accum<T>* mean, Accum<T>* var) {
  using A = Accum<T>;
  const I segment = static_cast<I>(blockIdx.x) / channels, c = static_cast<I>(blockIdx.x) % channels;
  const I count = x.count(), first = static_cast<I>(threadIdx.x);
  double sum = 0, squares = 0;
  for (I i = first; i < count; i += threads) sum += static_cast<double>(static_cast<A>(x.at(segment, c, i)));
  const double centre = block_sum(sum) / static_cast<double>(count);
  for (I i = first; i < count; i += threads) {
    const double d = static_cast<double>(static_cast<A>(x.at(segment, c, i))) - centre;
    squares += d * d;
  }
  squares = block_sum(squares);
  if (threadIdx.x > 0) return;
  mean[blockIdx.x] = static_cast<A>(centre);
  var[blockIdx.x] = static_cast<A>(squares / static_cast<double>(count));
}

/// v = (x - mean) * scale + shift of one channel.
template <class A>
struct Affine {
  A mean, rstd, scale, shift;
  __device__ Affine(const A* means, const A* rstds, const A* weight, const A* bias, std::int64_t i, std::int64_t c)
      : mean(means[i]), rstd(rstds[i]), scale(rstd * (weight ? weight[c] : A(1))), shift(bias ? bias[c] : A(0)) {}
};

template <class T, class I>
__global__ void apply_kernel(Channels<const T, I> x, Channels<T, I> y, I channels, const Accum<T>* mean, const Accum<T>* rstd,
                             const Accum<T>* weight, const Accum<T>* bias, Accum<T> slope) {
  using A = Accum<T>;
  const I segment = static_cast<I>(blockIdx.x) / channels, c = static_cast<I>(blockIdx.x) % channels;
  const Affine<A> a(mean, rstd, weight, bias, blockIdx.x, c);
  const I count = x.count();
  for (I i = static_cast<I>(threadIdx.x); i < count; i += threads) {
    const A v = (static_cast<A>(x.at(segment, c, i)) - a.mean) * a.scale + a.shift;
    y.at(segment, c, i) = static_cast<T>(v > 0 ? v : v * slope);
  }
}

/// dx.data may be null.
template <class T, class I>
__global__ void backward_kernel(Channels<const T, I> g, Channels<const T, I> x, Channels<T, I> dx, I channels,
                                const Accum<T>* mean, const Accum<T>* rstd, const Accum<T>* weight, const Accum<T>* bias,
                                Accum<T>* dweight, Accum<T>* dbias, double slope, bool batch) {
  using A = Accum<T>;
  const I segment = static_cast<I>(blockIdx.x) / channels, c = static_cast<I>(blockIdx.x) % channels;
  const Affine<A> a(mean, rstd, weight, bias, blockIdx.x, c);
  const I count = x.count(), first = static_cast<I>(threadIdx.x);
  const auto deviation = [&](I i) { return static_cast<A>(x.at(segment, c, i)) - a.mean; };
  const auto gradient = [&](I i) {  // before the activation
    const A v = deviation(i) * a.scale + a.shift;
    return static_cast<double>(static_cast<A>(g.at(segment, c, i))) * (v > 0 ? 1 : slope);
  };
  double sum = 0, product = 0;
  for (I i = first; i < count; i += threads) {
    const double own = gradient(i);
    sum += own;
    product += own * static_cast<double>(deviation(i) * a.rstd);
  }
  sum = block_sum(sum);
  product = block_sum(product);
  if (threadIdx.x == 0) {
    dbias[blockIdx.x] = static_cast<A>(sum);
    dweight[blockIdx.x] = static_cast<A>(product);
  }
  if (!dx.data) return;
  const double share = batch ? 1 / static_cast<double>(count) : 0;
  for (I i = first; i < count; i += threads) {
    const double own = gradient(i) - (sum + static_cast<double>(deviation(i) * a.rstd) * product) * share;
    dx.at(segment, c, i) = static_cast<T>(static_cast<A>(static_cast<double>(a.scale) * own));
  }
}

template <class A, class R>
__global__ void finish_kernel(std::int64_t count, std::int64_t channels, const A* mean, const A* var, A* rstd, R* running_mean,
                              R* running_var, NormUpdate u) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= count) return;
  rstd[i] = static_cast<A>(1 / sqrt(static_cast<double>(var[i]) + u.eps));
  if (i >= channels) return;
  const auto move = [&](R* running, double batch) {
    if (!running) return;
    const double before = static_cast<double>(static_cast<Accum<R>>(running[i]));
    running[i] = static_cast<R>((1 - u.momentum) * before + u.momentum * batch);
  };
  move(running_mean, static_cast<double>(mean[i]));
  move(running_var, u.unbiased * static_cast<double>(var[i]));
}

template <class T>
const Accum<T>* numbers(const View& v) {
  return v.as<Accum<T>>();
}

}  // namespace

void norm_statistics(const View& x, const Out& mean, const Out& var) {
  visit_floating(x.dtype, "norm", [&]<class T>() {
    using A = Accum<T>;
    with_index({x}, [&]<class I>() {
      gpu::launch(statistics_kernel<T, I>, blocks_of(mean.size(), threads, "norm_statistics"),
                  Channels<const T, I>(x, mean.dim(0)), static_cast<I>(x.dim(1)), mean.as<A>(), var.as<A>());
    });
  });
}

void norm_finish(const View& mean, const View& var, const Out& rstd, const Out& running_mean, const Out& running_var,
                 const NormUpdate& update) {
  check(running_mean.dtype == running_var.dtype, "norm: running_mean is ", running_mean.dtype, ", running_var ",
        running_var.dtype);
  const std::int64_t count = var.size(), channels = running_mean.data ? running_mean.size() : 0;
  visit_floating(var.dtype, "norm", [&]<class T>() {
    using A = Accum<T>;
    visit_floating(running_mean.dtype, "norm", [&]<class R>() {
      gpu::launch(finish_kernel<A, R>, blocks_of((count + threads - 1) / threads, threads, "norm_finish"), count, channels,
                  numbers<T>(mean), numbers<T>(var), rstd.as<A>(), running_mean.as<R>(), running_var.as<R>(), update);
    });
  });
}

void norm_apply(const View& x, const View& mean, const View& rstd, const View& weight, const View& bias, const Out& y,
                double slope) {
  visit_floating(x.dtype, "norm", [&]<class T>() {
    with_index({x, y}, [&]<class I>() {
      gpu::launch(apply_kernel<T, I>, blocks_of(mean.size(), threads, "norm_apply"), Channels<const T, I>(x, mean.dim(0)),
                  Channels<T, I>(y, mean.dim(0)), static_cast<I>(x.dim(1)), numbers<T>(mean), numbers<T>(rstd),
                  numbers<T>(weight), numbers<T>(bias), static_cast<Accum<T>>(slope));
    });
  });
}

void norm_backward(const View& g, const View& x, const View& mean, const View& rstd, const View& weight, const View& bias,
                   const Out& dx, const Out& dweight, const Out& dbias, double slope, bool batch) {
  View to = x;  // where there is no dx its strides do not matter
  if (dx.data) to = dx;
  else to.data = nullptr;
  visit_floating(x.dtype, "norm", [&]<class T>() {
    using A = Accum<T>;
    with_index({g, x, to}, [&]<class I>() {
      const std::int64_t segments = mean.dim(0);
      gpu::launch(backward_kernel<T, I>, blocks_of(mean.size(), threads, "norm_backward"), Channels<const T, I>(g, segments),
                  Channels<const T, I>(x, segments), Channels<T, I>(to, segments), static_cast<I>(x.dim(1)), numbers<T>(mean),
                  numbers<T>(rstd), numbers<T>(weight), numbers<T>(bias), dweight.as<A>(), dbias.as<A>(), slope, batch);
    });
  });
}

}  // namespace cuboid::cuda
