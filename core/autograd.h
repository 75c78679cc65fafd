// SPDX-License-Identifier: Apache-2.0
// Reverse-mode differentiation of any order. Ops leave a Node behind; the sweep walks the nodes from the result to the
// leaves. Backward rules are written in ops, so a recorded sweep can be differentiated again.
#pragma once
#include <functional>
#include <memory>

#include "core/tensor.h"

namespace cuboid {

/// What the sweep tells a backward rule.
class Step {
 public:
  Step(const std::shared_ptr<Node>& node, const std::vector<bool>& wanted) : node_(node), wanted_(wanted) {}
  /// The op's own result, with its place in the graph. Only for ops recorded with Keep::output.
  Tensor output() const;
  /// False when input i leads to nothing asked for: return an undefined Tensor in its place and save the work.
  bool wants(std::size_t i) const { return wanted_[i]; }

 private:
  const std::shared_ptr<Node>& node_;
  const std::vector<bool>& wanted_;
};

/// Gradient of the output -> gradients of the inputs, in their order. What the rule captures stays in memory until the
/// sweep has passed, and nothing else does; it must not capture the output (a reference cycle): see Keep.
using Backward = std::function<Tensors(const Tensor& g, const Step& step)>;

/// Where a gradient goes: to the op that made an input, to a leaf, or (both empty) nowhere.
struct Edge {
  std::shared_ptr<Node> node;
  Tensor leaf;
  const void* id() const { return node ? static_cast<const void*>(node.get()) : leaf.defined() ? leaf.id() : nullptr; }
};

struct Node {
  const char* op = "";
  std::vector<Edge> edges;
  Backward backward;  // empty once a sweep has used and freed it
  Shape shape;        // of the output
  DType dtype = DType::f32;
  Tensor output;                  // outside the graph; only with Keep::output
  std::function<Tensor()> again;  // see rebuilt_by
  const char* place = nullptr;    // the profiler's range in which it was recorded

  Node() = default;
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
  ~Node();  // lets go of the nodes behind it in a loop, not in a recursion
};

enum class Keep : std::uint8_t { nothing, output };

/// True while ops are recorded on this thread.
bool recording();

/// Scope guard: Recording off(false);
class Recording {
 public:
  explicit Recording(bool on);
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  ~Recording();

 private:
  bool before_;
};

/// The one door between kernels and autograd: `output` was made from `inputs`, and this is how a gradient flows back.
/// Returns `output`. Does nothing more when recording is off or no input requires a gradient.
Tensor record(const char* op, Tensor output, const Tensors& inputs, Backward backward, Keep keep = Keep::nothing);

struct GradOptions {
  bool create_graph = false;    // record the sweep, so that the result can be differentiated again
  bool retain_graph = false;    // keep the graph for another sweep (implied by create_graph)
  Tensor seed = {};             // gradient of `output`; ones when undefined (output must have one element then)
  bool stop_at_inputs = false;  // do not look behind `inputs`
  /// backward(): called for each leaf as soon as leaf.grad() is complete, while the sweep goes on. Without it no leaf has a new
  /// gradient before the whole sweep is done.
  std::function<void(const Tensor& leaf)> on_leaf = {};
};

/// Says how `y`, which was just recorded, can be made again: rules that keep it as Kept then keep what `again` captured instead,
/// so that y's memory is free until the sweep comes by. `again` must give the same values, and must not capture y. Returns y.
Tensor rebuilt_by(Tensor y, std::function<Tensor()> again);

/// A tensor for later, in a backward rule: as it is, or made again each time it is asked for.
class Kept {
 public:
  explicit Kept(const Tensor& x);
  Tensor operator()() const;

 private:
  Tensor x_;  // undefined where node_ knows better
  std::shared_ptr<Node> node_;
  std::function<Tensor()> again_;  // a copy: the sweep empties the node
};

/// d(output)/d(inputs). An input that does not influence the output gets zeros. Unless the graph is kept, each
/// activation is freed as soon as the sweep has used it.
Tensors grad(const Tensor& output, const Tensors& inputs, GradOptions options = {});

/// Adds d(output)/d(leaf) to leaf.grad() for every leaf that requires a gradient.
void backward(const Tensor& output, GradOptions options = {});

/// The derivative of a fused kernel during a recorded sweep: runs `composed`, its definition in primitive ops, and
/// differentiates that. Inputs that require no gradient get an undefined result.
Tensors replay(const std::function<Tensor(const Tensors&)>& composed, const Tensors& inputs, const Tensor& g);

/// f(inputs) without keeping what f computes inside; the backward pass runs f again. `parameters` are the other
/// tensors f uses that need gradients. f must give the same result both times.
Tensor checkpoint(const std::function<Tensor(const Tensors&)>& f, const Tensors& inputs, const Tensors& parameters = {});

}  // namespace cuboid
