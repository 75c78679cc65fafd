// SPDX-License-Identifier: Apache-2.0
#include "data/formats/mat.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace cuboid {
namespace {

// Data types of elements, classes of arrays (tables 1-1 and 1-3 of the format's description).
constexpr std::uint32_t mi_matrix = 14, mi_compressed = 15;
constexpr std::size_t header_bytes = 128;
constexpr std::int64_t max_variables = 65'536;
constexpr std::uint32_t max_name = 4096;

struct StoredType {
  std::uint32_t code;
  Number number;
};
constexpr StoredType stored_types[] = {{1, Number::i8},   {2, Number::u8},  {3, Number::i16}, {4, Number::u16},
                                       {5, Number::i32},  {6, Number::u32}, {7, Number::f32}, {9, Number::f64},
                                       {12, Number::i64}, {13, Number::u64}};
struct ArrayClass {
  unsigned code;
  const char* name;
  Number number;
};
constexpr ArrayClass classes[] = {{6, "double", Number::f64}, {7, "single", Number::f32},  {8, "int8", Number::i8},
                                  {9, "uint8", Number::u8},   {10, "int16", Number::i16},  {11, "uint16", Number::u16},
                                  {12, "int32", Number::i32}, {13, "uint32", Number::u32}, {14, "int64", Number::i64},
                                  {15, "uint64", Number::u64}};
constexpr const char* other_classes[] = {"", "cell", "struct", "object", "char", "sparse"};

struct Tag {
  std::uint32_t type = 0, bytes = 0;
  bool small = false;  // the data, at most 4 bytes, stands in the tag itself
  std::array<char, 4> data{};
};

/// Elements one after the other, with the bytes that are left of the one around them.
class Elements {
 public:
  Elements(ByteSource& source, bool swap) : source_(source), swap_(swap) {}
  std::int64_t left = 0;
  bool swap() const { return swap_; }
  const std::string& name() const { return source_.name(); }

  void take(void* to, std::int64_t bytes) {
    check<DataError>(bytes <= left, name(), ": mat: an element is larger than the one around it");
    source_.read_exactly(to, static_cast<std::size_t>(bytes));
    left -= bytes;
  }
  void pass(std::int64_t bytes) {
    check<DataError>(bytes <= left, name(), ": mat: an element is larger than the one around it");
    source_.skip(bytes);
    left -= bytes;
  }
  std::uint32_t word(const char* p) const {
    std::uint32_t w;
    std::memcpy(&w, p, 4);
    return swap_ ? __builtin_bswap32(w) : w;
  }
  Tag tag() {
    char raw[8];
    take(raw, 8);
    Tag t;
    t.type = word(raw);
    t.small = (t.type >> 16) != 0;
    if (t.small) {
      t.bytes = t.type >> 16;
      t.type &= 0xffff;
      check<DataError>(t.bytes <= 4, name(), ": mat: a small element of ", t.bytes, " bytes");
      std::memcpy(t.data.data(), raw + 4, 4);
    } else {
      t.bytes = word(raw + 4);
    }
    return t;
  }
  /// The content of a short element and the padding behind it.
  std::string content(const Tag& t, std::uint32_t at_most) {
    check<DataError>(t.bytes <= at_most, name(), ": mat: ", t.bytes, " bytes where at most ", at_most, " can be");
    if (t.small) return std::string(t.data.data(), t.bytes);
    std::string text(t.bytes, '\0');
    take(text.data(), t.bytes);
    pass((8 - t.bytes % 8) % 8);
    return text;
  }

 private:
  ByteSource& source_;
  bool swap_;
};

/// What stands before an array's values.
struct ArrayHeader {
  std::string name, type;
  Shape shape;
  Number number = Number::f64;
  bool readable = false;
};

ArrayHeader read_array_header(Elements& e) {
  ArrayHeader a;
  const Tag flags = e.tag();
  check<DataError>(flags.type == 6 && flags.bytes == 8 && !flags.small, e.name(), ": mat: an array without flags");
  const std::string raw_flags = e.content(flags, 8);
  const std::uint32_t bits = e.word(raw_flags.data());
  const unsigned code = bits & 0xff;
  const bool complex = bits & 0x0800, logical = bits & 0x0200;
  const auto* known = std::find_if(std::begin(classes), std::end(classes), [&](const ArrayClass& c) { return c.code == code; });
  if (known != std::end(classes)) {
    a.number = known->number;
    a.type = complex ? std::string("complex ") + known->name : logical ? "logical" : known->name;
    a.readable = !complex;
  } else {
    a.type = code < std::size(other_classes) ? other_classes[code] : code == 16 ? "function handle" : "object";
    check<DataError>(code >= 1 && code <= 17, e.name(), ": mat: unknown array class ", code);
    if (code == 17) {  // has no dimensions
      a.type = "object";
      return a;
    }
  }
  const Tag dims = e.tag();
  check<DataError>(dims.type == 5 && dims.bytes % 4 == 0 && dims.bytes >= 8, e.name(), ": mat: an array without dimensions");
  const std::string raw_dims = e.content(dims, 4 * max_rank);
  std::int64_t count = 1;
  for (std::size_t i = 0; i < raw_dims.size(); i += 4) {
    const auto d = static_cast<std::int32_t>(e.word(raw_dims.data() + i));
    check<DataError>(d >= 0, e.name(), ": mat: dimension ", i / 4, " is ", d);
    a.shape.push_back(d);
    count = checked_times(count, d, e.name());
  }
  const Tag name = e.tag();
  check<DataError>(name.type == 1, e.name(), ": mat: an array without a name");
  a.name = e.content(name, max_name);
  return a;
}

/// MATLAB's dimensions to ours: (rows, columns, slices, more) to [more, slices, rows, columns].
Shape turned(const Shape& s) {
  Shape t;
  for (int i = s.rank() - 1; i >= 2; --i) t.push_back(s[i]);
  t.push_back(s[0]);
  t.push_back(s[1]);
  return t;
}

/// The values, which come next: columns one after the other.
Tensor read_values(Elements& e, ByteSource& source, const ArrayHeader& a, const MatOptions& options) {
  const std::string where = e.name() + ": mat: \"" + a.name + "\"";
  const Tag data = e.tag();
  const auto* type =
      std::find_if(std::begin(stored_types), std::end(stored_types), [&](const StoredType& t) { return t.code == data.type; });
  check<DataError>(type != std::end(stored_types), where, ": values of unknown type ", data.type);
  const std::int64_t count = a.shape.count(), width = size_of(type->number), bytes = checked_times(count, width, where);
  check<DataError>(bytes == data.bytes, where, ": ", a.shape, " of ", name_of(type->number), " needs ", bytes,
                   " bytes, the element has ", data.bytes);
  check<DataError>(data.small || (data.bytes <= e.left && data.bytes <= source.at_most()), where, ": cut off: ", data.bytes,
                   " bytes of values, at most ", std::min(e.left, source.at_most()), " are there");
  const DType dtype = options.dtype.value_or(natural_dtype(a.number));
  const Tensor t = empty(turned(a.shape), {.dtype = dtype});
  const std::int64_t rows = a.shape[0], columns = a.shape[1], slice = rows * columns, slices = slice > 0 ? count / slice : 0;
  if (data.small) {
    const Tensor values = empty({count}, {.dtype = dtype});
    decode(data.data.data(), type->number, e.swap(), count, values.mutate().data, dtype, where);
    if (count > 0)
      copy(Tensor(values.storage(), 0, {rows, columns}, {1, rows}, dtype),
           Tensor(t.storage(), 0, {rows, columns}, {columns, 1}, dtype));
    return t;
  }
  if (slices > 0) {
    std::string stored(static_cast<std::size_t>(slice * width), '\0');
    const Tensor values = empty({slice}, {.dtype = dtype});
    const Tensor standing(values.storage(), 0, {rows, columns}, {1, rows}, dtype);
    for (std::int64_t z = 0; z < slices; ++z) {
      e.take(stored.data(), slice * width);
      decode(stored.data(), type->number, e.swap(), slice, values.mutate().data, dtype, where);
      copy(standing, Tensor(t.storage(), z * slice, {rows, columns}, {columns, 1}, dtype));
    }
  }
  e.pass((8 - data.bytes % 8) % 8);
  check<DataError>(e.left == 0, where, ": ", e.left, " bytes follow its values");
  return t;
}

/// Calls visit(header, elements, source) for each array of the file, standing behind its header; true stops.
template <class F>
void for_each_array(const std::filesystem::path& path, F visit) {
  const FileReader file(path);
  const std::string name = file.name();
  check<DataError>(file.size() >= static_cast<std::int64_t>(header_bytes), name, ": mat: ", file.size(), " bytes; a header has ",
                   header_bytes);
  const std::string start = file.read_at(0, header_bytes);
  check<DataError>(!start.starts_with("MATLAB 7.3") && !start.starts_with("\x89HDF"), name,
                   ": mat: version 7.3, which is HDF5, is not read; in MATLAB: save(file, names, '-v7')");
  const std::string_view order(start.data() + 126, 2);
  check<DataError>(begins_as_mat(start), name, ": mat: no MATLAB 5 file (version 4, or something else)");
  const bool swap = order == "MI";
  std::int64_t at = header_bytes;
  for (std::int64_t n = 0; at < file.size(); ++n) {
    check<DataError>(n < max_variables, name, ": mat: more than ", max_variables, " variables");
    check<DataError>(file.size() - at >= 8, name, ": mat: cut off within a tag");
    const std::string raw = file.read_at(at, 8);
    FileSource plain(path);
    Elements outer(plain, swap);
    const std::uint32_t type = outer.word(raw.data()), bytes = outer.word(raw.data() + 4);
    at += 8;
    check<DataError>(bytes <= file.size() - at, name, ": mat: cut off: an element of ", bytes, " bytes at byte ", at, ", ",
                     file.size() - at, " are there");
    const std::int64_t end = at + bytes;
    bool stop = false;
    if (type == mi_matrix) {
      plain.skip(at);
      outer.left = bytes;
      if (bytes > 0) stop = visit(read_array_header(outer), outer, static_cast<ByteSource&>(plain));
    } else if (type == mi_compressed) {
      const auto packed = open_zlib(path, at, end);
      Elements inner(*packed, swap);
      inner.left = 8;
      const Tag tag = inner.tag();
      check<DataError>(tag.type == mi_matrix && !tag.small && tag.bytes <= packed->at_most(), name,
                       ": mat: packed data that is no array, or of an impossible size (", tag.bytes, " bytes)");
      inner.left = tag.bytes;
      stop = visit(read_array_header(inner), inner, *packed);
      if (stop) packed->expect_end();
    } else {
      fail<DataError>(name, ": mat: an element of type ", type, " at byte ", at - 8, ", where an array is expected");
    }
    if (stop) return;
    at = end;
  }
}

std::string with_dimensions(const MatVariable& v) {
  std::string text = v.name + " (";
  for (int i = 0; i < v.shape.rank(); ++i) text += (i ? "x" : "") + std::to_string(v.shape[i]);
  return text + " " + v.type + ")";
}

}  // namespace

bool begins_as_mat(std::string_view start) {
  if (start.size() < header_bytes) return false;
  const std::string_view version = start.substr(124, 4);
  using std::string_view_literals::operator""sv;
  return version == "\0\1IM"sv || version == "\1\0MI"sv || (start.starts_with("MATLAB 7.3") && version == "\0\2IM"sv);
}

std::vector<MatVariable> list_mat(const std::filesystem::path& path) {
  std::vector<MatVariable> all;
  for_each_array(path, [&](const ArrayHeader& a, Elements& e, ByteSource&) {
    if (a.name.empty()) return false;  // MATLAB's own: what objects refer to
    for (const MatVariable& v : all) check<DataError>(v.name != a.name, e.name(), ": mat: \"", a.name, "\" is there twice");
    all.push_back({a.name, a.type, a.shape, a.readable});
    return false;
  });
  return all;
}

Tensor read_mat(const std::filesystem::path& path, const std::string& name, const MatOptions& options) {
  const std::vector<MatVariable> all = list_mat(path);
  std::string listed, only;
  int readable = 0;
  for (const MatVariable& v : all) {
    listed += (listed.empty() ? "" : ", ") + with_dimensions(v);
    if (v.readable) only = v.name, ++readable;
  }
  check<DataError>(!all.empty(), path.string(), ": mat: holds no variable");
  check<DataError>(!name.empty() || readable == 1, path.string(), ": mat: holds ",
                   readable ? "several arrays, name one of: " : "no array that can be read: ", listed);
  const std::string& wanted = name.empty() ? only : name;
  const auto it = std::find_if(all.begin(), all.end(), [&](const MatVariable& v) { return v.name == wanted; });
  check<DataError>(it != all.end(), path.string(), ": mat: has no variable \"", wanted, "\"; there are: ", listed);
  check<DataError>(it->readable, path.string(), ": mat: \"", wanted, "\" is ", it->type,
                   "; real full numeric and logical arrays are read");
  Tensor values;
  for_each_array(path, [&](const ArrayHeader& a, Elements& e, ByteSource& source) {
    if (a.name != wanted) return false;
    values = read_values(e, source, a, options);
    return true;
  });
  check<DataError>(values.defined(), path.string(), ": mat: changed while it was read");
  return values;
}

// ---- writing ------------------------------------------------------------------------------------

namespace {

void put_word(std::string& bytes, std::uint32_t w) {
  static_assert(std::endian::native == std::endian::little);
  bytes.append(reinterpret_cast<const char*>(&w), 4);
}
void put_element(std::string& bytes, std::uint32_t type, std::string_view content) {
  put_word(bytes, type);
  put_word(bytes, static_cast<std::uint32_t>(content.size()));
  bytes += content;
  bytes.append((8 - content.size() % 8) % 8, '\0');
}

/// One array with its tag, in pieces to `put`.
template <class F>
void write_array(const MatArray& array, const std::string& file, F put) {
  const std::string where = file + ": mat: \"" + array.name + "\"";
  const auto* known =
      std::find_if(std::begin(classes), std::end(classes), [&](const ArrayClass& c) { return c.number == array.stored; });
  check(known != std::end(classes), where, ": MATLAB has no ", name_of(array.stored));
  const auto* type = std::find_if(std::begin(stored_types), std::end(stored_types),
                                  [&](const StoredType& t) { return t.number == array.stored; });
  const Tensor x = to(array.values, Device::cpu);
  Shape shape = x.shape(), strides = x.strides();
  if (x.rank() == 0) shape = {1, 1}, strides = {1, 1};
  if (x.rank() == 1) shape = {1, x.dim(0)}, strides = {x.dim(0) * x.strides()[0], x.strides()[0]};  // vectors are rows
  Shape dims = {shape[-2], shape[-1]};
  for (int i = shape.rank() - 3; i >= 0; --i) dims.push_back(shape[i]);
  const std::int64_t values = checked_times(x.size(), size_of(array.stored), where), padding = (8 - values % 8) % 8;
  check(values < (std::int64_t{1} << 31) - 8192, where, ": ", values, " bytes; an array of a MATLAB 5 file has less than 2 GiB");

  std::string bytes, flags, sizes, start;
  put_word(flags, known->code);
  put_word(flags, 0);
  put_element(bytes, 6, flags);
  for (const auto d : dims) put_word(sizes, static_cast<std::uint32_t>(d));
  put_element(bytes, 5, sizes);
  put_element(bytes, 1, array.name);
  put_word(bytes, type->code);
  put_word(bytes, static_cast<std::uint32_t>(values));
  put_word(start, mi_matrix);
  put_word(start, static_cast<std::uint32_t>(static_cast<std::int64_t>(bytes.size()) + values + padding));
  put(start.data(), start.size());
  put(bytes.data(), bytes.size());
  // Slice by slice, each one's columns one after the other.
  const std::int64_t slice = dims[0] * dims[1], slices = slice > 0 ? x.size() / slice : 0;
  Shape at = Shape::filled(shape.rank() - 2, 0);
  for (std::int64_t n = 0; n < slices; ++n) {
    std::int64_t offset = x.offset();
    for (int d = 0; d < at.rank(); ++d) offset += at[d] * strides[d];
    const Tensor columns(x.storage(), offset, {dims[1], dims[0]}, {strides[-1], strides[-2]}, x.dtype());
    encode_all(columns, array.stored, put);
    for (int d = at.rank() - 1; d >= 0 && ++at[d] == shape[d]; --d) at[d] = 0;
  }
  constexpr char zeros[8] = {};
  put(zeros, static_cast<std::size_t>(padding));
}

void check_names(const std::vector<MatArray>& arrays, const std::string& file) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  const auto later = [&](char c) { return letter(c) || c == '_' || (c >= '0' && c <= '9'); };
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    const std::string& name = arrays[i].name;
    check(!name.empty() && name.size() <= 63 && letter(name[0]) && std::all_of(name.begin(), name.end(), later), file,
          ": mat: \"", name, "\": not a name MATLAB can have (letters, digits and _, a letter first, at most 63)");
    for (std::size_t j = 0; j < i; ++j) check(name != arrays[j].name, file, ": mat: \"", name, "\" is given twice");
  }
}

}  // namespace

void write_mat(const std::filesystem::path& path, const std::vector<MatArray>& arrays, bool compress) {
#if !defined(CUBOID_ZLIB)
  compress = false;
#endif
  check_names(arrays, path.string());
  std::string start = "MATLAB 5.0 MAT-file, written by cuboid";
  start.resize(header_bytes, ' ');
  start.replace(116, 8, 8, '\0');
  start.replace(124, 4, std::string_view("\0\1IM", 4));
  const auto sink = create_bytes(path);
  sink->write(start.data(), start.size());
  for (const MatArray& array : arrays) {
    if (!compress) {
      write_array(array, path.string(), [&](const void* data, std::size_t n) { sink->write(data, n); });
      continue;
    }
    ZlibPacker packer;
    write_array(array, path.string(), [&](const void* data, std::size_t n) { packer.write(data, n); });
    const std::string bytes = packer.finish();
    std::string tag;
    put_word(tag, mi_compressed);
    put_word(tag, static_cast<std::uint32_t>(bytes.size()));
    sink->write(tag.data(), tag.size());
    sink->write(bytes.data(), bytes.size());
  }
  sink->finish();
}

}  // namespace cuboid
