// SPDX-License-Identifier: Apache-2.0
// What the machine answers when asked for NVIDIA's libraries: for `cuboid doctor` and for result files.
#pragma once
#include <string>
#include <vector>

namespace cuboid {

struct VendorLibrary {
  std::string name, version;  // of the library that is loaded, not of the header it was compiled with
};
/// The driver, the CUDA runtime and the vendor's libraries that this build uses; empty in a build without CUDA.
std::vector<VendorLibrary> vendor_libraries();

}  // namespace cuboid
