// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>

#include "apps/report.h"
#include "apps/run_folder.h"

namespace cuboid::training {

/// The last section of a run's report, from its manifest.json and run.toml. `unit` is what the data is made of: "cells".
void add_provenance(app::Page& page, const app::RunFolder& run, const std::string& unit);

}  // namespace cuboid::training
