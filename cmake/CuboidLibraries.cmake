# Every outside library, found once. CUBOID_WITH_X = AUTO (use it when it is there), ON (must be there) or OFF.
# cuboid_library(ONEDNN dnnl apt-package FIND_ARGS...) sets CUBOID_HAS_ONEDNN.
find_package(Threads REQUIRED)

macro(cuboid_library key package apt)
  set(CUBOID_WITH_${key} AUTO CACHE STRING "use ${package}: AUTO, ON or OFF")
  set_property(CACHE CUBOID_WITH_${key} PROPERTY STRINGS AUTO ON OFF)
  set(CUBOID_HAS_${key} OFF)
  if(NOT CUBOID_WITH_${key} STREQUAL "OFF")
    find_package(${package} ${ARGN} QUIET)
    if(${package}_FOUND)
      set(CUBOID_HAS_${key} ON)
    elseif(CUBOID_WITH_${key} STREQUAL "ON")
      message(FATAL_ERROR "CUBOID_WITH_${key}=ON, but ${package} was not found: apt install ${apt}")
    endif()
  endif()
endmacro()

cuboid_library(OPENMP OpenMP libgomp1)
cuboid_library(ONEDNN OneDNN libdnnl-dev)
cuboid_library(TIFF TIFF libtiff-dev)
cuboid_library(HDF5 HDF5 libhdf5-dev COMPONENTS C)
cuboid_library(PNG PNG libpng-dev)
cuboid_library(ZIP LibZip libzip-dev)
