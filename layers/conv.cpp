// SPDX-License-Identifier: Apache-2.0
#include "layers/conv.h"

namespace cuboid {

Conv::Conv(std::int64_t in, std::int64_t out, ConvOptions o) : spec_(ConvSpec::make(o.dims, o.stride, 0, o.dilation, o.groups)) {
  for (const PerAxis* p : {&o.kernel, &o.pad})
    check(p->values.rank() == 1 || p->values.rank() == o.dims, "conv: ", p->values, " for ", o.dims, " axes");
  check(o.groups > 0 && in % o.groups == 0 && out % o.groups == 0, "conv: ", in, " and ", out, " channels in ", o.groups,
        " groups");
  Shape shape{out, in / o.groups};
  for (int i = 0; i < o.dims; ++i) {
    shape.push_back(o.kernel[i]);
    spec_.pad_lo[i] = spec_.pad_hi[i] = o.pad[i];
  }
  const std::int64_t fan = fan_of(shape, Fan::in);
  weight = Parameter(o.kaiming ? kaiming_normal(shape, *o.kaiming) : fan_uniform(shape, fan));
  if (o.bias) bias = Parameter(fan_uniform({out}, fan));
}

Tensor Conv::operator()(const Tensor& x) { return conv(to_compute(x), to_compute(weight), to_compute(bias), spec_); }

std::int64_t Conv::macs(const Shape& x) const {
  const Shape y = output_shape(x);
  return y.count() * (weight.size() / weight.dim(0));
}

}  // namespace cuboid
