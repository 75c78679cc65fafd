// SPDX-License-Identifier: Apache-2.0
// oneDNN as a box of single-threaded kernels. The caller cuts the work into units by shape alone and runs them with
// parallel_for, so results do not depend on the number of threads. Only onednn.cpp includes oneDNN itself.
//
//   Unit u{.samples = 1, .in_channels = 128, .out_channels = 32, .in = {16, 16, 16}, .out = {16, 16, 16},
//          .kernel = {3, 3, 3}, .pad_lo = {1, 1, 1}};
//   const Kernel& f = kernel(Pass::forward, u);     // ~0.1 us once it is known to this thread
//   Scratch<char> packed(f.weight_bytes());         // the weights in this kernel's own order: once for all units
//   f.pack(w, packed.data());
//   parallel_for(8, [&](std::int64_t i) { kernel(Pass::forward, u).forward(x + i * xs, packed.data(), nullptr, y + i * ys); });
#pragma once
#include <array>
#include <cstdint>
#include <memory>

#include "core/dtype.h"

namespace cuboid::onednn {

using Triple = std::array<std::int64_t, 3>;  // depth, height, width

enum class Pass : std::uint8_t { forward, backward_data, backward_weights };

/// One piece of a convolution. Activations are dense N,D,H,W,C in memory; weights plain K,C/groups,D,H,W (with groups:
/// the K of group 0 first, as in PyTorch). 2D problems have depth 1. The padding at the end follows from the rest.
struct Unit {
  DType dtype = DType::f32;  // f32 or bf16
  std::int64_t samples = 1, in_channels = 1, out_channels = 1, groups = 1;
  Triple in{1, 1, 1}, out{1, 1, 1}, kernel{1, 1, 1}, stride{1, 1, 1}, dilation{1, 1, 1}, pad_lo{0, 0, 0};
  bool bias = false;  // forward: a bias (out_channels) of the unit's dtype is added

  friend bool operator==(const Unit&, const Unit&) = default;
};

/// A compiled primitive. Belongs to the thread that asked for it and runs on that thread only.
class Kernel {
 public:
  Kernel(Pass pass, const Unit& unit);
  ~Kernel();

  /// Size of the weights (or of their gradient) in this kernel's own order, which depends on the pass and the unit.
  std::int64_t weight_bytes() const;
  /// True when packed weights of `other` serve this kernel too.
  bool same_weights(const Kernel& other) const;
  /// Plain weights of the unit's dtype -> packed.
  void pack(const void* plain, void* packed) const;
  /// Packed gradient -> plain. Both are f32, also when the unit is bf16.
  void unpack(const void* packed, void* plain) const;

  /// `bias` is ignored unless the unit has one.
  void forward(const void* x, const void* packed, const void* bias, void* y) const;
  void backward_data(const void* dy, const void* packed, void* dx) const;
  /// Overwrites packed_dw; sums over the unit's samples in a fixed order.
  void backward_weights(const void* x, const void* dy, void* packed_dw) const;

  /// oneDNN's name of the implementation, for benches and logs.
  const char* implementation() const;

 private:
  struct Compiled;
  std::unique_ptr<Compiled> p_;
};

/// The kernel for this unit on the calling thread; compiled at the first call, then looked up. Never null.
const Kernel& kernel(Pass pass, const Unit& unit);

/// C (M x N) = alpha * op(A) * op(B) + beta * C on the calling thread alone. Row major, ld* = elements between rows;
/// op(A) is M x K, op(B) is K x N; a transposed operand is stored the other way round.
void sgemm(bool transpose_a, bool transpose_b, std::int64_t m, std::int64_t n, std::int64_t k, float alpha, const float* a,
           std::int64_t lda, const float* b, std::int64_t ldb, float beta, float* c, std::int64_t ldc);

}  // namespace cuboid::onednn
