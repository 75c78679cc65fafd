// SPDX-License-Identifier: Apache-2.0
// Random convolutions whose sizes lie around the edges of tiles and vectors, and one pass over all rows of the device:
// small whole numbers, so that every sum is exact in every order and a row is right only when nothing differs.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "kernels/conv/conv.h"
#include "kernels/dispatch.h"
#include "tests/test.h"

namespace cuboid::test {

/// Scope guard: f32 products may use TF32, or not.
class Tf32 {
 public:
  explicit Tf32(bool on) { dispatch::set_tf32(on); }
  Tf32(const Tf32&) = delete;
  Tf32& operator=(const Tf32&) = delete;
  ~Tf32() { dispatch::set_tf32(before_); }

 private:
  bool before_ = dispatch::tf32();
};

struct ConvProblem {
  Shape x, w;
  ConvSpec spec;
  DType dtype = DType::f32;
  bool bias = false, tf32 = false;
  Lies lies = Lies::channels_last;

  Shape y() const { return spec.output_shape(x, w); }
  friend std::ostream& operator<<(std::ostream& os, const ConvProblem& p) {
    return os << p.dtype << " x " << p.x << " w " << p.w << " stride " << p.spec.stride << " pad " << p.spec.pad_lo
              << p.spec.pad_hi << " dilation " << p.spec.dilation << " groups " << p.spec.groups << (p.bias ? " bias " : " ")
              << name_of(p.lies);
  }
};

/// Of at most `most` multiplications. The same seed, the same problems.
std::vector<ConvProblem> conv_problems(std::size_t count, std::uint64_t seed, double most);

/// How often each "op/row" was compared.
using ConvCounts = std::map<std::string, int>;

/// Runs every row of Device::cuda that fits, or the one named, in all three passes, against the CPU's reference. The first
/// difference, or nothing.
std::string compare_conv_rows(const ConvProblem& p, ConvCounts& counts, std::string_view only = "");

}  // namespace cuboid::test
