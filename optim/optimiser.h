// SPDX-License-Identifier: Apache-2.0
// Gradient steps. An optimiser reads the gradients that backward() left in the parameters:
//
//   Sgd sgd(net.named_parameters(), {.lr = 0.1, .momentum = 0.9});
//   backward(loss);  sgd.step();  sgd.zero_grad();
#pragma once
#include "kernels/update/update.h"
#include "optim/state.h"

namespace cuboid {

class Optimiser {
 public:
  virtual ~Optimiser() = default;
  Optimiser(const Optimiser&) = delete;
  Optimiser& operator=(const Optimiser&) = delete;

  double lr() const { return lr_; }
  void set_lr(double lr) { lr_ = lr; }
  /// Parameters without a gradient stay as they are.
  void step();
  /// For a step() that is captured into a CUDA graph: puts the numbers that change from step to step (learning rate, count)
  /// where the captured kernels read them. Call it before each replay, and before each step() that is run as it is in between:
  /// it takes the step()'s place in counting steps. Before the capture itself, whose step() is not taken, it does not count.
  void stage(bool counts = true);
  void zero_grad();
  std::int64_t steps() const { return steps_; }

  /// Learning rate, count of steps, and the slots as "SLOT.PARAMETER". Hyper-parameters come from the caller's options.
  State to_state() const;
  void from_state(const State& state);

 protected:
  /// What stage() puts there: SgdStep::staged, AdamStep::staged.
  virtual std::vector<double> numbers() const = 0;
  /// Null in a step() that stage() did not prepare.
  const double* staged() const { return staged_ && numbers_.defined() ? numbers_.view().as<double>() : nullptr; }
  /// `slots` names the tensors kept per parameter; they start as zeros.
  Optimiser(const char* kind, const NamedTensors& parameters, double lr, double weight_decay, bool decay_vectors,
            const std::vector<std::string>& slots);
  /// One step over these parameters; slots[s][i] belongs to parameters[i], and steps() counts this step.
  virtual void update(const Tensors& parameters, const Tensors& gradients, const std::vector<Tensors>& slots,
                      double weight_decay) = 0;

 private:
  const char* kind_;
  NamedTensors parameters_;
  double lr_, weight_decay_;
  bool decay_vectors_;
  std::vector<std::string> slot_names_;
  std::vector<Tensors> slots_;  // [slot][parameter]
  std::int64_t steps_ = 0;
  Tensor numbers_;  // on the parameters' device
  bool staged_ = false;
};

struct SgdOptions {
  double lr = 0.01, momentum = 0;
  bool nesterov = false;
  double weight_decay = 0;    // coupled: added to the gradient
  bool decay_vectors = true;  // false: norms and biases (rank 1) do not decay
};

class Sgd : public Optimiser {
 public:
  Sgd(const NamedTensors& parameters, SgdOptions options = {});

 private:
  std::vector<double> numbers() const override;
  void update(const Tensors& p, const Tensors& g, const std::vector<Tensors>& slots, double weight_decay) override;
  SgdOptions options_;
};

struct AdamOptions {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  Epsilon epsilon = Epsilon::outside;  // of the square root
  double weight_decay = 0;
  bool decay_vectors = true;  // false: norms and biases (rank 1) do not decay
};

/// Kingma & Ba 2015. Weight decay is coupled, as in PyTorch's Adam.
class Adam : public Optimiser {
 public:
  Adam(const NamedTensors& parameters, AdamOptions options = {}) : Adam("adam", parameters, options, false) {}

 protected:
  Adam(const char* kind, const NamedTensors& parameters, const AdamOptions& options, bool decoupled);

 private:
  std::vector<double> numbers() const override;
  void update(const Tensors& p, const Tensors& g, const std::vector<Tensors>& slots, double weight_decay) override;
  AdamOptions options_;
  bool decoupled_;
};

/// Loshchilov & Hutter 2019: the decay acts on the weight and not through the moments.
class AdamW : public Adam {
 public:
  AdamW(const NamedTensors& parameters, AdamOptions options = {.weight_decay = 0.01})
      : Adam("adamw", parameters, options, true) {}
};

/// Scales all gradients so that their common norm is at most max_norm; returns the norm before, one f64 that nothing waits for
/// until it is read. Gradients get new memory.
Tensor clip_grad_norm(const Tensors& parameters, double max_norm);

}  // namespace cuboid
