# Tests that hold kernels of their own: cuboid_kernel_tests(name folder LABEL) makes test_NAME of the folder's *.cu and *.cpp.
function(cuboid_kernel_tests name folder label)
  cuboid_cuda_sources(kernels ${folder} OFF)
  file(GLOB sources CONFIGURE_DEPENDS ${folder}/*.cpp)
  if(NOT kernels AND NOT sources)
    return()
  endif()
  add_executable(test_${name} ${kernels} ${sources})
  add_dependencies(all_tests test_${name})
  target_link_libraries(test_${name} PRIVATE cuboid_core cuboid_options GTest::gtest_main)
  gtest_discover_tests(test_${name} DISCOVERY_MODE PRE_TEST TEST_PREFIX ${name}: WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
    PROPERTIES LABELS ${label})
endfunction()
