// SPDX-License-Identifier: Apache-2.0
#include "core/driver.h"

#include "core/error.h"
#include "core/gpu.h"

namespace cuboid::cuda {

#if CUBOID_EMULATED
std::string device_problem() { return gpu::device_count() > 0 ? "" : "the emulator has no device"; }
#else
namespace {
std::string text_of(int version) { return join_text(version / 1000, '.', version % 1000 / 10); }
}  // namespace

std::string device_problem() {
  int count = 0, driver = 0, runtime = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  cudaGetLastError();
  if (status == cudaSuccess && count > 0) return "";
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  if (driver == 0) return "no NVIDIA driver is installed";
  if (status == cudaErrorInsufficientDriver || driver / 1000 < runtime / 1000)
    return join_text("the driver is for CUDA ", text_of(driver), ", this build for CUDA ", text_of(runtime),
                     ": install a newer driver, or build with an older toolkit");
  if (status == cudaErrorNoDevice || status == cudaSuccess)
    return "the driver sees no GPU (nvidia-smi -L; is CUDA_VISIBLE_DEVICES empty?)";
  return cudaGetErrorString(status);
}
#endif

}  // namespace cuboid::cuda
