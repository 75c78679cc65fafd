// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/conv.h"

namespace cuboid {

ConvSpec ConvSpec::make(int rank, std::int64_t stride, std::int64_t pad, std::int64_t dilation, std::int64_t groups) {
  const auto all = [&](std::int64_t v) { return Shape::filled(rank, v); };
  return {all(stride), all(pad), all(pad), all(dilation), groups};
}

namespace {

/// What holds for all three maps: ranks agree, values make sense, groups divide the weights' output channels.
void check_spec(const ConvSpec& s, const Shape& x, const Shape& w) {
  const int rank = s.rank();
  check(rank >= 1 && rank <= 3, "conv: ", rank, " spatial dimensions; 1 to 3 are supported");
  check(s.pad_lo.rank() == rank && s.pad_hi.rank() == rank && s.dilation.rank() == rank, "conv: stride ", s.stride, ", padding ",
        s.pad_lo, s.pad_hi, " and dilation ", s.dilation, " differ in length");
  check(x.rank() == rank + 2 && w.rank() == rank + 2, "conv: x ", x, " and w ", w, " must have ", rank + 2, " dimensions");
  for (int i = 0; i < rank; ++i) {
    check(s.stride[i] >= 1 && s.dilation[i] >= 1, "conv: stride ", s.stride, " and dilation ", s.dilation, " must be positive");
    check(s.pad_lo[i] >= 0 && s.pad_hi[i] >= 0, "conv: padding ", s.pad_lo, s.pad_hi, " must not be negative");
    check(w[2 + i] >= 1, "conv: w ", w, " has an empty kernel");
  }
  check(s.groups >= 1 && w[0] % s.groups == 0, "conv: ", w[0], " output channels do not divide into ", s.groups, " groups");
}

std::int64_t extent(const ConvSpec& s, const Shape& w, int i) { return (w[2 + i] - 1) * s.dilation[i] + 1; }

}  // namespace

Shape ConvSpec::output_shape(const Shape& x, const Shape& w) const {
  check_spec(*this, x, w);
  check(x[1] == w[1] * groups, "conv: x has ", x[1], " channels, w expects ", w[1] * groups);
  Shape y{x[0], w[0]};
  for (int i = 0; i < rank(); ++i) {
    const std::int64_t room = x[2 + i] + pad_lo[i] + pad_hi[i] - extent(*this, w, i);
    check(room >= 0, "conv: the result is empty: x ", x, " with padding ", pad_lo, pad_hi, " is smaller than the kernel of w ", w,
          " with dilation ", dilation);
    y.push_back(room / stride[i] + 1);
  }
  return y;
}

Shape ConvSpec::transposed_shape(const Shape& x, const Shape& w, const Shape& output_pad) const {
  check_spec(*this, x, w);
  check(x[1] == w[0], "conv_transpose: x has ", x[1], " channels, w expects ", w[0]);
  check(output_pad.empty() || output_pad.rank() == rank(), "conv_transpose: output padding ", output_pad, " for ", rank(),
        " spatial dimensions");
  Shape y{x[0], w[1] * groups};
  for (int i = 0; i < rank(); ++i) {
    const std::int64_t more = output_pad.empty() ? 0 : output_pad[i];
    check(more >= 0 && more < stride[i], "conv_transpose: output padding ", output_pad, " must be smaller than the stride ",
          stride);
    const std::int64_t size = (x[2 + i] - 1) * stride[i] + extent(*this, w, i) - pad_lo[i] - pad_hi[i] + more;
    check(x[2 + i] >= 1 && size >= 1, "conv_transpose: the result is empty for x ", x, ", w ", w);
    y.push_back(size);
  }
  return y;
}

std::vector<std::int64_t> numbers_of(const ConvSpec& spec) {
  std::vector<std::int64_t> numbers{spec.groups};
  for (const auto* s : {&spec.stride, &spec.pad_lo, &spec.pad_hi, &spec.dilation})
    numbers.insert(numbers.end(), s->begin(), s->end());
  return numbers;
}

}  // namespace cuboid
