# LibTorch, for the parity tests and the comparison benchmarks only. Torch's own config file pulls in Caffe2, protobuf and
# compiler flags that would reach every target; a header path and three libraries are all that is needed.
# CUBOID_HAS_TORCH and the target LibTorch::torch follow. LibTorch_ROOT=/path points to another copy.
find_path(LibTorch_INCLUDE_DIR torch/csrc/api/include/torch/torch.h)
find_library(LibTorch_LIBRARY torch)
find_library(LibTorch_CPU_LIBRARY torch_cpu)
find_library(LibTorch_C10_LIBRARY c10)
mark_as_advanced(LibTorch_INCLUDE_DIR LibTorch_LIBRARY LibTorch_CPU_LIBRARY LibTorch_C10_LIBRARY)
if(LibTorch_INCLUDE_DIR)
  set(LibTorch_API_INCLUDE_DIR ${LibTorch_INCLUDE_DIR}/torch/csrc/api/include)
  cuboid_read_version(LibTorch ${LibTorch_API_INCLUDE_DIR}/torch/version.h TORCH_VERSION_MAJOR TORCH_VERSION_MINOR TORCH_VERSION_PATCH)
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LibTorch_CPU_LIBRARY LibTorch_LIBRARY LibTorch_C10_LIBRARY LibTorch_INCLUDE_DIR VERSION_VAR LibTorch_VERSION)
if(LibTorch_FOUND AND NOT TARGET LibTorch::torch)
  add_library(LibTorch::torch INTERFACE IMPORTED)
  target_include_directories(LibTorch::torch INTERFACE ${LibTorch_INCLUDE_DIR} ${LibTorch_API_INCLUDE_DIR})
  target_link_libraries(LibTorch::torch INTERFACE ${LibTorch_LIBRARY} ${LibTorch_CPU_LIBRARY} ${LibTorch_C10_LIBRARY})
endif()
