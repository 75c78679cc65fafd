// SPDX-License-Identifier: Apache-2.0
// Descriptors for TMA: how a tensor lies in global memory and which box a copy moves. Host code; kernels take the result as
// `const __grid_constant__ gpu::TensorMap map`. Every list is innermost dimension first.
#pragma once
#include <array>

#include "core/dtype.h"
#include "core/error.h"
#include "core/ptx.h"
#if !CUBOID_EMULATED
#include <cuda.h>
#include <cudaTypedefs.h>
#endif

namespace cuboid::gpu {

struct TensorLayout {
  void* base = nullptr;  // 16-byte aligned
  DType dtype = DType::bf16;
  int rank = 0;                               // 1 to 5
  std::array<std::int64_t, 5> dims{};         // elements
  std::array<std::int64_t, 5> strides{};      // elements; strides[0] is 1, the others' bytes are multiples of 16
  ptx::Swizzle swizzle = ptx::Swizzle::none;  // exchanges 16-byte chunks within rows of so many bytes, which box[0] must fill
};
/// A box of at most 256 elements per dimension; box[0] in bytes is a multiple of 16. `steps` greater than 1 skip elements.
TensorMap tiled_map(const TensorLayout& t, const std::array<int, 5>& box, const std::array<int, 5>& steps = {1, 1, 1, 1, 1});
/// For convolutions over N, [D,] H, W, C tensors (rank 5 or 4): `channels` of `pixels` positions, which run through the box
/// from `lower` to dim - 1 + `upper` (W first, usually -pad and pad - (kernel - 1) dilation) in `steps`.
TensorMap im2col_map(const TensorLayout& t, int channels, int pixels, const std::array<int, 3>& lower,
                     const std::array<int, 3>& upper, const std::array<int, 3>& steps = {1, 1, 1});

namespace detail {
/// The rules of cuTensorMapEncodeTiled and ...Im2col that can be broken by a shape.
inline void check_layout(const TensorLayout& t, std::int64_t row) {
  cuboid::check(t.rank >= 1 && t.rank <= 5, "tensor map: rank ", t.rank);
  cuboid::check(reinterpret_cast<std::uintptr_t>(t.base) % 16 == 0, "tensor map: the tensor is not 16-byte aligned");
  const std::int64_t element = size_of(t.dtype), width = t.swizzle == ptx::Swizzle::none ? 0 : 256 >> static_cast<int>(t.swizzle);
  cuboid::check(t.strides[0] == 1, "tensor map: the innermost stride is ", t.strides[0]);
  for (int i = 0; i < t.rank; ++i) {
    const auto d = static_cast<std::size_t>(i);
    cuboid::check(t.dims[d] > 0 && t.dims[d] <= std::int64_t{1} << 32, "tensor map: dimension ", i, " has ", t.dims[d],
                  " elements");
    cuboid::check(i == 0 || t.strides[d] * element % 16 == 0, "tensor map: stride ", t.strides[d],
                  " is not a multiple of 16 bytes");
  }
  cuboid::check(row * element % 16 == 0, "tensor map: rows of ", row * element, " bytes, not a multiple of 16");
  cuboid::check(width == 0 || row * element == width, "tensor map: rows of ", row * element, " bytes with a swizzle of ", width);
}
}  // namespace detail

#if CUBOID_EMULATED
namespace detail {
inline TensorMap emulated_map(const TensorLayout& t) {
  TensorMap m{};
  m.base = static_cast<unsigned char*>(t.base);
  m.rank = t.rank;
  m.element_bytes = static_cast<std::int32_t>(size_of(t.dtype));
  m.swizzle = static_cast<std::int32_t>(t.swizzle);
  for (std::size_t d = 0; d < 5; ++d) {
    m.dims[d] = static_cast<std::uint64_t>(t.dims[d]);
    m.strides[d] = static_cast<std::uint64_t>(t.strides[d] * size_of(t.dtype));
    m.steps[d] = m.box[d] = 1;
  }
  return m;
}
}  // namespace detail

inline TensorMap tiled_map(const TensorLayout& t, const std::array<int, 5>& box, const std::array<int, 5>& steps) {
  detail::check_layout(t, box[0]);
  TensorMap m = detail::emulated_map(t);
  for (std::size_t d = 0; d < static_cast<std::size_t>(t.rank); ++d) {
    cuboid::check(box[d] >= 1 && box[d] <= 256 && steps[d] >= 1 && steps[d] <= 8, "tensor map: box ", box[d], " with step ",
                  steps[d]);
    m.box[d] = static_cast<std::uint32_t>(box[d]);
    m.steps[d] = static_cast<std::uint32_t>(steps[d]);
  }
  return m;
}

inline TensorMap im2col_map(const TensorLayout& t, int channels, int pixels, const std::array<int, 3>& lower,
                            const std::array<int, 3>& upper, const std::array<int, 3>& steps) {
  detail::check_layout(t, channels);
  cuboid::check(t.rank == 4 || t.rank == 5, "tensor map: im2col of rank ", t.rank);
  cuboid::check(channels >= 1 && channels <= 256 && pixels >= 1 && pixels <= 1024, "tensor map: im2col of ", channels,
                " channels, ", pixels, " pixels");
  TensorMap m = detail::emulated_map(t);
  m.im2col = 1;
  m.box[0] = static_cast<std::uint32_t>(channels);
  m.box[1] = static_cast<std::uint32_t>(pixels);
  const int limit = t.rank == 5 ? 16 : 128;
  for (std::size_t d = 0; d < static_cast<std::size_t>(t.rank) - 2; ++d) {
    cuboid::check(
        lower[d] >= -limit && lower[d] < limit && upper[d] >= -limit && upper[d] < limit && steps[d] >= 1 && steps[d] <= 8,
        "tensor map: im2col corners ", lower[d], " and ", upper[d], ", step ", steps[d]);
    cuboid::check(lower[d] < t.dims[d + 1] + upper[d], "tensor map: the bounding box is empty");
    m.lower[d] = lower[d];
    m.upper[d] = upper[d];
    m.steps[d + 1] = static_cast<std::uint32_t>(steps[d]);
  }
  return m;
}
#else
namespace detail {
static_assert(sizeof(TensorMap) == sizeof(CUtensorMap) && alignof(TensorMap) >= alignof(CUtensorMap));

/// A function of the driver, without linking it.
template <class F>
F* driver_function(const char* name) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  gpu::check(cudaGetDriverEntryPointByVersion(name, &function, 12000, cudaEnableDefault, &found));
  cuboid::check<DeviceError>(found == cudaDriverEntryPointSuccess, "cuda: the driver has no ", name);
  return reinterpret_cast<F*>(function);
}
inline CUtensorMapDataType type_of(DType t) {
  switch (t) {
    case DType::f32:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
    case DType::f64:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT64;
    case DType::bf16:
      return CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    case DType::f16:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
    case DType::i64:
      return CU_TENSOR_MAP_DATA_TYPE_INT64;
    case DType::i32:
      return CU_TENSOR_MAP_DATA_TYPE_INT32;
    case DType::u8:
      return CU_TENSOR_MAP_DATA_TYPE_UINT8;
  }
  fail("tensor map: dtype ", t);
}
inline CUtensorMapSwizzle swizzle_of(ptx::Swizzle s) {
  constexpr CUtensorMapSwizzle modes[] = {CU_TENSOR_MAP_SWIZZLE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_SWIZZLE_64B,
                                          CU_TENSOR_MAP_SWIZZLE_32B};
  return modes[static_cast<int>(s)];
}
/// dims, strides in bytes from dimension 1 on, steps: as the driver wants them.
struct DriverLayout {
  cuuint64_t dims[5], strides[4];
  cuuint32_t steps[5] = {1, 1, 1, 1, 1};
  explicit DriverLayout(const TensorLayout& t) {
    for (std::size_t d = 0; d < static_cast<std::size_t>(t.rank); ++d) {
      dims[d] = static_cast<cuuint64_t>(t.dims[d]);
      if (d) strides[d - 1] = static_cast<cuuint64_t>(t.strides[d] * size_of(t.dtype));
    }
  }
};
inline TensorMap checked(const TensorMap& map, CUresult status) {
  cuboid::check<DeviceError>(status == CUDA_SUCCESS, "cuda: the driver refuses the tensor map, error ", static_cast<int>(status));
  return map;
}
}  // namespace detail

inline TensorMap tiled_map(const TensorLayout& t, const std::array<int, 5>& box, const std::array<int, 5>& steps) {
  detail::check_layout(t, box[0]);
  static const auto encode =
      detail::driver_function<std::remove_pointer_t<PFN_cuTensorMapEncodeTiled_v12000> >("cuTensorMapEncodeTiled");
  detail::DriverLayout layout(t);
  cuuint32_t sizes[5];
  for (std::size_t d = 0; d < 5; ++d) {
    sizes[d] = static_cast<cuuint32_t>(box[d]);
    layout.steps[d] = static_cast<cuuint32_t>(steps[d]);
  }
  TensorMap map{};
  return detail::checked(
      map, encode(reinterpret_cast<CUtensorMap*>(&map), detail::type_of(t.dtype), static_cast<cuuint32_t>(t.rank), t.base,
                  layout.dims, layout.strides, sizes, layout.steps, CU_TENSOR_MAP_INTERLEAVE_NONE, detail::swizzle_of(t.swizzle),
                  CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE));
}

inline TensorMap im2col_map(const TensorLayout& t, int channels, int pixels, const std::array<int, 3>& lower,
                            const std::array<int, 3>& upper, const std::array<int, 3>& steps) {
  detail::check_layout(t, channels);
  static const auto encode =
      detail::driver_function<std::remove_pointer_t<PFN_cuTensorMapEncodeIm2col_v12000> >("cuTensorMapEncodeIm2col");
  detail::DriverLayout layout(t);
  for (std::size_t d = 0; d < 3; ++d) layout.steps[d + 1] = static_cast<cuuint32_t>(steps[d]);
  if (t.rank == 4) layout.steps[3] = 1;  // N
  TensorMap map{};
  return detail::checked(
      map, encode(reinterpret_cast<CUtensorMap*>(&map), detail::type_of(t.dtype), static_cast<cuuint32_t>(t.rank), t.base,
                  layout.dims, layout.strides, lower.data(), upper.data(), static_cast<cuuint32_t>(channels),
                  static_cast<cuuint32_t>(pixels), layout.steps, CU_TENSOR_MAP_INTERLEAVE_NONE, detail::swizzle_of(t.swizzle),
                  CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE));
}
#endif

}  // namespace cuboid::gpu
