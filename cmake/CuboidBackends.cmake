# Which library serves which room, and what the code may ask: CUBOID_OPENMP, CUBOID_ONEDNN, CUBOID_TIFF, ... are defined as 1.
# cuboid_use(room KEY target) links a found library into a room that has sources.
function(cuboid_use room key target)
  get_target_property(type cuboid_${room} TYPE)
  if(CUBOID_HAS_${key} AND NOT type STREQUAL "INTERFACE_LIBRARY")
    target_compile_definitions(cuboid_${room} PUBLIC $<BUILD_INTERFACE:CUBOID_${key}=1>)
    target_link_libraries(cuboid_${room} PRIVATE ${target})
  endif()
endfunction()

target_link_libraries(cuboid_core PUBLIC Threads::Threads)
cuboid_use(kernels OPENMP OpenMP::OpenMP_CXX)
cuboid_use(kernels ONEDNN OneDNN::dnnl)
if(CUBOID_HAS_ONEDNN)
  file(GLOB_RECURSE backend CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/kernels/onednn.cpp)
  target_sources(cuboid_kernels PRIVATE ${backend})
endif()

if(CUBOID_BUILD_APPS)
  # The readers and writers that need an outside library.
  cuboid_use(data ZLIB ZLIB::ZLIB)
  cuboid_use(data ZIP LibZip::zip)
  cuboid_use(data TIFF TIFF::TIFF)
  cuboid_use(data HDF5 LibHDF5::hdf5)
  cuboid_use(data PNG PNG::PNG)
  # The programs' own needs: command line, configuration files.
  get_target_property(apps_type cuboid_apps TYPE)
  if(NOT apps_type STREQUAL "INTERFACE_LIBRARY")
    cuboid_needs(CLI11 libcli11-dev "command line of the programs; CUBOID_BUILD_APPS=OFF does without")
    cuboid_needs(tomlplusplus libtomlplusplus-dev "configuration files; CUBOID_BUILD_APPS=OFF does without")
    cuboid_needs(yaml-cpp libyaml-cpp-dev "task files; CUBOID_BUILD_APPS=OFF does without")
    target_link_libraries(cuboid_apps PRIVATE CLI11::CLI11 tomlplusplus::tomlplusplus yaml-cpp)
  endif()
endif()
