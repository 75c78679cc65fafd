# A room is a folder and a library: cuboid_room(kernels SUBFOLDERS DEPENDS core).
# Backend files (onednn.cpp, cudnn.cpp, cuda.cu, ...) are left out here; CuboidBackends.cmake adds those that are wanted.
# A room without sources (headers only) becomes an INTERFACE library.
option(CUBOID_NATIVE "compile for the processor of this machine (-march=native)" ON)
option(CUBOID_WERROR "treat warnings as errors" OFF)

add_library(cuboid_options INTERFACE)
target_compile_options(cuboid_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wold-style-cast -fno-math-errno
  $<$<BOOL:${CUBOID_WERROR}>:-Werror>
  $<$<BOOL:${CUBOID_NATIVE}>:-march=native>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(cuboid_options INTERFACE -Wno-missing-field-initializers)
endif()

function(cuboid_room name)
  cmake_parse_arguments(arg "SUBFOLDERS" "" "DEPENDS" ${ARGN})
  set(folder ${PROJECT_SOURCE_DIR}/${name})
  if(arg_SUBFOLDERS)
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${folder}/*.cpp)
  else()
    file(GLOB sources CONFIGURE_DEPENDS ${folder}/*.cpp)
  endif()
  list(FILTER sources EXCLUDE REGEX "/(onednn|cudnn|cublas|nccl|cuboid)\\.cpp$")
  list(TRANSFORM arg_DEPENDS PREPEND cuboid_)
  if(sources)
    add_library(cuboid_${name} STATIC ${sources})
    target_include_directories(cuboid_${name} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>)
    target_link_libraries(cuboid_${name} PUBLIC ${arg_DEPENDS} PRIVATE $<BUILD_INTERFACE:cuboid_options>)
    set_target_properties(cuboid_${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  else()
    add_library(cuboid_${name} INTERFACE)
    target_include_directories(cuboid_${name} INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>)
    target_link_libraries(cuboid_${name} INTERFACE ${arg_DEPENDS})
  endif()
  set_target_properties(cuboid_${name} PROPERTIES EXPORT_NAME ${name})
  add_library(cuboid::${name} ALIAS cuboid_${name})
endfunction()
