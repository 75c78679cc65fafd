// SPDX-License-Identifier: Apache-2.0
// CUDA for a C++ compiler: what core/gpu.h includes in the emulated build. See README.md.
#pragma once
#include "tests/emulator/builtins.h"
#include "tests/emulator/intrinsics.h"
#include "tests/emulator/launch.h"
#include "tests/emulator/stream.h"
#include "tests/emulator/sync.h"
