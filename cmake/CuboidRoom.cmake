# A room is a folder and a library: cuboid_room(kernels SUBFOLDERS DEPENDS core).
# Files of outside libraries (onednn.cpp, cudnn.cpp, ...) are left out here; CuboidBackends.cmake adds those that are wanted.
# CUDA sources (*.cu) come in as CuboidCuda.cmake says.
# A room without sources (headers only) becomes an INTERFACE library.
include(GNUInstallDirs)

function(cuboid_room name)
  cmake_parse_arguments(arg "SUBFOLDERS" "" "DEPENDS" ${ARGN})
  set(folder ${PROJECT_SOURCE_DIR}/${name})
  if(arg_SUBFOLDERS)
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${folder}/*.cpp)
  else()
    file(GLOB sources CONFIGURE_DEPENDS ${folder}/*.cpp)
  endif()
  list(FILTER sources EXCLUDE REGEX "/(onednn|cudnn|cublas|nccl|mpi|cuboid)\\.cpp$")
  cuboid_cuda_sources(kernels_of_room ${folder} "${arg_SUBFOLDERS}")
  list(APPEND sources ${kernels_of_room})
  list(TRANSFORM arg_DEPENDS PREPEND cuboid_)
  set(includes $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/generated>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/cuboid>)
  if(sources)
    add_library(cuboid_${name} STATIC ${sources})
    target_include_directories(cuboid_${name} PUBLIC ${includes})
    target_link_libraries(cuboid_${name} PUBLIC ${arg_DEPENDS} PRIVATE $<BUILD_INTERFACE:cuboid_options>)
    target_compile_features(cuboid_${name} PUBLIC cxx_std_20)
    set_target_properties(cuboid_${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  else()
    add_library(cuboid_${name} INTERFACE)
    target_include_directories(cuboid_${name} INTERFACE ${includes})
    target_link_libraries(cuboid_${name} INTERFACE ${arg_DEPENDS})
  endif()
  set_target_properties(cuboid_${name} PROPERTIES EXPORT_NAME ${name})
  add_library(cuboid::${name} ALIAS cuboid_${name})
endfunction()
