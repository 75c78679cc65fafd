# LibTorch, for the parity tests and the comparison benchmarks only. Torch's own config file pulls in Caffe2, protobuf and
# compiler flags that would reach every target; a header path and a few libraries are all that is needed.
# The one that PyPI's torch carries goes before the system's; CMAKE_PREFIX_PATH or LibTorch_ROOT=/path point to another copy.
# CUBOID_HAS_TORCH and the target LibTorch::torch follow.
if(NOT DEFINED LibTorch_FOLDER)
  find_program(LibTorch_PYTHON NAMES python3)
  mark_as_advanced(LibTorch_PYTHON)
  if(LibTorch_PYTHON)
    execute_process(OUTPUT_VARIABLE folder OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET COMMAND ${LibTorch_PYTHON} -c
      "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '')")
  endif()
  set(LibTorch_FOLDER "${folder}" CACHE INTERNAL "where python3 has its torch")
endif()
set(old_abi "")
if(LibTorch_FOLDER AND EXISTS ${LibTorch_FOLDER}/share/cmake/Torch/TorchConfig.cmake)
  file(STRINGS ${LibTorch_FOLDER}/share/cmake/Torch/TorchConfig.cmake old_abi REGEX "_GLIBCXX_USE_CXX11_ABI=0")
endif()
set(hints)
if(LibTorch_FOLDER AND NOT old_abi)  # before 2.6 it was compiled for the C++ library of 2011: nothing else could be linked with it
  set(hints HINTS ${LibTorch_FOLDER})
endif()
find_path(LibTorch_INCLUDE_DIR torch/csrc/api/include/torch/torch.h ${hints} PATH_SUFFIXES include)
foreach(name torch_cpu c10 torch_cuda c10_cuda)
  string(TOUPPER ${name} key)
  get_filename_component(beside "${LibTorch_INCLUDE_DIR}" DIRECTORY)
  find_library(LibTorch_${key}_LIBRARY ${name} HINTS ${beside}/lib)
  mark_as_advanced(LibTorch_${key}_LIBRARY)
endforeach()
find_path(LibTorch_CUDA_INCLUDE_DIR cuda_runtime_api.h HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES include)
mark_as_advanced(LibTorch_INCLUDE_DIR LibTorch_CUDA_INCLUDE_DIR)
if(LibTorch_INCLUDE_DIR)
  set(LibTorch_API_INCLUDE_DIR ${LibTorch_INCLUDE_DIR}/torch/csrc/api/include)
  foreach(header ${LibTorch_INCLUDE_DIR}/torch/headeronly/version.h ${LibTorch_API_INCLUDE_DIR}/torch/version.h)
    if(EXISTS ${header} AND NOT LibTorch_VERSION)
      cuboid_read_version(LibTorch ${header} TORCH_VERSION_MAJOR TORCH_VERSION_MINOR TORCH_VERSION_PATCH)
    endif()
  endforeach()
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LibTorch_TORCH_CPU_LIBRARY LibTorch_C10_LIBRARY LibTorch_INCLUDE_DIR VERSION_VAR LibTorch_VERSION)
if(LibTorch_FOUND AND NOT TARGET LibTorch::torch)
  add_library(LibTorch::torch INTERFACE IMPORTED)
  target_include_directories(LibTorch::torch INTERFACE ${LibTorch_INCLUDE_DIR} ${LibTorch_API_INCLUDE_DIR})
  # not libtorch itself: it is empty, and brings libtorch_cuda
  target_link_libraries(LibTorch::torch INTERFACE ${LibTorch_TORCH_CPU_LIBRARY} ${LibTorch_C10_LIBRARY})
  # In a build for the CPU it stays out: it would take memory and time to load, and the CUDA runtime it wants is not linked.
  if(CUBOID_CUDA AND LibTorch_TORCH_CUDA_LIBRARY AND LibTorch_C10_CUDA_LIBRARY AND LibTorch_CUDA_INCLUDE_DIR)
    target_compile_definitions(LibTorch::torch INTERFACE CUBOID_TORCH_CUDA=1)
    # Nobody calls libtorch_cuda by name: its kernels are there when it is loaded. Its own libraries lie where it says.
    target_include_directories(LibTorch::torch INTERFACE ${LibTorch_CUDA_INCLUDE_DIR})
    target_link_libraries(LibTorch::torch INTERFACE ${LibTorch_C10_CUDA_LIBRARY}
      -Wl,--push-state,--no-as-needed ${LibTorch_TORCH_CUDA_LIBRARY} -Wl,--pop-state -Wl,--allow-shlib-undefined)
  endif()
endif()
