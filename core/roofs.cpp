// SPDX-License-Identifier: Apache-2.0
#include "core/roofs.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "core/error.h"
#include "core/parallel.h"

namespace cuboid {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// ---- multiply-adds -------------------------------------------------------------------------------

// Twelve chains hide a latency of four to six cycles in two pipes, and with two constants fit the sixteen registers of AVX2.
constexpr int chains = 12, steps = 4096;
template <int width>
using Vector [[gnu::vector_size(4 * width)]] = float;

template <int width>
[[gnu::always_inline]] inline float multiply_adds(float seed) {
  Vector<width> x[chains], a = Vector<width>{} + 0.999F, b = Vector<width>{} + seed;
  for (int c = 0; c < chains; ++c) x[c] = Vector<width>{} + static_cast<float>(c);
  for (int i = 0; i < steps; ++i)
    for (int c = 0; c < chains; ++c) x[c] = x[c] * a + b;
  Vector<width> sum = {};
  for (int c = 0; c < chains; ++c) sum += x[c];
  float total = 0;
  for (int i = 0; i < width; ++i) total += sum[i];
  return total;
}

struct Kernel {
  int width;
  float (*run)(float seed);
};

// The program may be compiled for an older processor than the one it runs on; oneDNN is not.
#if defined(__x86_64__)
[[gnu::target("avx512f")]] float wide(float seed) { return multiply_adds<16>(seed); }
[[gnu::target("avx2,fma")]] float half(float seed) { return multiply_adds<8>(seed); }
float narrow(float seed) { return multiply_adds<4>(seed); }
Kernel best_kernel() {
  if (__builtin_cpu_supports("avx512f")) return {16, wide};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return {8, half};
  return {4, narrow};
}
#else
float narrow(float seed) { return multiply_adds<4>(seed); }
Kernel best_kernel() { return {4, narrow}; }
#endif

/// Nobody reads it; the compiler cannot know.
volatile float sink = 0;

detail::Sample multiply_adds_once() {
  static const Kernel kernel = best_kernel();
  constexpr int repeats = 16;  // half a millisecond or so per chunk
  const std::int64_t chunks = 8 * thread_count();
  const auto start = Clock::now();
  parallel_for(chunks, [](std::int64_t i) {
    float sum = 0;
    for (int r = 0; r < repeats; ++r) sum += kernel.run(1e-3F * static_cast<float>(i + r + 1));
    sink = sum;
  });
  return {2.0 * chains * steps * repeats * kernel.width * static_cast<double>(chunks), seconds_since(start)};
}

// ---- memory --------------------------------------------------------------------------------------

/// Three arrays that no cache holds, in huge pages where the system has them; not from the allocator, which would keep them.
class Arrays {
 public:
  Arrays() {
    const std::int64_t cache = std::max<std::int64_t>(sysconf(_SC_LEVEL3_CACHE_SIZE), sysconf(_SC_LEVEL2_CACHE_SIZE));
    count_ = std::clamp<std::int64_t>(4 * cache / 3, 32 << 20, 512 << 20) / 64 * 16;  // floats, whole lines
    void* p = mmap(nullptr, bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check<OutOfMemory>(p != MAP_FAILED, "measure_roofs: no memory for three arrays of ", count_, " floats");
    madvise(p, bytes(), MADV_HUGEPAGE);
    data_ = static_cast<float*>(p);
    parallel_ranges(3 * count_, grain,
                    [&](std::int64_t begin, std::int64_t end) { std::fill(data_ + begin, data_ + end, 1.0F); });
  }
  Arrays(const Arrays&) = delete;
  Arrays& operator=(const Arrays&) = delete;
  ~Arrays() { munmap(data_, bytes()); }

  detail::Sample sum() const {
    const auto start = Clock::now();
    parallel_ranges(3 * count_, grain, [&](std::int64_t begin, std::int64_t end) {
      Vector<16> part[4] = {};
      for (std::int64_t i = begin; i + 64 <= end; i += 64)
        for (int k = 0; k < 4; ++k) part[k] += *reinterpret_cast<const Vector<16>*>(data_ + i + 16 * k);
      part[0] += part[1] + part[2] + part[3];
      sink = part[0][0];
    });
    return {static_cast<double>(bytes()), seconds_since(start)};
  }
  detail::Sample triad() const {
    float* a = data_;
    const float *b = data_ + count_, *c = data_ + 2 * count_;
    const auto start = Clock::now();
    parallel_ranges(count_, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i + 16 <= end; i += 16) {
        const auto value = *reinterpret_cast<const Vector<16>*>(b + i) + 0.5F * *reinterpret_cast<const Vector<16>*>(c + i);
        store_past_caches(value, a + i);
      }
    });
    return {static_cast<double>(bytes()), seconds_since(start)};
  }

 private:
  static constexpr std::int64_t grain = 1 << 18;  // 1 MiB

  /// Without the read that a store into a cache begins with.
  static void store_past_caches(const Vector<16>& value, float* to) {
#if defined(__SSE2__)
    using Four [[gnu::vector_size(16)]] = float;
    const auto* parts = reinterpret_cast<const Four*>(&value);
    for (int k = 0; k < 4; ++k) __builtin_ia32_movntps(to + 4 * k, parts[k]);
#else
    *reinterpret_cast<Vector<16>*>(to) = value;
#endif
  }
  std::size_t bytes() const { return 3 * static_cast<std::size_t>(count_) * sizeof(float); }

  std::int64_t count_ = 0;
  float* data_ = nullptr;
};

// ---- both ----------------------------------------------------------------------------------------

template <class F>
Rate measure(double seconds, F&& once) {
  once();
  std::vector<double> rates;
  const auto start = Clock::now();
  do {
    const detail::Sample s = once();
    rates.push_back(s.amount / std::max(s.seconds, 1e-9));
  } while (rates.size() < 3 || seconds_since(start) < seconds);
  std::sort(rates.begin(), rates.end());
  return {rates.back(), rates[rates.size() / 2]};
}

}  // namespace

Roofs measure_roofs(Device device, double seconds) {
#if CUBOID_CUDA
  if (device == Device::cuda) {
    const Rate flops = measure(seconds / 2, detail::cuda_multiply_adds);
    const Rate bytes = measure(seconds / 2, detail::cuda_stream);
    return {flops, bytes};
  }
#endif
  check<DeviceError>(device == Device::cpu, "measure_roofs: this build has no CUDA support");
  const Rate flops = measure(seconds / 2, multiply_adds_once);
  const Arrays arrays;
  const Rate read = measure(seconds / 4, [&] { return arrays.sum(); });
  const Rate triad = measure(seconds / 4, [&] { return arrays.triad(); });
  return {flops, read.best > triad.best ? read : triad};
}

}  // namespace cuboid
