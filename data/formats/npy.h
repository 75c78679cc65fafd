// SPDX-License-Identifier: Apache-2.0
// NumPy's .npy, versions 1.0 to 3.0. Object, structured and text arrays are refused; nothing is ever unpickled.
#pragma once
#include <filesystem>
#include <optional>

#include "core/tensor.h"
#include "data/formats/bytes.h"

namespace cuboid {

struct NpyHeader {
  char kind = 'f';     // b (bool), i, u, f
  int item_bytes = 4;  // 1, 2, 4, 8
  bool big_endian = false;
  bool fortran = false;
  Shape shape;
  int version = 1;
  std::int64_t header_bytes = 0;

  /// The narrowest of our types that holds every value: bool and u8 -> u8; i8, i16, u16, i32 -> i32; u32, i64, u64 -> i64;
  /// f2 -> f16; f4 -> f32; f8 -> f64.
  DType natural_dtype() const;
  std::string type_name() const;  // as NumPy writes it: "<u2"
};

struct NpyOptions {
  std::optional<DType> dtype;  // convert while reading
};

/// Reads .npy and .npy.gz. Throws DataError.
Tensor read_npy(const std::filesystem::path& path, const NpyOptions& options = {});
Tensor read_npy(ByteSource& source, const NpyOptions& options = {});
/// Reads no further than the header.
NpyHeader read_npy_header(const std::filesystem::path& path);
NpyHeader read_npy_header(ByteSource& source);
/// `count` slices of axis 0 from `first`, without reading the others (plain .npy in C order only).
Tensor read_npy_rows(const std::filesystem::path& path, std::int64_t first, std::int64_t count, const NpyOptions& options = {});

/// Atomic; row major, little endian, version 1.0. bf16 is written as f4, which holds it exactly.
void write_npy(const std::filesystem::path& path, const Tensor& tensor);
/// The same bytes, in memory.
std::string npy_bytes(const Tensor& tensor);

}  // namespace cuboid
