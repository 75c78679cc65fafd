// SPDX-License-Identifier: Apache-2.0
// The same numbers through our function and through LibTorch's: results and gradients, random shapes, f32 and f64.
#pragma once
#include <torch/torch.h>

#include <functional>

#include "core/autograd.h"
#include "tests/test.h"

namespace cuboid::test {

inline torch::ScalarType torch_type(DType t) {
  switch (t) {
    case DType::f32:
      return torch::kFloat32;
    case DType::f64:
      return torch::kFloat64;
    case DType::i64:
      return torch::kInt64;
    default:
      fail("parity: no torch type for ", t);
  }
}

/// A copy in row-major order.
inline torch::Tensor to_torch(const Tensor& t) {
  const Tensor dense = empty(t.shape(), {t.dtype()});
  copy(t, dense);
  const std::vector<std::int64_t> sizes(t.shape().begin(), t.shape().end());
  return torch::from_blob(dense.view().data, sizes, torch::TensorOptions(torch_type(t.dtype()))).clone();
}

inline Tensor from_torch(const torch::Tensor& t) {
  const torch::Tensor dense = t.detach().contiguous().to(torch::kFloat64);
  const std::vector<double> values(dense.data_ptr<double>(), dense.data_ptr<double>() + dense.numel());
  return from_values(values, Shape(std::span(t.sizes().data(), t.sizes().size())));
}

/// max |got - expected| / max |expected|, with NaN and other shapes as infinite.
inline double relative_error(const Tensor& got, const torch::Tensor& expected) {
  const Tensor reference = from_torch(expected);
  if (got.shape() != reference.shape()) return INFINITY;
  const auto a = got.to_vector(), b = reference.to_vector();
  double worst = 0, scale = 1e-30;
  for (std::size_t i = 0; i < a.size(); ++i) {
    worst = std::isnan(a[i] - b[i]) ? INFINITY : std::max(worst, std::abs(a[i] - b[i]));
    scale = std::max(scale, std::abs(b[i]));
  }
  return worst / scale;
}

using Ours = std::function<Tensor(const Tensors&)>;
using Theirs = std::function<torch::Tensor(const std::vector<torch::Tensor>&)>;

struct ParityOptions {
  double lo = -2, hi = 2;          // of the inputs
  double f32 = 1e-5, f64 = 1e-12;  // relative error allowed
  bool layouts = true;             // channels-last inputs as well
};

/// Ours and theirs on random inputs of these shapes: result, and gradient by every input for a random seed.
inline void expect_parity(const std::string& name, const Ours& ours, const Theirs& theirs, const std::vector<Shape>& shapes,
                          const ParityOptions& o = {}) {
  static std::uint64_t seed = 1;
  for (const DType dtype : {DType::f32, DType::f64})
    for (const Lies lies : {Lies::contiguous, Lies::channels_last}) {
      if (lies == Lies::channels_last && !o.layouts) continue;
      const double allowed = dtype == DType::f32 ? o.f32 : o.f64;
      std::string text = join_text(name, ' ', dtype, ' ', name_of(lies));
      Tensors x;
      std::vector<torch::Tensor> tx;
      for (const Shape& shape : shapes) {
        const Tensor t = random(shape, {.seed = ++seed, .dtype = dtype, .lo = o.lo, .hi = o.hi});
        tx.push_back(to_torch(t).requires_grad_());
        x.push_back(laid(t, lies).requires_grad(true));
        text += join_text(' ', shape);
      }
      const Tensor y = ours(x);
      const torch::Tensor ty = theirs(tx);
      ASSERT_LE(relative_error(y, ty), allowed) << text;
      const Tensor g = random(y.shape(), {.seed = ++seed, .dtype = y.dtype()});
      const Tensors gx = grad(y, x, {.seed = g});
      const auto tgx = torch::autograd::grad({ty}, tx, {to_torch(g)});
      for (std::size_t i = 0; i < gx.size(); ++i)
        ASSERT_LE(relative_error(gx[i], tgx[i]), allowed) << text << ", gradient of input " << i;
    }
}

/// The gradients of a net, as doubles.
using Gradients = std::vector<std::vector<double>>;

inline Gradients gradients(const Tensors& list) {
  Gradients all;
  for (const auto& g : list) all.push_back(g.to_vector());
  return all;
}
inline Gradients gradients(const std::vector<torch::Tensor>& list) {
  Gradients all;
  for (const auto& g : list) all.push_back(from_torch(g).to_vector());
  return all;
}

inline double norm(const std::vector<double>& v) {
  double squares = 0;
  for (const double x : v) squares += x * x;
  return std::sqrt(squares);
}

/// |a - b| of each tensor.
inline std::vector<double> differences(const Gradients& a, const Gradients& b) {
  std::vector<double> list;
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::vector<double> d = a[i];
    for (std::size_t k = 0; k < d.size(); ++k) d[k] -= b[i][k];
    list.push_back(norm(d));
  }
  return list;
}

/// |a - b| / |b| of all tensors taken together.
inline double distance(const Gradients& a, const Gradients& b) {
  std::vector<double> sizes;
  for (const auto& v : b) sizes.push_back(norm(v));
  return norm(differences(a, b)) / norm(sizes);
}

/// Repeats with shapes from a seeded generator.
inline void repeat(int times, const std::function<void(Random&)>& body) {
  for (int i = 0; i < times; ++i) {
    Random random(static_cast<std::uint64_t>(1000 + i));
    body(random);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

}  // namespace cuboid::test
