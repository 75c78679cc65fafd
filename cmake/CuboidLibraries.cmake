# Every outside library, found once. CUBOID_WITH_X = AUTO (use it when it is there), ON (must be there) or OFF.
# cuboid_library(KEY package apt-package "what it is for" FIND_ARGS...) sets CUBOID_HAS_KEY and notes a line for the
# feature table, which `cuboid doctor` prints too.
include(CuboidReadVersion)
find_package(Threads REQUIRED)

macro(cuboid_library key package apt purpose)
  set(CUBOID_WITH_${key} AUTO CACHE STRING "use ${package} (${purpose}): AUTO, ON or OFF")
  set_property(CACHE CUBOID_WITH_${key} PROPERTY STRINGS AUTO ON OFF)
  set(CUBOID_HAS_${key} OFF)
  if(NOT CUBOID_WITH_${key} STREQUAL "OFF")
    find_package(${package} ${ARGN} QUIET)
    if(${package}_FOUND)
      set(CUBOID_HAS_${key} ON)
    elseif(NOT CUBOID_WITH_${key} STREQUAL "AUTO")
      message(FATAL_ERROR "CUBOID_WITH_${key}=${CUBOID_WITH_${key}}, but ${package} was not found: apt install ${apt}")
    endif()
  endif()
  string(TOLOWER ${key} cuboid_feature)
  set(cuboid_version)
  foreach(name ${package}_CXX_VERSION ${package}_VERSION_STRING ${package}_VERSION)  # each module has its own name for it
    if(${name} AND NOT cuboid_version)
      set(cuboid_version ${${name}})
    endif()
  endforeach()
  cuboid_feature(${cuboid_feature} "${CUBOID_HAS_${key}}" "${cuboid_version}" "${purpose}" ${apt})
endmacro()

# Must be there for what was asked for; the error names the Debian package.
macro(cuboid_needs package apt why)
  find_package(${package} QUIET ${ARGN})
  if(NOT ${package}_FOUND)
    message(FATAL_ERROR "${package} was not found (${why}): apt install ${apt}")
  endif()
endmacro()

cuboid_library(OPENMP OpenMP libgomp1 "tells oneDNN to keep to one thread per call, our own threads need nothing" COMPONENTS CXX)
cuboid_library(ONEDNN OneDNN libdnnl-dev "fast convolution and matmul on the CPU")
cuboid_library(ZLIB ZLIB zlib1g-dev "compressed volumes (.npy.gz, .npz, .nii.gz, .mat)")
cuboid_library(ZIP LibZip libzip-dev "zip archives")
cuboid_library(TIFF TIFF libtiff-dev "TIFF stacks")
cuboid_library(HDF5 LibHDF5 libhdf5-dev "Tomocube TCF files")
cuboid_library(PNG PNG libpng-dev "PNG pictures")
if(NOT CUBOID_SANITIZE)  # what Open MPI leaks would hide what we leak
  cuboid_library(MPI MPI libopenmpi-dev "training on several processes that mpirun or srun starts" COMPONENTS CXX)
endif()
if(CUBOID_BUILD_TESTS OR CUBOID_BUILD_BENCH)
  cuboid_library(TORCH LibTorch libtorch-dev "parity tests and comparison benchmarks, nothing else")
endif()
