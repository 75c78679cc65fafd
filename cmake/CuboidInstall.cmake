# cmake --install build: the libraries, their headers under include/cuboid, and what find_package(cuboid) needs.
include(CMakePackageConfigHelpers)
set(rooms core kernels layers nets optim)
if(CUBOID_BUILD_APPS)
  list(APPEND rooms data)
endif()
set(where ${CMAKE_INSTALL_LIBDIR}/cmake/cuboid)

set(room_targets ${rooms})
list(TRANSFORM room_targets PREPEND cuboid_)
install(TARGETS ${room_targets} EXPORT cuboid ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${rooms} ${PROJECT_BINARY_DIR}/generated/core DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/cuboid
  FILES_MATCHING PATTERN "*.h")
if(TARGET cuboid)
  install(TARGETS cuboid RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  install(DIRECTORY apps/csf/tasks DESTINATION ${CMAKE_INSTALL_DATADIR}/cuboid)
endif()

# Static libraries pass their own needs on: find them again, in the same way, on the consumer's machine.
set(CUBOID_DEPENDENCIES "")
foreach(pair "OPENMP OpenMP COMPONENTS CXX" "ONEDNN OneDNN" "ZLIB ZLIB" "ZIP LibZip" "TIFF TIFF" "HDF5 LibHDF5" "PNG PNG"
    "MPI MPI COMPONENTS CXX")
  string(REPLACE " " ";" words "${pair}")
  list(POP_FRONT words key)
  list(JOIN words " " words)
  if(CUBOID_HAS_${key})
    string(APPEND CUBOID_DEPENDENCIES "find_dependency(${words})\n")
  endif()
endforeach()
install(EXPORT cuboid NAMESPACE cuboid:: FILE cuboid-targets.cmake DESTINATION ${where})
configure_package_config_file(cmake/cuboid-config.cmake.in ${PROJECT_BINARY_DIR}/cuboid-config.cmake INSTALL_DESTINATION ${where})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/cuboid-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/cuboid-config.cmake ${PROJECT_BINARY_DIR}/cuboid-config-version.cmake
  cmake/CuboidReadVersion.cmake cmake/FindOneDNN.cmake cmake/FindLibZip.cmake cmake/FindLibHDF5.cmake DESTINATION ${where})
