// SPDX-License-Identifier: Apache-2.0
#include "kernels/update/update.h"

#include "core/autograd.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/update/cuda.h"
#include "kernels/update/rows.h"

namespace cuboid {

namespace {

constexpr Impl<SgdUpdate> sgd_rows[] = {
    {"pieces", Device::cpu, always, cpu::sgd_pieces},
    {"reference", Device::cpu, always, cpu::sgd_reference},
#if CUBOID_CUDA
    {"chunks", Device::cuda, always, cuda::sgd_chunks},
    {"reference", Device::cuda, always, cuda::sgd_reference},
#endif
};
constexpr Impl<AdamUpdate> adam_rows[] = {
    {"pieces", Device::cpu, always, cpu::adam_pieces},
    {"reference", Device::cpu, always, cpu::adam_reference},
#if CUBOID_CUDA
    {"chunks", Device::cuda, always, cuda::adam_chunks},
    {"reference", Device::cuda, always, cuda::adam_reference},
#endif
};
constexpr Impl<AverageUpdate> average_rows[] = {
    {"pieces", Device::cpu, always, cpu::average_pieces},
    {"reference", Device::cpu, always, cpu::average_reference},
#if CUBOID_CUDA
    {"chunks", Device::cuda, always, cuda::average_chunks},
    {"reference", Device::cuda, always, cuda::average_reference},
#endif
};
constexpr Impl<SquareSum> norm_rows[] = {
    {"pieces", Device::cpu, always, cpu::square_sum_pieces},
    {"reference", Device::cpu, always, cpu::square_sum_reference},
#if CUBOID_CUDA
    {"chunks", Device::cuda, always, cuda::square_sum_chunks},
    {"reference", Device::cuda, always, cuda::square_sum_reference},
#endif
};
constexpr Impl<ClipUpdate> clip_rows[] = {
    {"pieces", Device::cpu, always, cpu::clip_pieces},
    {"reference", Device::cpu, always, cpu::clip_reference},
#if CUBOID_CUDA
    {"chunks", Device::cuda, always, cuda::clip_chunks},
    {"reference", Device::cuda, always, cuda::clip_reference},
#endif
};
constexpr Impl<ScaleUpdate> scale_rows[] = {
    {"pieces", Device::cpu, always, cpu::scale_pieces},
    {"reference", Device::cpu, always, cpu::scale_reference},
#if CUBOID_CUDA
    {"chunks", Device::cuda, always, cuda::scale_chunks},
    {"reference", Device::cuda, always, cuda::scale_reference},
#endif
};

bool dense(const Tensor& t) { return t.strides() == empty_like(t).strides() || t.is(Layout::contiguous); }

void check_type(const char* op, const Tensor& t, const Tensors& list) {
  check(t.dtype() == DType::f32 || t.dtype() == DType::f64, op, ": needs f32 or f64, got ", t.dtype());
  check(t.dtype() == list[0].dtype(), op, ": ", list[0].dtype(), " and ", t.dtype(), " in one list");
}

/// Tensors to be written, all shaped and ordered as `like`.
Outs outs(const char* op, const Tensors& tensors, const Tensors& like) {
  check(tensors.size() == like.size(), op, ": lists of ", like.size(), " and ", tensors.size(), " tensors");
  Outs result;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const Tensor &t = tensors[i], &p = like[i];
    check_type(op, t, tensors);
    check(t.shape() == p.shape() && t.strides() == p.strides() && t.dtype() == p.dtype(), op, ": ", t.dtype(), t.shape(),
          " beside ", p.dtype(), p.shape(), ", or another memory order");
    result.push_back(t.mutate());
  }
  return result;
}

/// What is read, brought into the memory order of `like`; the copies live in `hold`.
Views views(const char* op, const Tensors& tensors, const Tensors& like, Tensors& hold) {
  check(tensors.size() == like.size(), op, ": lists of ", like.size(), " and ", tensors.size(), " tensors");
  Views result;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    Tensor t = tensors[i];
    check_type(op, t, tensors);
    check(t.shape() == like[i].shape() && t.dtype() == like[i].dtype(), op, ": ", t.dtype(), t.shape(), " for ", like[i].dtype(),
          like[i].shape());
    if (t.strides() != like[i].strides()) {
      t = empty_like(like[i]);
      copy(tensors[i], t);
      hold.push_back(t);
    }
    result.push_back(t.view());
  }
  return result;
}

double elements(const Tensors& tensors) {
  double count = 0;
  for (const auto& t : tensors) count += static_cast<double>(t.size());
  return count;
}

void check_dense(const char* op, const Tensors& tensors) {
  for (const auto& t : tensors) check(dense(t), op, ": a tensor of shape ", t.shape(), " is not dense");
}

}  // namespace

void sgd_update(const Tensors& parameters, const Tensors& gradients, const Tensors& momenta, const SgdStep& step) {
  if (parameters.empty()) return;
  check_dense("sgd", parameters);
  Tensors hold;
  const Views g = views("sgd", gradients, parameters, hold);
  const Outs m = step.momentum == 0 ? Outs{} : outs("sgd", momenta, parameters);
  run({"sgd", (step.momentum == 0 ? 4 : 6) * elements(parameters)}, sgd_rows, g, outs("sgd", parameters, parameters), m, step);
}

void adam_update(const Tensors& parameters, const Tensors& gradients, const Tensors& first, const Tensors& second,
                 const AdamStep& step) {
  if (parameters.empty()) return;
  check_dense("adam", parameters);
  Tensors hold;
  const Views g = views("adam", gradients, parameters, hold);
  run({"adam", 14 * elements(parameters)}, adam_rows, g, outs("adam", parameters, parameters), outs("adam", first, parameters),
      outs("adam", second, parameters), step);
}

void average_update(const Tensors& averages, const Tensors& values, double decay) {
  if (averages.empty()) return;
  check_dense("average", averages);
  Tensors hold;
  const Views x = views("average", values, averages, hold);
  run({"average", 3 * elements(averages)}, average_rows, x, outs("average", averages, averages), decay);
}

namespace {

/// The sum of all squares as one f64.
Tensor square_sum(const Tensors& tensors) {
  Tensors dense_ones = tensors;
  for (auto& t : dense_ones)
    if (!dense(t)) {
      const Tensor copied = empty(t.shape(), t.options());
      copy(t, copied);
      t = copied;
    }
  Tensors hold;
  const Tensor total = zeros({}, {.dtype = DType::f64, .device = tensors.front().device()});
  run({"global_norm", 2 * elements(tensors)}, norm_rows, views("global_norm", dense_ones, dense_ones, hold), total.mutate());
  return total;
}

Tensor square_root(const Tensor& x) {
  const Recording off(false);
  return sqrt(x);
}

}  // namespace

Tensor global_norm(const Tensors& tensors) {
  return tensors.empty() ? zeros({}, {.dtype = DType::f64}) : square_root(square_sum(tensors));
}

Clipped clipped(const Tensors& tensors, double limit) {
  if (tensors.empty()) return {{}, global_norm({})};
  const Tensor squares = square_sum(tensors);
  Clipped result;
  for (const auto& t : tensors) result.tensors.push_back(empty_like(t));
  Tensors hold;
  const Views x = views("clip", tensors, result.tensors, hold);
  run({"clip", elements(tensors)}, clip_rows, x, squares.view(), outs("clip", result.tensors, result.tensors), limit);
  result.norm = square_root(squares);
  return result;
}

Tensors scaled(const Tensors& tensors, double factor) {
  if (tensors.empty()) return {};
  Tensors results;
  for (const auto& t : tensors) results.push_back(empty_like(t));
  Tensors hold;
  const Views x = views("scale", tensors, results, hold);
  run({"scale", elements(tensors)}, scale_rows, x, outs("scale", results, results), factor);
  return results;
}

}  // namespace cuboid
