# How everything here is compiled: the target cuboid_options, linked privately by each room, test and program.
option(CUBOID_NATIVE "compile for the processor of this machine; the programs may not start on an older one" ON)
set(CUBOID_ARCH "x86-64-v3" CACHE STRING "with CUBOID_NATIVE=OFF on x86-64: the value of -march (empty: the compiler's default)")
option(CUBOID_WERROR "treat warnings as errors" OFF)
set(CUBOID_SANITIZE "" CACHE STRING "build with sanitizers: address,undefined or thread")

set(CUBOID_ARCH_FLAG "")
if(CUBOID_NATIVE)
  set(CUBOID_ARCH_FLAG -march=native)
elseif(CUBOID_ARCH AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(CUBOID_ARCH_FLAG -march=${CUBOID_ARCH})
endif()

# g++ 12 makes {1, 1, 1, 1} of the constant {1, 1, 1, 0} where it moves 32 bytes in one AVX-512 register. Moves of 16 do not go that
# way. tests/core/compiler.cpp looks whether it holds.
set(moves "")
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64"
   AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 12 AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  set(moves -mmove-max=128 -mstore-max=128)
endif()

add_library(cuboid_options INTERFACE)
set(warnings -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wold-style-cast)
set(code -fno-math-errno -fno-trapping-math ${CUBOID_ARCH_FLAG} ${moves})
target_compile_options(cuboid_options INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${warnings};${code};$<$<BOOL:${CUBOID_WERROR}>:-Werror>>")
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # -Wrestrict: g++ 12 warns of "..." + std::string (GCC bug 105651)
  target_compile_options(cuboid_options INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:-Wno-missing-field-initializers;-Wno-restrict>")
endif()
if(CUBOID_SANITIZE)  # GCC then sees uninitialised variants where there are none
  target_compile_options(cuboid_options INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  add_compile_options(-fsanitize=${CUBOID_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${CUBOID_SANITIZE})
endif()

# Repeated builds are short when ccache is there; nothing depends on it.
if(NOT CMAKE_CXX_COMPILER_LAUNCHER)
  find_program(CUBOID_CCACHE ccache)
  mark_as_advanced(CUBOID_CCACHE)
  if(CUBOID_CCACHE)
    set(CMAKE_CXX_COMPILER_LAUNCHER ${CUBOID_CCACHE})
  endif()
endif()
