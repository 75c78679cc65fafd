// SPDX-License-Identifier: Apache-2.0
#include "apps/commands.h"

namespace cuboid::app {

const std::vector<Command>& commands() {
  static const std::vector<Command> table = {
      {"demo", "phantom cells, training, evaluation, explanation, report: in a minute", demo},
      {"csf prepare", "crop cells from tomograms", csf::prepare_command},
      {"csf split", "make folds that keep patients apart", csf::split_command},
      {"csf train", "train a classifier of 3D cells, fold by fold", csf::train_command},
      {"csf evaluate", "judge a run, or a model on labelled cells", csf::evaluate_command},
      {"csf predict", "classify files", csf::predict_command},
      {"csf explain", "show what a decision rests on (Grad-CAM)", csf::explain_command},
      {"deepis prepare", "check volumes and masks, make a folder of them", deepis::prepare_command},
      {"deepis train", "train a net that segments cells in volumes", deepis::train_command},
      {"deepis tune", "choose post-processing on validation cases, as training does at its end", deepis::tune_command},
      {"deepis evaluate", "judge predicted labels against the truth", deepis::evaluate_command},
      {"deepis predict", "segment volumes of any size", deepis::predict_command},
      {"deepis measure", "cells and their synapse: volume, area, refractive index, dry mass", deepis::measure_command},
      {"deepis explain", "show what a segmentation rests on (Grad-CAM)", deepis::explain_command},
      {"deepis demo", "phantom pairs, training, prediction, evaluation, measurement, report: in a minute or two",
       deepis::demo_command},
      {"phantom csf", "make phantom cells with known truth", phantom},
      {"phantom deepis", "make phantom pairs of touching cells with known truth", phantom_deepis},
      {"info", "what a file, a run or a net holds", info},
      {"convert", "from one volume format to another", convert},
      {"bench", "how fast, against LibTorch and the machine's limits", bench},
      {"bench compare", "two results of bench: what has become slower", bench_compare},
      {"bench table", "a result of bench as a table, here or in a document", bench_table},
      {"profile", "where another command's time and memory go", profile},
      {"doctor", "what this build and this machine can do", doctor},
  };
  return table;
}

std::vector<std::string> command_names() {
  std::vector<std::string> names;
  for (const auto& c : commands()) names.emplace_back(c.path);
  return names;
}

}  // namespace cuboid::app
