// SPDX-License-Identifier: Apache-2.0
// The one binary: a table of commands.
#include "apps/app.h"
#include "apps/commands.h"

int main(int argc, char** argv) { return cuboid::app::run_main(argc, argv, cuboid::app::commands()); }
