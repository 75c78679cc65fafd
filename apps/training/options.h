// SPDX-License-Identifier: Apache-2.0
// How a net is trained, whatever it learns.
#pragma once
#include <cstdint>
#include <string>

#include "core/comm/group.h"
#include "core/device.h"

namespace cuboid::training {

struct Options {
  // optimiser
  std::string optimiser = "adamw";  // sgd, adam, adamw
  double lr = 1e-3, weight_decay = 0.01, momentum = 0.9;
  double beta1 = 0.9, beta2 = 0.999;
  bool nesterov = false, decay_vectors = false;
  // schedule
  std::string schedule = "cosine";
  std::int64_t schedule_length = 0;  // 0: the whole run
  std::int64_t warmup = 0;           // optimiser steps
  bool schedule_per_epoch = false;
  double gamma = 0.1;  // step, plateau
  std::int64_t step_size = 0, plateau_patience = 10;
  // loop
  std::int64_t epochs = 60, batch = 8, accumulate = 1, patience = 20, save_every = 0, workers = 1;
  double clip = 0, ema = 0;
  bool bf16 = false;
  bool graph = false;            // on a CUDA device: the whole step as one graph, with the same bits
  std::string best_by = "loss";  // which metric of Task::validate chooses the weights
  std::uint64_t seed = 42;
  Device device = Device::cpu;   // a checkpoint does not know it: a run may go on elsewhere
  const Group* group = nullptr;  // the processes that share each batch, likewise; null: this one alone
  bool synchronise_norm = true;  // their batch norms see all of it

  /// Only a loss is the better the smaller it is.
  bool maximise() const { return best_by != "loss"; }
  int rank() const { return group ? group->rank() : 0; }
  int ranks() const { return group ? group->size() : 1; }
};

}  // namespace cuboid::training
