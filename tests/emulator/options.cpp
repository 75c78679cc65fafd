// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/options.h"

#include <cstdlib>
#include <cstring>

#include "tests/emulator/where.h"

namespace cuboid::emulator {
namespace {

template <class T>
void read_number(const char* name, T* value) {
  const char* text = std::getenv(name);
  if (!text || !*text) return;
  char* end = nullptr;
  const auto number = std::strtoull(text, &end, 10);
  check(*end == '\0', name, "=", text, ": not a whole number");
  *value = static_cast<T>(number);
}

template <class T>
void read_word(const char* name, T* value, const char* const (&words)[3]) {
  const char* text = std::getenv(name);
  if (!text || !*text) return;
  for (int i = 0; i < 3; ++i) {
    if (std::strcmp(text, words[i]) == 0) {
      *value = static_cast<T>(i);
      return;
    }
  }
  cuboid::fail(name, "=", text, ": one of ", words[0], ", ", words[1], ", ", words[2]);
}

Options from_environment() {
  Options o;
  read_number("CUBOID_EMU_SEED", &o.seed);
  read_word("CUBOID_EMU_ORDER", &o.order, {"fifo", "lifo", "random"});
  read_word("CUBOID_EMU_COPIES", &o.copies, {"eager", "lazy", "random"});
  read_word("CUBOID_EMU_STREAMS", &o.streams, {"eager", "lazy", "random"});
  read_number("CUBOID_EMU_RESIDENT", &o.resident);
  read_number("CUBOID_EMU_PREEMPT", &o.preempt);
  read_number("CUBOID_EMU_STRICT", &o.strict);
  read_number("CUBOID_EMU_SMS", &o.multiprocessors);
  read_number("CUBOID_EMU_MEMORY", &o.memory);
  check(o.resident >= 1 && o.multiprocessors >= 1, "CUBOID_EMU_RESIDENT and CUBOID_EMU_SMS are at least 1");
  return o;
}

}  // namespace

Options& options() {
  static Options o = from_environment();
  return o;
}

Statistics& statistics() {
  static Statistics s;
  return s;
}

bool checking() { return CUBOID_EMULATOR_CHECK; }

}  // namespace cuboid::emulator
