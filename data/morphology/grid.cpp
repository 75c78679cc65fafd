// SPDX-License-Identifier: Apache-2.0
#include "data/morphology/grid.h"

#include <cmath>
#include <limits>

#include "core/parallel.h"

namespace cuboid::morphology {
namespace {

constexpr std::int64_t grain = 1 << 16;

Tensor dense(const Tensor& volume, const char* who) {
  check<DataError>(volume.defined() && volume.rank() == 3 && volume.size() > 0, who, ": needs a volume [D,H,W] with voxels, got ",
                   volume.defined() ? volume.shape() : Shape{});
  check(volume.device() == Device::cpu, who, ": the volume is not on the CPU");
  if (volume.is(Layout::contiguous)) return volume;
  const Tensor copied = empty(volume.shape(), {.dtype = volume.dtype()});
  copy(volume, copied);
  return copied;
}

}  // namespace

Tensor as_mask(const Tensor& volume, const char* who) {
  const Tensor x = dense(volume, who);
  if (x.dtype() == DType::u8) {
    const auto* p = x.data<std::uint8_t>();
    bool binary = true;
    for (std::int64_t i = 0; i < x.size() && binary; i += grain) {
      std::uint8_t any = 0;
      for (std::int64_t k = i; k < std::min(i + grain, x.size()); ++k) any |= p[k];
      binary = any <= 1;
    }
    if (binary) return x;
  }
  const Tensor mask = empty(x.shape(), {.dtype = DType::u8});
  auto* out = mask.mutable_data<std::uint8_t>();
  visit(x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    parallel_ranges(x.size(), grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        if constexpr (std::is_integral_v<T>) out[i] = in[i] != 0;
        else out[i] = static_cast<double>(in[i]) != 0;
      }
    });
  });
  return mask;
}

Tensor as_labels(const Tensor& volume, const char* who) {
  const Tensor x = dense(volume, who);
  if (x.dtype() == DType::u8 || x.dtype() == DType::i32) return x;
  const Tensor labels = empty(x.shape(), {.dtype = DType::i32});
  auto* out = labels.mutable_data<std::int32_t>();
  visit(x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    for (std::int64_t i = 0; i < x.size(); ++i) {
      const auto value = static_cast<double>(in[i]);
      check<DataError>(std::abs(value) <= std::numeric_limits<std::int32_t>::max() && value == std::floor(value), who, ": ",
                       value, " is no label; labels are whole numbers of at most 32 bits");
      out[i] = static_cast<std::int32_t>(value);
    }
  });
  return labels;
}

void check_spacing(const Spacing& spacing, const char* who) {
  for (const double s : spacing)
    check<DataError>(std::isfinite(s) && s > 0, who, ": voxel size ", spacing[0], " x ", spacing[1], " x ", spacing[2],
                     " (z,y,x); each must be above 0");
}

std::vector<Step> neighbours(const Grid& grid, Connectivity connectivity, bool before) {
  const std::int64_t most = connectivity == Connectivity::faces ? 1 : connectivity == Connectivity::edges ? 2 : 3;
  std::vector<Step> steps;
  for (std::int64_t z = -1; z <= 1; ++z)
    for (std::int64_t y = -1; y <= 1; ++y)
      for (std::int64_t x = -1; x <= 1; ++x) {
        const std::int64_t moves = std::abs(z) + std::abs(y) + std::abs(x);
        if (moves == 0) {
          if (before) return steps;
          continue;
        }
        if (moves <= most) steps.push_back({z, y, x, (z * grid.h + y) * grid.w + x});
      }
  return steps;
}

}  // namespace cuboid::morphology
