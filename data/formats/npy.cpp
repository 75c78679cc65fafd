// SPDX-License-Identifier: Apache-2.0
#include "data/formats/npy.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>

namespace cuboid {
namespace {

static_assert(std::endian::native == std::endian::little);

template <class T>
T load(const unsigned char* p, bool swap) {
  std::array<unsigned char, sizeof(T)> bytes;
  std::memcpy(bytes.data(), p, sizeof(T));
  if (swap) std::reverse(bytes.begin(), bytes.end());
  return std::bit_cast<T>(bytes);
}

template <class To, class From>
To value_of(From v, const std::string& name) {
  if constexpr (std::is_same_v<From, std::uint64_t> && std::is_integral_v<To>)
    check<DataError>(v <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()), name, ": value ", v,
                     " does not fit 64 bits with sign");
  if constexpr (std::is_same_v<From, f16> || std::is_same_v<From, std::uint64_t> || std::is_same_v<From, std::int64_t>)
    return static_cast<To>(static_cast<std::conditional_t<std::is_same_v<From, f16>, float, From>>(v));
  else return static_cast<To>(v);
}

/// Elements of the stored type at `from` to elements of the tensor's type at `to`.
template <class From>
void convert(const unsigned char* from, void* to, DType dtype, std::int64_t count, bool swap, const std::string& name) {
  visit(dtype, [&]<class To>() {
    To* out = static_cast<To*>(to);
    if constexpr (std::is_same_v<To, From>)
      if (!swap) {
        std::memcpy(out, from, static_cast<std::size_t>(count) * sizeof(To));
        return;
      }
    for (std::int64_t i = 0; i < count; ++i)
      out[i] = value_of<To>(load<From>(from + i * static_cast<std::int64_t>(sizeof(From)), swap), name);
  });
}

using Converter = void (*)(const unsigned char*, void*, DType, std::int64_t, bool, const std::string&);
Converter converter_of(const NpyHeader& h) {
  const auto by_width = [&](Converter one, Converter two, Converter four, Converter eight) {
    return h.item_bytes == 1 ? one : h.item_bytes == 2 ? two : h.item_bytes == 4 ? four : eight;
  };
  switch (h.kind) {
    case 'i':
      return by_width(convert<std::int8_t>, convert<std::int16_t>, convert<std::int32_t>, convert<std::int64_t>);
    case 'f':
      return by_width(nullptr, convert<f16>, convert<float>, convert<double>);
    default:
      return by_width(convert<std::uint8_t>, convert<std::uint16_t>, convert<std::uint32_t>, convert<std::uint64_t>);
  }
}

bool is_gzip(const std::filesystem::path& path) {
  const FileReader file(path);
  return file.size() >= 2 && file.read_at(0, 2) == "\x1f\x8b";
}

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
  const Converter convert_piece = converter_of(h);
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
    convert_piece(reinterpret_cast<const unsigned char*>(stored.data()), to + at * size_of(t.dtype()), t.dtype(), n, h.big_endian,
                  source.name());
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

Tensor read_npy(const std::filesystem::path& path, const NpyOptions& options) {
  if (is_gzip(path)) return read_npy(*open_gzip(path), options);
  FileSource file(path);
  return read_npy(file, options);
}

NpyHeader read_npy_header(const std::filesystem::path& path) {
  if (is_gzip(path)) return read_npy_header(*open_gzip(path));
  FileSource file(path);
  return read_npy_header(file);
}

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

std::string npy_bytes(const Tensor& tensor) {
  const DType stored = tensor.dtype() == DType::bf16 ? DType::f32 : tensor.dtype();
  constexpr const char* names[] = {"<f4", "<f8", "<f4", "<f2", "<i8", "<i4", "|u1"};
  std::string shape = "(";
  for (int i = 0; i < tensor.rank(); ++i) shape += std::to_string(tensor.dim(i)) + (i + 1 < tensor.rank() ? ", " : "");
  shape += tensor.rank() == 1 ? ",)" : ")";
  std::string text =
      join_text("{'descr': '", names[static_cast<int>(stored)], "', 'fortran_order': False, 'shape': ", shape, ", }");
  text.append((64 - (10 + text.size() + 1) % 64) % 64, ' ');  // the data begins at a multiple of 64
  text += '\n';
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes += static_cast<char>(text.size() & 0xff);
  bytes += static_cast<char>(text.size() >> 8);
  bytes += text;
  const std::size_t header = bytes.size();
  Tensor dense = tensor;
  if (!tensor.is(Layout::contiguous) || stored != tensor.dtype()) {
    dense = empty(tensor.shape(), {.dtype = stored});
    copy(tensor, dense);
  }
  const auto n = static_cast<std::size_t>(dense.size() * size_of(stored));
  bytes.resize(header + n);
  if (n) std::memcpy(bytes.data() + header, dense.view().data, n);
  return bytes;
}

void write_npy(const std::filesystem::path& path, const Tensor& tensor) { atomic_write(path, npy_bytes(tensor)); }

}  // namespace cuboid
