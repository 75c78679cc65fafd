// SPDX-License-Identifier: Apache-2.0
// oneDNN as a box of single-threaded kernels. The caller cuts the work into units by shape alone and runs them with
// parallel_for, so results do not depend on the number of threads. Only onednn.cpp includes oneDNN itself.
//
//   Unit u{.samples = 1, .in_channels = 128, .out_channels = 32, .in = {16, 16, 16}, .out = {16, 16, 16},
//          .kernel = {3, 3, 3}, .pad_lo = {1, 1, 1}};
//   const Kernel& f = kernel(Pass::forward, u);     // ~0.1 us once it is known to this thread
//   const auto packed = f.packed(w, nullptr);       // the weights in this kernel's own order: once for all units
//   parallel_for(8, [&](std::int64_t i) { kernel(Pass::forward, u).forward(x + i * xs, packed.get(), nullptr, y + i * ys); });
//
// kernels/conv/units.h does the cutting for a whole convolution.
#pragma once
#include <memory>

#include "core/tensor.h"
#include "kernels/conv/geometry.h"

namespace cuboid::onednn {

using Unit = Geometry;  // activations dense in memory, as N,D,H,W,C; weights plain; dtype f32 or bf16

enum class Pass : std::uint8_t { forward, backward_data, backward_weights };

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
  /// As pack, into memory that lives with `home`, the storage of the weights, until they change; home may be null.
  std::shared_ptr<const void> packed(const void* plain, Storage* home) const;
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
