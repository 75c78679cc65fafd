// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>

#include "apps/run_folder.h"

namespace cuboid::csf {

/// report.html from what the run folder holds; returns its path.
std::string write_report(const app::RunFolder& run);

}  // namespace cuboid::csf
