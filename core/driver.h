// SPDX-License-Identifier: Apache-2.0
// Why there is no CUDA device, in words for whoever has to mend it.
#pragma once
#include <string>

namespace cuboid::cuda {

#if CUBOID_CUDA
/// Empty where a device answers. A driver that is missing or older than the toolkit of this build is named with both versions.
std::string device_problem();
#else
inline std::string device_problem() { return "this build has no CUDA support"; }
#endif

}  // namespace cuboid::cuda
