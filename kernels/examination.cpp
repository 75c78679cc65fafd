// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "core/cuda.h"
#include "kernels/dispatch.h"

namespace cuboid::dispatch {
namespace {

thread_local Examination* current = nullptr;

/// Of max |a-b| / max |b|, for short sums.
double allowed_error(const View& result, const std::vector<View>& all) {
  if (!is_floating(result.dtype)) return 0;
  double worst = 1e-11;
  for (const View& v : all)
    worst = std::max(worst, v.dtype == DType::bf16  ? 2e-2
                            : v.dtype == DType::f16 ? 4e-3
                            : v.dtype == DType::f32 ? (tf32() ? 4e-3 : 5e-5)
                                                    : 0);
  return worst;
}

}  // namespace

Examination::Examination(bool try_rows) : try_rows_(try_rows) {
  check(!dispatch::current, "Examination: there is one already");
  dispatch::current = this;
}
Examination::~Examination() { dispatch::current = nullptr; }
Examination* Examination::current() { return dispatch::current; }

Examination::Row& Examination::row_of(const char* op, const char* name, Device device) {
  const auto same = [&](const Row& r) { return r.device == device && r.op == op && r.name == name; };
  const auto found = std::find_if(rows_.begin(), rows_.end(), same);
  if (found != rows_.end()) return *found;
  return rows_.emplace_back(Row{op, name, device});
}

void Examination::compare(Row& row, const std::vector<Twin>& got, const std::vector<Tensor>& expected,
                          const std::vector<View>& all) {
  ++row.calls;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double error = relative_error(got[i].memory.view(), expected[i]), limit = allowed_error(got[i].original, all);
    row.worst_error = worse(error, row.worst_error);
    row.worst = worse(error == 0 ? 0 : limit > 0 ? error / limit : INFINITY, row.worst);
  }
}

Tensor fetched(const View& v) {
  const Tensor there = twin_of(v).memory;
  if (v.device == Device::cpu) return there;
  auto storage = std::make_shared<Storage>(there.storage()->bytes, Device::cpu);
#if CUBOID_CUDA
  cuda::to_host(storage->data, there.storage()->data, storage->bytes);
#endif
  return {std::move(storage), 0, v.shape, v.strides, v.dtype};
}

}  // namespace cuboid::dispatch
