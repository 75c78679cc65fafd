# The C library of HDF5. CMake's own module asks for a C compiler and a compiler wrapper and adds seconds to each configure.
find_path(LibHDF5_INCLUDE_DIR hdf5.h PATH_SUFFIXES hdf5/serial)
find_library(LibHDF5_LIBRARY NAMES hdf5_serial hdf5)
mark_as_advanced(LibHDF5_INCLUDE_DIR LibHDF5_LIBRARY)
if(LibHDF5_INCLUDE_DIR)
  cuboid_read_version(LibHDF5 ${LibHDF5_INCLUDE_DIR}/H5public.h H5_VERS_MAJOR H5_VERS_MINOR H5_VERS_RELEASE)
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibHDF5 REQUIRED_VARS LibHDF5_LIBRARY LibHDF5_INCLUDE_DIR VERSION_VAR LibHDF5_VERSION)
if(LibHDF5_FOUND AND NOT TARGET LibHDF5::hdf5)
  add_library(LibHDF5::hdf5 UNKNOWN IMPORTED)
  set_target_properties(LibHDF5::hdf5 PROPERTIES
    IMPORTED_LOCATION ${LibHDF5_LIBRARY} INTERFACE_INCLUDE_DIRECTORIES ${LibHDF5_INCLUDE_DIR})
endif()
