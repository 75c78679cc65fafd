// SPDX-License-Identifier: Apache-2.0
#include "core/autograd.h"

#include <unordered_map>
#include <unordered_set>

#include "core/profiler_memory.h"

namespace cuboid {

struct GraphAccess {
  static void set_node(Tensor& t, std::shared_ptr<Node> node) { t.p_->node = std::move(node); }
};

namespace {
thread_local bool is_recording = true;

/// Nodes whose last owner is gone wait here, so that a long chain dies in a loop and not in a recursion.
void bury(std::shared_ptr<Node> node) {
  thread_local std::vector<std::shared_ptr<Node>>* open = nullptr;  // the waiting line of the outermost call
  if (open) {
    open->push_back(std::move(node));
    return;
  }
  std::vector<std::shared_ptr<Node>> graves;
  graves.push_back(std::move(node));
  open = &graves;
  while (!graves.empty()) {
    const std::shared_ptr<Node> last = std::move(graves.back());
    graves.pop_back();
  }
  open = nullptr;
}
}  // namespace

Tensor::Impl::~Impl() {
  if (node) bury(std::move(node));
}
Node::~Node() {
  for (auto& edge : edges)
    if (edge.node) bury(std::move(edge.node));
}

bool recording() { return is_recording; }
Recording::Recording(bool on) : before_(is_recording) { is_recording = on; }
Recording::~Recording() { is_recording = before_; }

Tensor Step::output() const {
  check(node_->output.defined(), node_->op, ": recorded without Keep::output");
  Tensor y = node_->output.detach();
  GraphAccess::set_node(y, node_);
  return y;
}

Tensor record(const char* op, Tensor output, const Tensors& inputs, Backward backward, Keep keep) {
  if (profiler::watches_memory()) profiler::wrote(op, output.view().data, output.device());
  if (!is_recording) return output;
  std::vector<Edge> edges;
  bool needed = false;
  for (const auto& t : inputs) {
    needed = needed || t.requires_grad();
    edges.push_back(t.defined() && t.node() ? Edge{t.node(), {}} : t.requires_grad() ? Edge{nullptr, t} : Edge{});
  }
  if (!needed) return output;
  check(!output.requires_grad(), op, ": the result already has a place in the graph");
  const auto node = std::make_shared<Node>();
  node->op = op;
  node->edges = std::move(edges);
  node->backward = std::move(backward);
  node->shape = output.shape();
  node->dtype = output.dtype();
  if (keep == Keep::output) node->output = output.detach();
  if (profiler::enabled()) node->place = profiler::place();
  GraphAccess::set_node(output, node);
  return output;
}

Tensor rebuilt_by(Tensor y, std::function<Tensor()> again) {
  if (y.node()) y.node()->again = std::move(again);
  return y;
}

Kept::Kept(const Tensor& x) {
  if (x.defined() && x.node() && x.node()->again) {
    node_ = x.node();
    again_ = node_->again;
  } else {
    x_ = x;
  }
}

Tensor Kept::operator()() const {
  if (!again_) return x_;
  const Recording off(false);
  Tensor x = again_();
  check(x.shape() == node_->shape && x.dtype() == node_->dtype, node_->op, ": made again as ", x.dtype(), x.shape(), ", was ",
        node_->dtype, node_->shape);
  x = x.detach();
  GraphAccess::set_node(x, node_);
  return x;
}

namespace {

Edge edge_of(const Tensor& t) { return t.node() ? Edge{t.node(), {}} : Edge{nullptr, t}; }

/// The part of the graph between `output` and what is asked for, inputs before their users.
class Plan {
 public:
  /// `targets` empty: every leaf that requires a gradient is asked for.
  Plan(const Tensor& output, const Tensors& targets, bool stop_at_targets) {
    for (const auto& t : targets) targets_.insert(t.id());
    struct Frame {
      Edge at;
      std::size_t next;
    };
    std::vector<Frame> stack;
    std::unordered_set<const void*> seen;
    const auto enter = [&](const Edge& e) {
      if (e.id() && seen.insert(e.id()).second) stack.push_back({e, 0});
    };
    if (output.requires_grad()) enter(edge_of(output));
    while (!stack.empty()) {
      Frame& top = stack.back();
      const Node* node = top.at.node.get();
      const bool closed = !node || (stop_at_targets && targets_.count(node));
      check(closed || static_cast<bool>(node->backward), "grad: the graph behind '", node ? node->op : "",
            "' was freed by an earlier sweep; pass retain_graph to that one");
      if (!closed && top.next < node->edges.size()) {
        const Edge edge = node->edges[top.next++];  // a copy: enter() may move the stack
        enter(edge);
        continue;
      }
      const Edge at = std::move(top.at);
      stack.pop_back();
      bool needed = targets_.empty() ? !at.node : targets_.count(at.id()) > 0;
      if (!closed)
        for (const auto& edge : node->edges) needed = needed || needed_.count(edge.id());
      if (!needed) continue;
      needed_.insert(at.id());
      if (!closed) add(at.node);
      else if (!node) leaves.push_back(at.leaf);
    }
  }
  bool needs(const Edge& e) const { return e.id() && needed_.count(e.id()); }
  bool asked_for(const void* id) const { return targets_.count(id) > 0; }

  std::vector<std::shared_ptr<Node>> order;  // what is to run
  Tensors leaves;                            // where the sweep ends
  std::vector<Tensors> completes;            // by place in `order`: leaves whose gradient nothing adds to after that op
 private:
  void add(const std::shared_ptr<Node>& node) {
    order.push_back(node);
    completes.emplace_back();
    for (const auto& edge : node->edges)  // the sweep runs from the back, so the first op to be put down is a leaf's last
      if (edge.leaf.defined() && counted_.insert(edge.id()).second) completes.back().push_back(edge.leaf);
  }
  std::unordered_set<const void*> targets_, needed_, counted_;
};

using Sums = std::unordered_map<const void*, Tensor>;

void accumulate(Tensor& sum, Tensor g, bool recorded) {
  if (!sum.defined()) sum = std::move(g);
  else if (!recorded && sum.exclusive()) add_into(sum, g);
  else sum = add(sum, g);
}

/// `complete` gets each leaf's gradient as soon as it is; where it is empty, the result holds them.
using Complete = std::function<void(const Tensor& leaf, Tensor g)>;

Tensors gradients_of(const Node& node, const Tensor& g, const Step& step) {
  if (!node.place || !profiler::enabled()) return node.backward(g, step);
  const profiler::Range range(profiler::derivative_of(node.place));
  return node.backward(g, step);
}

Sums sweep(Plan& plan, const Tensor& output, GradOptions& o, const Complete& complete = {}) {
  check(o.seed.defined() || output.size() == 1, "grad: output has shape ", output.shape(), "; give a seed of that shape");
  check(!o.seed.defined() || o.seed.shape() == output.shape(), "grad: seed has shape ",
        o.seed.defined() ? o.seed.shape() : Shape{}, ", output ", output.shape());
  const bool keep = o.retain_graph || o.create_graph;
  const Recording scope(o.create_graph);
  Sums sums;
  sums[output.id()] = o.seed.defined() ? std::move(o.seed) : full(output.shape(), 1, {output.dtype(), output.device()});
  const auto step = [&](const std::shared_ptr<Node>& node) {
    const auto found = sums.find(node.get());
    if (found == sums.end()) return;
    Tensor g = found->second;
    if (!plan.asked_for(node.get())) sums.erase(found);
    std::vector<bool> wanted;
    for (const auto& edge : node->edges) wanted.push_back(plan.needs(edge));
    Tensors gs = gradients_of(*node, g, Step(node, wanted));
    g = Tensor();
    check(gs.size() == node->edges.size(), node->op, ": backward gave ", gs.size(), " gradients for ", node->edges.size(),
          " inputs");
    for (std::size_t i = 0; i < gs.size(); ++i) {
      if (!gs[i].defined() || !wanted[i]) continue;
      const Edge& edge = node->edges[i];
      const Shape& shape = edge.node ? edge.node->shape : edge.leaf.shape();
      const DType dtype = edge.node ? edge.node->dtype : edge.leaf.dtype();
      check(gs[i].shape() == shape && gs[i].dtype() == dtype, node->op, ": gradient ", i, " is ", gs[i].dtype(), gs[i].shape(),
            ", input is ", dtype, shape);
      accumulate(sums[edge.id()], std::move(gs[i]), o.create_graph);
    }
    if (!keep) {  // frees what only this op still held
      node->backward = nullptr;
      node->output = Tensor();
      node->again = nullptr;
      node->edges.clear();
    }
  };
  while (!plan.order.empty()) {
    const std::shared_ptr<Node> node = std::move(plan.order.back());
    plan.order.pop_back();
    step(node);
    if (!complete) continue;
    for (const Tensor& leaf : plan.completes[plan.order.size()])
      if (auto sum = sums.extract(leaf.id())) complete(leaf, std::move(sum.mapped()));
  }
  return sums;
}

}  // namespace

Tensors grad(const Tensor& output, const Tensors& inputs, GradOptions o) {
  const profiler::Range range("sweep");
  check(!inputs.empty(), "grad: no inputs");
  Plan plan(output, inputs, o.stop_at_inputs);
  Sums sums = sweep(plan, output, o);
  Tensors result;
  for (const auto& input : inputs) {
    const auto found = sums.find(input.id());
    result.push_back(found != sums.end() ? found->second : zeros_like(input));
  }
  return result;
}

void backward(const Tensor& output, GradOptions o) {
  const profiler::Range range("sweep");
  check(output.requires_grad(), "backward: the output depends on nothing that requires a gradient");
  Plan plan(output, {}, false);
  const auto give = [&](const Tensor& leaf, const Tensor& g) {
    const Recording scope(o.create_graph);
    leaf.grad() = leaf.grad().defined() ? add(leaf.grad(), g) : g;
    if (o.on_leaf) o.on_leaf(leaf);
  };
  const Sums sums = sweep(plan, output, o, o.on_leaf ? Complete(give) : Complete());
  for (const auto& leaf : plan.leaves)
    if (const auto found = sums.find(leaf.id()); found != sums.end()) give(leaf, found->second);
}

Tensors replay(const std::function<Tensor(const Tensors&)>& composed, const Tensors& inputs, const Tensor& g) {
  const Recording on(true);
  Tensors wanted;
  for (const auto& t : inputs)
    if (t.requires_grad()) wanted.push_back(t);
  Tensors found = grad(composed(inputs), wanted, {.create_graph = true, .seed = g, .stop_at_inputs = true});
  Tensors result;
  auto next = found.begin();
  for (const auto& t : inputs) result.push_back(t.requires_grad() ? *next++ : Tensor());
  return result;
}

Tensor checkpoint(const std::function<Tensor(const Tensors&)>& f, const Tensors& inputs, const Tensors& parameters) {
  Tensor y;
  {
    const Recording off(false);
    y = f(inputs).detach();
  }
  Tensors all = inputs;
  all.insert(all.end(), parameters.begin(), parameters.end());
  const std::size_t count = inputs.size();
  return record("checkpoint", y, all, [f, all, count](const Tensor& g, const Step&) {
    const auto call = [&](const Tensors& x) { return f(Tensors(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(count))); };
    if (recording()) return replay(call, all, g);
    const Recording on(true);
    Tensors fresh = all, wanted;  // inputs cut off from the outer graph; parameters are what f itself captured
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (i < count && all[i].requires_grad()) fresh[i] = all[i].detach().requires_grad(true);
      if (fresh[i].requires_grad()) wanted.push_back(fresh[i]);
    }
    Tensors found = grad(call(fresh), wanted, {.seed = g, .stop_at_inputs = true});
    Tensors result;
    auto next = found.begin();
    for (const auto& t : fresh) result.push_back(t.requires_grad() ? *next++ : Tensor());
    return result;
  });
}

}  // namespace cuboid
