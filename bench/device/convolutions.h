// SPDX-License-Identifier: Apache-2.0
// The convolutions of the nets, each shape once, with how many layers of which net have it.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "bench/device/report.h"
#include "kernels/conv/conv.h"

namespace bench {

struct ConvCase {
  Shape x, w;  // N,C,D,H,W and K,C,kernel
  ConvSpec spec;
  std::map<std::string, int> layers = {};  // by net

  Shape y() const { return spec.output_shape(x, w); }
  std::string name() const;  // b8_c128_k32_s16_f3
  /// Of one pass, any of the three: taps on padding are not counted.
  Cost cost(DType dtype) const;
};

/// "densenet121_3d" and "csf" at 64^3, batch 8; "gcn_unet" at 128x128x64, batch 2. `tiny`: at sizes for a look at whether it
/// runs.
std::vector<ConvCase> convolutions(const std::vector<std::string>& nets, bool tiny);

enum class Pass : std::uint8_t { forward, input, weight };
inline constexpr Pass every_pass[] = {Pass::forward, Pass::input, Pass::weight};
/// conv3d_fwd, conv3d_bwd_data, conv3d_bwd_weight
const char* name_of(Pass pass);

/// Every row of the pass's table that the device has, on fresh data; the reference comes first and is timed if asked for.
std::vector<Candidate> candidates(const ConvCase& c, Pass pass, DType dtype, Device device, bool with_reference, bool check);

}  // namespace bench
