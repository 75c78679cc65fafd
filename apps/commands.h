// SPDX-License-Identifier: Apache-2.0
// Every command of the binary, one function each.
#pragma once
#include <string>
#include <vector>

#include "apps/app.h"

namespace cuboid::app {

int demo(const Arguments& arguments);
int doctor(const Arguments& arguments);
int info(const Arguments& arguments);
int convert(const Arguments& arguments);
int phantom(const Arguments& arguments);
int phantom_deepis(const Arguments& arguments);
int bench(const Arguments& arguments);
int bench_compare(const Arguments& arguments);
int bench_table(const Arguments& arguments);
int profile(const Arguments& arguments);

/// The table behind `cuboid --help`.
const std::vector<Command>& commands();
/// Their paths: "csf train", ...
std::vector<std::string> command_names();

}  // namespace cuboid::app

namespace cuboid::csf {

using app::Arguments;

int prepare_command(const Arguments& arguments);
int split_command(const Arguments& arguments);
int train_command(const Arguments& arguments);
int evaluate_command(const Arguments& arguments);
int predict_command(const Arguments& arguments);
int explain_command(const Arguments& arguments);

}  // namespace cuboid::csf

namespace cuboid::deepis {

using app::Arguments;

int prepare_command(const Arguments& arguments);
int train_command(const Arguments& arguments);
int evaluate_command(const Arguments& arguments);
int predict_command(const Arguments& arguments);
int measure_command(const Arguments& arguments);
int tune_command(const Arguments& arguments);
int explain_command(const Arguments& arguments);
int demo_command(const Arguments& arguments);

}  // namespace cuboid::deepis
