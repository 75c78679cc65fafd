// SPDX-License-Identifier: Apache-2.0
// MATLAB's MAT files, version 5 (what `save -v6` and `-v7` write): full numeric and logical arrays, plain or compressed.
// "MAT-File Format", MathWorks, version 5. Our own reader: the walk over the elements that would have to protect a library from
// damaged files is already the reader.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/formats/bytes.h"
#include "data/formats/numbers.h"

namespace cuboid {

struct MatVariable {
  std::string name;
  std::string type;      // MATLAB's class: "double", "uint8", "logical", "struct", ...
  Shape shape;           // as MATLAB says it: rows, columns, pages, ...
  bool readable = true;  // false: complex, sparse, text, cells, structs and objects
};

struct MatOptions {
  std::optional<DType> dtype;
};

/// True for the first 128 bytes (or more) of a MAT file of version 5 or 7.3.
bool begins_as_mat(std::string_view start);
std::vector<MatVariable> list_mat(const std::filesystem::path& path);
/// One variable; `name` may be empty when there is only one that can be read. MATLAB's rows x columns x slices become
/// [slices,rows,columns] (so y is MATLAB's first axis and x its second); a fourth dimension stands before them. Matrices stay as
/// they are. The type is that of MATLAB's class (logical: u8), or options.dtype.
Tensor read_mat(const std::filesystem::path& path, const std::string& name = "", const MatOptions& options = {});

struct MatArray {
  std::string name;
  Tensor values;  // [D,H,W] is written as H x W x D, so that read_mat gives it back; any rank from 0 to 8
  Number stored;  // f32 single, f64 double, i16 int16, ...; see encode for rounding and clamping
};
/// Atomic; uncompressed unless `compress`.
void write_mat(const std::filesystem::path& path, const std::vector<MatArray>& arrays, bool compress = true);

}  // namespace cuboid
