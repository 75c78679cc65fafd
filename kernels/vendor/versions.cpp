// SPDX-License-Identifier: Apache-2.0
#include "kernels/vendor/versions.h"

#include <fstream>

#include "core/cuda.h"
#include "core/error.h"
#if CUBOID_CUDNN
#include "kernels/vendor/cudnn.h"
#endif
#if CUBOID_CUBLAS
#include "kernels/conv/cublas.h"
#endif

namespace cuboid {
namespace {

[[maybe_unused]] std::string of_cuda(int v) { return join_text(v / 1000, '.', v % 1000 / 10); }
[[maybe_unused]] std::string of_library(int v) { return join_text(v / 10000, '.', v / 100 % 100, '.', v % 100); }

/// "580.159.04", from what the kernel module says; empty where it says nothing.
[[maybe_unused]] std::string kernel_module() {
  std::string version;
  std::ifstream("/sys/module/nvidia/version") >> version;
  return version;
}

}  // namespace

std::vector<VendorLibrary> vendor_libraries() {
  std::vector<VendorLibrary> all;
#if CUBOID_CUDA
  if (cuda::available()) {
    const cuda::DeviceInfo device = cuda::device_info();
    if (const std::string module = kernel_module(); !module.empty()) all.push_back({"driver", module});
    all.push_back({"CUDA of the driver", of_cuda(device.driver_version)});
    all.push_back({"CUDA runtime", of_cuda(device.runtime_version)});
  }
#endif
#if CUBOID_CUDNN
  all.push_back({"cuDNN", of_library(cudnn::version())});
#endif
#if CUBOID_CUBLAS
  all.push_back({"cuBLASLt", of_library(cublas::version())});
#endif
  return all;
}

}  // namespace cuboid
