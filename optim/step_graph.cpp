// SPDX-License-Identifier: Apache-2.0
#include "optim/step_graph.h"

#include <algorithm>
#include <iostream>

#include "core/cuda.h"

namespace cuboid {

#if CUBOID_CUDA
struct StepGraph::Recording {
  cuda::Graph graph;
  Tensors inputs;  // what it reads
};
#else
struct StepGraph::Recording {};
#endif

StepGraph::StepGraph(Module& net, Optimiser& optimiser, std::int64_t samples, Step step)
    : optimiser_(optimiser), samples_(samples), step_(std::move(step)), written_(net.state_dict()) {
  const Device device = net.device();
  loss_ = zeros({}, {.dtype = DType::f64, .device = device});
  random_step_ = zeros({}, {.dtype = DType::i64, .device = device});
  if (device == Device::cuda) recording_ = std::make_unique<Recording>();
  else note("the net is on the CPU");
}

StepGraph::~StepGraph() = default;

const std::uint64_t* StepGraph::random_step() const {
  return random_step_.device() == Device::cuda ? random_step_.view().as<const std::uint64_t>() : nullptr;
}

void StepGraph::note(const std::string& reason) {
  if (std::find(said_.begin(), said_.end(), reason) != said_.end()) return;
  said_.push_back(reason);
  std::cerr << "note: without a graph: " << reason << '\n';
}

void StepGraph::give_up(const std::string& reason) {
  recording_.reset();
  optimiser_.zero_grad();  // those of the attempt were never computed
  note(reason);
}

Tensor StepGraph::run(const Tensors& inputs, std::uint64_t random_step) {
  fill(random_step_, static_cast<double>(random_step));
  const auto as_it_is = [&] { copy(step_(inputs).detach(), loss_); };
  const bool fits = inputs.at(0).dim(0) == samples_;
  if (recording_ && !fits) note(join_text("batches of ", inputs[0].dim(0), ", it is for ", samples_));
  if (!recording_) {
    optimiser_.stage();
    as_it_is();
    return loss_;
  }
#if CUBOID_CUDA
  Recording& r = *recording_;
  if (!fits) {
    optimiser_.stage();
    r.graph.rehearse(as_it_is);  // in its memory, which is idle
    return loss_;
  }
  const bool first = r.inputs.empty();
  if (first)
    for (const Tensor& t : inputs) r.inputs.push_back(empty_like(t.detach()));
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    check(inputs[i].shape() == r.inputs[i].shape(), "graph: input ", i, " is ", inputs[i].shape(), ", before ",
          r.inputs[i].shape());
    copy(inputs[i].detach(), r.inputs[i]);
  }
  const auto body = [&] { copy(step_(r.inputs).detach(), loss_); };
  if (first) {
    optimiser_.stage();
    r.graph.rehearse(body);
    return loss_;
  }
  if (!r.graph.recorded()) {
    try {
      optimiser_.stage(false);
      r.graph.record(body);
    } catch (const DeviceError& e) {  // CannotRecord, or a library that has none for it
      give_up(e.what());
      return run(inputs, random_step);
    }
  }
  optimiser_.stage();
  r.graph.replay();
  for (const auto& [name, tensor] : written_) tensor.mutate();  // copies that were derived from them are stale
  ++replays_;
#endif
  return loss_;
}

}  // namespace cuboid
