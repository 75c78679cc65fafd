// SPDX-License-Identifier: Apache-2.0
#include "core/safetensors.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <numeric>
#include <unordered_set>

#include "core/json.h"

namespace cuboid {
namespace {

// Our own metadata. The header's checksum covers the header with its own eight digits as zeros, so it has a fixed place.
constexpr std::string_view format_key = "cuboid.format", sums_key = "cuboid.crc32c", header_key = "cuboid.header_crc32c";
constexpr std::string_view header_start = "{\"__metadata__\":{\"cuboid.header_crc32c\":\"";
constexpr std::int64_t newest_format = 1;
constexpr std::size_t max_tensors = 1'000'000;

struct StoredType {
  const char* name;
  int bits;
  std::optional<DType> dtype;
};
constexpr StoredType stored_types[] = {
    {"F32", 32, DType::f32}, {"F64", 64, DType::f64}, {"BF16", 16, DType::bf16}, {"F16", 16, DType::f16}, {"I64", 64, DType::i64},
    {"I32", 32, DType::i32}, {"U8", 8, DType::u8},    {"BOOL", 8, {}},           {"I8", 8, {}},           {"I16", 16, {}},
    {"U16", 16, {}},         {"U32", 32, {}},         {"U64", 64, {}},           {"F8_E5M2", 8, {}},      {"F8_E4M3", 8, {}},
    {"F8_E8M0", 8, {}},      {"F8_E4M3FNUZ", 8, {}},  {"F8_E5M2FNUZ", 8, {}},    {"C64", 64, {}},         {"F4", 4, {}},
    {"F6_E2M3", 6, {}},      {"F6_E3M2", 6, {}},
};
const char* stored_name(DType t) {
  for (const auto& s : stored_types)
    if (s.dtype == t) return s.name;
  fail("safetensors: no name for ", t);
}

Tensor row_major(const Tensor& t) {
  if (t.is(Layout::contiguous)) return t;
  Tensor dense = empty(t.shape(), {.dtype = t.dtype()});
  copy(t, dense);
  return dense;
}

std::int64_t byte_count(const Tensor& t) { return t.size() * size_of(t.dtype()); }

/// The checksum of a header whose own digits stand at header_start.size().
std::uint32_t header_checksum(std::string header) {
  header.replace(header_start.size(), 8, "00000000");
  return crc32c(header.data(), header.size());
}

}  // namespace

// ---- writing ------------------------------------------------------------------------------------

void write_safetensors(const std::filesystem::path& path, const NamedTensors& given, const Metadata& metadata) {
  const std::string file = path.string();
  NamedTensors tensors = given;
  for (auto& [name, t] : tensors)
    if (t.defined()) t = to(t.detach(), Device::cpu);
  std::unordered_set<std::string> names;
  Json sums = Json::object();
  for (const auto& [name, t] : tensors) {
    check(t.defined(), file, ": tensor \"", name, "\" is undefined");
    check(name != "__metadata__" && names.insert(name).second, file, ": tensor name \"", name, "\" cannot be used",
          name == "__metadata__" ? "" : " twice");
    const Tensor dense = row_major(t);
    const auto sum = crc32c(dense.view().data, static_cast<std::size_t>(byte_count(dense)));
    sums.as_object().emplace_back(name, hex8(sum));
  }

  Json::Object own = {{std::string(header_key), "00000000"},
                      {std::string(format_key), std::to_string(newest_format)},
                      {std::string(sums_key), sums.dump()}};
  std::unordered_set<std::string> keys;
  for (const auto& [key, value] : metadata) {
    check(!key.starts_with("cuboid.") && keys.insert(key).second, file, ": metadata key \"", key, "\" cannot be used",
          key.starts_with("cuboid.") ? "" : " twice");
    own.emplace_back(key, value);
  }
  Json header = Json::object({{"__metadata__", Json(std::move(own))}});

  // The data is sorted by element size, so that every tensor lies aligned; the header keeps the given order.
  std::vector<std::size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto element = [&](std::size_t i) { return size_of(tensors[i].second.dtype()); };
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return element(a) > element(b); });
  std::vector<std::int64_t> begin(tensors.size());
  std::int64_t end = 0;
  for (const std::size_t i : order) {
    begin[i] = end;
    end += byte_count(tensors[i].second);
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const auto& [name, t] = tensors[i];
    header.as_object().emplace_back(name,
                                    Json::object({{"dtype", stored_name(t.dtype())},
                                                  {"shape", Json(std::vector<std::int64_t>(t.shape().begin(), t.shape().end()))},
                                                  {"data_offsets", Json::array({begin[i], begin[i] + byte_count(t)})}}));
  }

  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  text.replace(header_start.size(), 8, hex8(header_checksum(text)));
  check(static_cast<std::int64_t>(text.size()) <= SafetensorsOptions().max_header_bytes, file, ": the header has ", text.size(),
        " bytes, more than any reader takes");

  atomic_write(path, [&](FileWriter& out) {
    std::uint64_t length = text.size();  // little endian, as is every machine this runs on
    out.write(&length, 8);
    out.write(text);
    for (const std::size_t i : order) {
      const Tensor dense = row_major(tensors[i].second);
      out.write(dense.view().data, static_cast<std::size_t>(byte_count(dense)));
    }
  });
}

// ---- reading ------------------------------------------------------------------------------------
namespace {

/// "dtype", "shape", "data_offsets" of one entry, each checked by itself.
StoredTensor parse_entry(const std::string& where, const std::string& name, const Json& entry) {
  check<DataError>(entry.is_object() && entry.size() == 3, where, ": expected dtype, shape and data_offsets");
  StoredTensor t;
  t.name = name;
  t.type = entry.at("dtype").as_string();
  const auto type =
      std::find_if(std::begin(stored_types), std::end(stored_types), [&](const auto& s) { return t.type == s.name; });
  check<DataError>(type != std::end(stored_types), where, ": unknown dtype \"", t.type, "\"");
  t.dtype = type->dtype;

  const Json::Array& shape = entry.at("shape").as_array();
  check<DataError>(shape.size() <= max_rank, where, ": ", shape.size(), " dimensions, at most ", max_rank, " are supported");
  std::int64_t bits = type->bits;
  for (const Json& d : shape) {
    const std::int64_t n = d.as_int();
    check<DataError>(n >= 0, where, ": dimension ", n);
    t.shape.push_back(n);
    check<DataError>(!__builtin_mul_overflow(bits, n, &bits), where, ": shape ", t.shape, " overflows");
  }
  check<DataError>(bits % 8 == 0, where, ": shape ", t.shape, " of ", t.type, " does not end at a whole byte");

  const Json::Array& offsets = entry.at("data_offsets").as_array();
  check<DataError>(offsets.size() == 2, where, ": data_offsets has ", offsets.size(), " numbers");
  t.begin = offsets[0].as_int();
  t.end = offsets[1].as_int();
  check<DataError>(t.begin >= 0 && t.begin <= t.end, where, ": data_offsets ", t.begin, "..", t.end);
  check<DataError>(t.end - t.begin == bits / 8, where, ": ", t.type, " ", t.shape, " needs ", bits / 8,
                   " bytes, data_offsets say ", t.end - t.begin);
  return t;
}

/// Back to back from 0 to `data_bytes`: no hole, no overlap, nothing behind the last one.
void check_contiguous(const std::string& file, std::vector<StoredTensor> tensors, std::int64_t data_bytes) {
  std::sort(tensors.begin(), tensors.end(),
            [](const auto& a, const auto& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  std::int64_t at = 0;
  for (const auto& t : tensors) {
    check<DataError>(t.begin == at, file, ": tensor \"", t.name, "\" begins at byte ", t.begin, " of the data, ",
                     t.begin < at ? "inside the one before it" : "with a hole before it", " (", at, " expected)");
    at = t.end;
  }
  check<DataError>(at <= data_bytes, file, ": cut off: ", at, " bytes of data announced, ", data_bytes, " there");
  check<DataError>(at == data_bytes, file, ": ", data_bytes - at, " bytes follow the last tensor");
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path, const SafetensorsOptions& options) : file_(path) {
  const std::string& file = name();
  check<DataError>(file_.size() >= 8, file, ": no safetensors file: only ", file_.size(), " bytes");
  std::uint64_t length = 0;
  file_.read_at(0, &length, 8);
  check<DataError>(length >= 2, file, ": no safetensors file: header of ", length, " bytes");
  check<DataError>(length <= static_cast<std::uint64_t>(file_.size() - 8), file, ": cut off, or no safetensors file: header of ",
                   length, " bytes in a file of ", file_.size());
  check<DataError>(length <= static_cast<std::uint64_t>(options.max_header_bytes), file, ": header of ", length,
                   " bytes, at most ", options.max_header_bytes, " are read");
  const std::string text = file_.read_at(8, static_cast<std::size_t>(length));
  data_begin_ = 8 + static_cast<std::int64_t>(length);
  check<DataError>(text[0] == '{', file, ": no safetensors file: the header does not begin with {");
  const auto last = text.find_last_not_of(' ');  // padding may follow, blanks only
  check<DataError>(text[last] == '}', file, ": the header does not end with }");
  const Json header = Json::parse(text, {.max_depth = 8}, file + " (header)");

  check<DataError>(header.size() <= max_tensors, file, ": ", header.size(), " tensors, at most ", max_tensors, " are read");
  std::string sums, header_sum;
  for (const auto& [name, entry] : header.as_object()) {
    const std::string where = file + ": tensor \"" + name + "\"";
    if (name == "__metadata__") {
      check<DataError>(entry.is_object(), file, ": __metadata__ is not an object");
      for (const auto& [key, value] : entry.as_object()) {
        check<DataError>(value.is_string(), file, ": __metadata__ \"", key, "\" is not a string");
        if (key == sums_key) sums = value.as_string();
        else if (key == header_key) header_sum = value.as_string();
        else if (key == format_key)
          check<DataError>(value.as_string() == std::to_string(newest_format), file, ": format ", value.as_string(),
                           ", this program reads ", newest_format, "; a newer release may have written it");
        else metadata_.emplace_back(key, value.as_string());
      }
      continue;
    }
    try {
      tensors_.push_back(parse_entry(where, name, entry));
    } catch (const DataError& e) {  // a wrong kind of value: say whose
      const std::string what = e.what();
      throw DataError(what.starts_with(where) ? what : where + ": " + what);
    }
    index_.emplace(name, tensors_.size() - 1);
  }
  check_contiguous(file, tensors_, file_.size() - data_begin_);

  if (!options.verify_checksums || (sums.empty() && header_sum.empty())) return;
  constexpr const char* hint = "; if another program rewrote the file, read it without verification";
  check<DataError>(text.starts_with(header_start) && header_sum.size() == 8 && header_sum == hex8(header_checksum(text)), file,
                   ": the header does not match its checksum", hint);
  const Json stored = Json::parse(sums, file + " (checksums)");
  check<DataError>(stored.size() == tensors_.size(), file, ": ", stored.size(), " checksums for ", tensors_.size(), " tensors",
                   hint);
  for (const auto& [name, digits] : stored.as_object()) {
    check<DataError>(contains(name), file, ": a checksum for \"", name, "\", which is not there", hint);
    const std::string& hex = digits.as_string();
    std::uint32_t sum = 0;
    const auto [end, status] = std::from_chars(hex.data(), hex.data() + hex.size(), sum, 16);
    check<DataError>(hex.size() == 8 && status == std::errc() && end == hex.data() + 8, file, ": checksum of \"", name,
                     "\" is \"", hex, "\"");
    checksums_.emplace(name, sum);
  }
}

std::string SafetensorsFile::metadata(const std::string& key) const {
  for (const auto& [k, value] : metadata_)
    if (k == key) return value;
  return "";
}

const StoredTensor& SafetensorsFile::find(const std::string& tensor) const {
  const auto it = index_.find(tensor);
  check<DataError>(it != index_.end(), name(), ": has no tensor \"", tensor, "\"");
  return tensors_[it->second];
}

Tensor SafetensorsFile::read(const std::string& tensor) const { return read(find(tensor)); }

Tensor SafetensorsFile::read(const StoredTensor& stored) const {
  check<DataError>(stored.dtype.has_value(), name(), ": tensor \"", stored.name, "\" has type ", stored.type,
                   "; F32, F64, BF16, F16, I64, I32 and U8 are read");
  Tensor t = empty(stored.shape, {.dtype = *stored.dtype});
  char* data = static_cast<char*>(t.mutate().data);
  // Piece by piece: the checksum is taken while the bytes are still in the cache.
  constexpr std::int64_t piece = 1 << 20;
  std::uint32_t sum = 0;
  for (std::int64_t at = stored.begin; at < stored.end; at += piece) {
    const auto n = static_cast<std::size_t>(std::min(piece, stored.end - at));
    file_.read_at(data_begin_ + at, data, n);
    if (has_checksums()) sum = crc32c(data, n, sum);
    data += n;
  }
  if (has_checksums())
    check<DataError>(sum == checksums_.at(stored.name), name(), ": tensor \"", stored.name,
                     "\" does not match its checksum; the file is damaged");
  return t;
}

NamedTensors SafetensorsFile::read_all() const {
  NamedTensors all;
  for (const auto& t : tensors_) all.emplace_back(t.name, read(t));
  return all;
}

NamedTensors read_safetensors(const std::filesystem::path& path, const SafetensorsOptions& options) {
  return SafetensorsFile(path, options).read_all();
}

}  // namespace cuboid
