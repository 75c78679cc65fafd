// SPDX-License-Identifier: Apache-2.0
#include "data/formats/npy.h"

#include <algorithm>
#include <cstring>

namespace cuboid {
namespace {

/// The sum of bytes of an array, checked against what can still come.
std::int64_t data_bytes(const NpyHeader& h, const ByteSource& source) {
  std::int64_t count = 1;
  for (const auto d : h.shape) count = checked_times(count, d, source.name());
  const std::int64_t bytes = checked_times(count, h.item_bytes, source.name());
  check<DataError>(bytes <= source.at_most(), source.name(), ": cut off: ", h.type_name(), " ", h.shape, " needs ", bytes,
                   " bytes, at most ", source.at_most(), " are there");
  return bytes;
}

/// Reads `t`, dense and row major, from the stored elements that come next.
void read_elements(ByteSource& source, const NpyHeader& h, const Tensor& t) {
  constexpr std::int64_t piece = 1 << 17;
  std::string stored(static_cast<std::size_t>(std::min(piece, t.size()) * h.item_bytes), '\0');
  char* to = static_cast<char*>(t.mutate().data);
  for (std::int64_t at = 0; at < t.size(); at += piece) {
    const std::int64_t n = std::min(piece, t.size() - at);
    source.read_exactly(stored.data(), static_cast<std::size_t>(n * h.item_bytes));
    if (h.kind == 'b')
      for (std::int64_t i = 0; i < n; ++i)
        check<DataError>(stored[static_cast<std::size_t>(i)] == 0 || stored[static_cast<std::size_t>(i)] == 1, source.name(),
                         ": a truth value is neither 0 nor 1");
    decode(stored.data(), h.number(), h.big_endian, n, to + at * size_of(t.dtype()), t.dtype(), source.name());
  }
}

Shape reversed(const Shape& s) {
  Shape r = s;
  std::reverse(r.begin(), r.end());
  return r;
}

}  // namespace

Tensor read_npy(ByteSource& source, const NpyOptions& options) {
  const NpyHeader h = read_npy_header(source);
  data_bytes(h, source);
  const DType dtype = options.dtype.value_or(h.natural_dtype());
  // Fortran order is row major with the axes reversed.
  const Tensor stored = empty(h.fortran ? reversed(h.shape) : h.shape, {.dtype = dtype});
  read_elements(source, h, stored);
  source.expect_end();
  if (!h.fortran || h.shape.rank() < 2) return stored;
  const Tensor turned(stored.storage(), 0, h.shape, reversed(stored.strides()), dtype);
  Tensor dense = empty(h.shape, {.dtype = dtype});
  copy(turned, dense);
  return dense;
}

Tensor read_npy(const std::filesystem::path& path, const NpyOptions& options) { return read_npy(*open_bytes(path), options); }

NpyHeader read_npy_header(const std::filesystem::path& path) { return read_npy_header(*open_bytes(path)); }

Tensor read_npy_rows(const std::filesystem::path& path, std::int64_t first, std::int64_t count, const NpyOptions& options) {
  FileSource source(path);
  const NpyHeader h = read_npy_header(source);
  const std::int64_t bytes = data_bytes(h, source);
  check<DataError>(bytes == source.at_most(), source.name(), ": more bytes follow than the header says");
  check<DataError>(!h.fortran && h.shape.rank() > 0, source.name(), ": single rows are read from C-ordered arrays only");
  check<DataError>(first >= 0 && count >= 0 && first <= h.shape[0] && count <= h.shape[0] - first, source.name(), ": has ",
                   h.shape[0], " rows; ", count, " from ", first, " are wanted");
  Shape shape = h.shape;
  shape[0] = count;
  const Tensor t = empty(shape, {.dtype = options.dtype.value_or(h.natural_dtype())});
  source.skip(h.shape[0] == 0 ? 0 : bytes / h.shape[0] * first);
  read_elements(source, h, t);
  return t;
}

std::string npy_header_bytes(const Shape& of, Number stored) {
  constexpr const char* names[] = {"|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f2", "<f4", "<f8"};
  std::string shape = "(";
  for (int i = 0; i < of.rank(); ++i) shape += std::to_string(of[i]) + (i + 1 < of.rank() ? ", " : "");
  shape += of.rank() == 1 ? ",)" : ")";
  std::string text =
      join_text("{'descr': '", names[static_cast<int>(stored)], "', 'fortran_order': False, 'shape': ", shape, ", }");
  text.append((64 - (10 + text.size() + 1) % 64) % 64, ' ');  // the data begins at a multiple of 64
  text += '\n';
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes += static_cast<char>(text.size() & 0xff);
  bytes += static_cast<char>(text.size() >> 8);
  return bytes + text;
}

std::string npy_bytes(const Tensor& tensor) {
  const Number stored = stored_as(tensor.dtype());
  std::string bytes = npy_header_bytes(tensor.shape(), stored);
  bytes.reserve(bytes.size() + static_cast<std::size_t>(tensor.size() * size_of(stored)));
  encode_all(tensor, stored, [&](const void* data, std::size_t n) { bytes.append(static_cast<const char*>(data), n); });
  return bytes;
}

void write_npy(const std::filesystem::path& path, const Tensor& tensor) {
  const std::string name = path.string();
  const auto sink = create_bytes(path, name.ends_with(".gz"));
  const Number stored = stored_as(tensor.dtype());
  const std::string header = npy_header_bytes(tensor.shape(), stored);
  sink->write(header.data(), header.size());
  encode_all(tensor, stored, [&](const void* data, std::size_t n) { sink->write(data, n); });
  sink->finish();
}

}  // namespace cuboid
