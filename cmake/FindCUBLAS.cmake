# cuBLASLt, a part of the CUDA toolkit that can be missing.
find_path(CUBLAS_INCLUDE_DIR cublasLt.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
find_library(CUBLAS_LIBRARY cublasLt HINTS ${CUDAToolkit_LIBRARY_DIR})
mark_as_advanced(CUBLAS_INCLUDE_DIR CUBLAS_LIBRARY)
if(CUBLAS_INCLUDE_DIR)
  cuboid_read_version(CUBLAS ${CUBLAS_INCLUDE_DIR}/cublas_api.h CUBLAS_VER_MAJOR CUBLAS_VER_MINOR CUBLAS_VER_PATCH)
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(CUBLAS REQUIRED_VARS CUBLAS_LIBRARY CUBLAS_INCLUDE_DIR VERSION_VAR CUBLAS_VERSION)
if(CUBLAS_FOUND AND NOT TARGET CUBLAS::cublasLt)
  add_library(CUBLAS::cublasLt UNKNOWN IMPORTED)
  set_target_properties(CUBLAS::cublasLt PROPERTIES
    IMPORTED_LOCATION ${CUBLAS_LIBRARY} INTERFACE_INCLUDE_DIRECTORIES ${CUBLAS_INCLUDE_DIR})
endif()
