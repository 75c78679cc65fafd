// SPDX-License-Identifier: Apache-2.0
// NumPy's .npy, versions 1.0 to 3.0. Object, structured and text arrays are refused; nothing is ever unpickled.
#pragma once
#include <filesystem>
#include <optional>

#include "core/tensor.h"
#include "data/formats/bytes.h"
#include "data/formats/numbers.h"

namespace cuboid {

struct NpyHeader {
  char kind = 'f';     // b (bool), i, u, f
  int item_bytes = 4;  // 1, 2, 4, 8
  bool big_endian = false;
  bool fortran = false;
  Shape shape;
  int version = 1;
  std::int64_t header_bytes = 0;

  /// How the elements are stored (bool as u8), and the narrowest of our types that holds every value.
  DType natural_dtype() const { return cuboid::natural_dtype(number()); }
  Number number() const;
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

/// Atomic; row major, little endian, version 1.0. bf16 is written as f4, which holds it exactly. A name that ends in .gz is
/// packed.
void write_npy(const std::filesystem::path& path, const Tensor& tensor);
/// The same bytes, in memory.
std::string npy_bytes(const Tensor& tensor);
/// What stands before the elements.
std::string npy_header_bytes(const Shape& shape, Number stored);

}  // namespace cuboid
