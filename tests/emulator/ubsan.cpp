// SPDX-License-Identifier: Apache-2.0
// What the undefined-behaviour checks of the check build call when one fails: an error of the launch instead of the end of
// the process. The data of every check begins with its place in the source.
#if CUBOID_EMULATOR_CHECK
#include <cstdio>
#include <cstdlib>

#include "tests/emulator/machine.h"

namespace {

struct Place {
  const char* file;
  std::uint32_t line, column;
};

[[noreturn]] void undefined(const Place* place, const char* what) {
  using namespace cuboid::emulator;
  const Where at{place->file, place->line};
  if (current) stop("undefined", what, " at ", at);
  std::fprintf(stderr, "undefined behaviour on the host: %s at %s:%u\n", what, place->file, place->line);
  std::abort();
}

}  // namespace

extern "C" {
#define CUBOID_UBSAN(name, what, ...) \
  [[noreturn]] void __ubsan_handle_##name##_abort(Place* place, __VA_ARGS__) { undefined(place, what); }
CUBOID_UBSAN(type_mismatch_v1, "misaligned or null pointer", void*)
CUBOID_UBSAN(out_of_bounds, "index beyond the array", void*)
CUBOID_UBSAN(shift_out_of_bounds, "shift by too many bits or of a negative number", void*, void*)
CUBOID_UBSAN(add_overflow, "signed sum overflows", void*, void*)
CUBOID_UBSAN(sub_overflow, "signed difference overflows", void*, void*)
CUBOID_UBSAN(mul_overflow, "signed product overflows", void*, void*)
CUBOID_UBSAN(negate_overflow, "negation overflows", void*)
CUBOID_UBSAN(divrem_overflow, "division by zero or overflow", void*, void*)
CUBOID_UBSAN(float_cast_overflow, "float to integer out of range", void*)
}
#endif
