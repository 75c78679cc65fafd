// SPDX-License-Identifier: Apache-2.0
// Small mistakes with memory: of the host, of the block, of nobody; and arithmetic that overflows.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#include "tests/emulator/bugs/bugs.h"

namespace cuboid::test {
namespace {

template <class... P, class... A>
std::vector<float> results(void (*kernel)(float*, P...), unsigned blocks, unsigned threads, std::size_t count, A... arguments) {
  const Buffer<float> out(count, 0);
  gpu::launch(kernel, {.grid = dim3(blocks), .block = dim3(threads), .name = "small"}, out, arguments...);
  return out.host();
}
bool all_equal(const std::vector<float>& got, float expected) {
  for (const float v : got)
    if (v != expected) return false;
  return true;
}

// ---- whose memory ------------------------------------------------------------------------------

__global__ void copy_kernel(float* to, const float* from) { to[threadIdx.x] = from[threadIdx.x]; }
float static_numbers[64];
bool static_host_pointer() { return all_equal(results(copy_kernel, 1, 64, 64, static_numbers), 0); }
bool heap_host_pointer() {
  std::vector<float> x(64, 3.f);
  return all_equal(results(copy_kernel, 1, 64, 64, x.data()), 3);
}
__global__ void store_kernel(float*, float* host) { host[threadIdx.x] = 1; }
bool kernel_writes_host() {
  std::vector<float> x(64);
  results(store_kernel, 1, 64, 64, x.data());
  return all_equal(x, 1);
}
/// In a child process: it dies.
bool host_reads_device() {
  const Buffer<float> x(64, 0);
  const pid_t child = fork();
  if (child == 0) {
    if (!freopen("/dev/null", "w", stderr)) _exit(0);
    const volatile float* p = x;
    _exit(p[3] == 0 ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (!WIFEXITED(status)) throw emulator::Error("host-access", "the host died");
  return true;
}
bool never_written() {
  const Buffer<float> nothing(64);
  results(copy_kernel, 1, 64, 64, static_cast<float*>(nothing));
  return true;
}
__global__ void offset_kernel(float* to, const float* from, int offset) {
  to[threadIdx.x] = from[static_cast<int>(threadIdx.x) + offset];
}
bool before_the_beginning() {
  const Buffer<float> x(64, 0);
  results(offset_kernel, 1, 64, 64, static_cast<float*>(x), -1);
  return true;
}
bool null_pointer() {
  results(copy_kernel, 1, 64, 64, static_cast<float*>(nullptr));
  return true;
}

// ---- shared memory -----------------------------------------------------------------------------

__global__ void sixty_of_64_kernel(float* out, bool masked) {
  GPU_SHARED(float, s, [64]);
  if (threadIdx.x < 60) s[threadIdx.x] = 1;
  __syncthreads();
  const float v = s[threadIdx.x];
  out[threadIdx.x] = masked && !(v > 0) ? 1 : v;
}
bool uninitialised_shared() { return all_equal(results(sixty_of_64_kernel, 1, 64, 64, false), 1); }
bool uninitialised_shared_masked() { return all_equal(results(sixty_of_64_kernel, 1, 64, 64, true), 1); }

__global__ void neighbour_kernel(float* out) {
  GPU_SHARED(float, a, [64]);
  GPU_SHARED(float, b, [64]);
  const unsigned t = threadIdx.x;
  a[t] = 0;
  b[t] = 2;
  __syncthreads();
  float* p = a;
  if (t == 63) p[t + 1 + 16] = 7;
  __syncthreads();
  out[t] = b[t];
}
bool overrun_into_the_next_array() { return all_equal(results(neighbour_kernel, 1, 64, 64), 2); }

struct Two {
  float a[64], b[64];
};
__global__ void inside_kernel(float* out) {
  GPU_SHARED(Two, s, [1]);
  const int t = static_cast<int>(threadIdx.x);
  s[0].b[t] = 2;
  __syncthreads();
  s[0].a[t == 63 ? 64 : t] = 7;
  __syncthreads();
  out[t] = s[0].b[t];
}
bool overrun_within_a_struct() { return all_equal(results(inside_kernel, 1, 64, 64), 2); }

// ---- blocks and results ------------------------------------------------------------------------

__global__ void same_cell_kernel(float* out) { out[threadIdx.x] = 5; }
bool blocks_write_the_same() { return all_equal(results(same_cell_kernel, 4, 64, 64), 5); }
__global__ void increment_kernel(float* out) { out[threadIdx.x] += 1; }
bool blocks_increment_the_same() { return all_equal(results(increment_kernel, 4, 64, 64), 4); }
__global__ void skip_last_kernel(float* out, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count - 1) out[i] = 1;
}
bool last_element_missing() {
  const Buffer<float> out(100);
  gpu::launch(skip_last_kernel, {.grid = dim3(1), .block = dim3(128), .name = "skip_last"}, out, 100);
  return all_equal(out.host(), 1);
}

// ---- arithmetic --------------------------------------------------------------------------------

__global__ void local_kernel(float* out, int count) {
  float x[8];
  for (int i = 0; i < count - 1; ++i) x[i] = 1;
  float sum = 0;
  for (int i = 0; i < count; ++i) sum += x[i];
  out[threadIdx.x] = sum;
}
bool uninitialised_local() { return all_equal(results(local_kernel, 1, 64, 64, 8), 8); }
__global__ void shift_kernel(float* out, int n) {
  out[threadIdx.x] = static_cast<float>(1u << (n + static_cast<int>(threadIdx.x)));
}
bool shift_too_far() { return !results(shift_kernel, 1, 32, 32, 8).empty(); }
__global__ void overflow_kernel(float* out, int n) {
  out[threadIdx.x] = static_cast<float>(n * static_cast<int>(blockDim.x) * 65536);
}
bool index_overflows() { return !results(overflow_kernel, 1, 256, 256, 200).empty(); }
__global__ void divide_kernel(float* out, int n) {
  out[threadIdx.x] = static_cast<float>(100 / (n - static_cast<int>(threadIdx.x)));
}
bool division_by_zero() { return !results(divide_kernel, 1, 32, 32, 16).empty(); }
__global__ void convert_kernel(float* out, float x) { out[threadIdx.x] = static_cast<float>(static_cast<int>(x * 1e9f)); }
bool float_to_int_out_of_range() { return !results(convert_kernel, 1, 32, 32, 1e3f).empty(); }

}  // namespace

Family memories() {
  return {"memory",
          {},
          {{"a static host array given to a kernel", static_host_pointer, false},
           {"a host vector given to a kernel", heap_host_pointer, false},
           {"a kernel writes host memory", kernel_writes_host, false},
           {"the host reads device memory", host_reads_device},
           {"device memory never written", never_written, false},
           {"an element before the beginning", before_the_beginning, false},
           {"null pointer", null_pointer},
           {"uninitialised shared memory reaches the result", uninitialised_shared},
           {"uninitialised shared memory, masked", uninitialised_shared_masked, false},
           {"overrun into the next shared array", overrun_into_the_next_array},
           {"overrun within a shared struct", overrun_within_a_struct},
           {"blocks write the same value to the same place", blocks_write_the_same, false},
           {"blocks increment the same place", blocks_increment_the_same, false},
           {"the last element is not written", last_element_missing},
           {"uninitialised element of a local array", uninitialised_local, false},
           {"shift by 32 and more", shift_too_far, false},
           {"32-bit index overflows", index_overflows, false},
           {"integer division by zero", division_by_zero},
           {"float to int out of range", float_to_int_out_of_range, false}}};
}

}  // namespace cuboid::test
