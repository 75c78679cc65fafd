// SPDX-License-Identifier: Apache-2.0
#include "data/formats/tiff.h"

#include "data/formats/bytes.h"
#include "data/formats/tiff_handle.h"
#include "data/formats/tiff_spacing.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace cuboid {

#if defined(CUBOID_TIFF)
namespace {

constexpr std::int64_t max_pages = 65'535;

struct Page {
  std::uint32_t width = 0, height = 0;
  std::uint16_t bits = 1, samples = 1, format = SAMPLEFORMAT_UINT, photometric = 0, compression = COMPRESSION_NONE;

  friend bool operator==(const Page& a, const Page& b) {
    return a.width == b.width && a.height == b.height && a.bits == b.bits && a.samples == b.samples && a.format == b.format &&
           a.photometric == b.photometric;
  }
  std::int64_t row_bytes() const { return std::int64_t{width} * bits / 8; }
};

Page current_page(const TiffHandle& file) {
  Page p;
  TIFF* t = file.get();
  file.require(TIFFGetField(t, TIFFTAG_IMAGEWIDTH, &p.width) && TIFFGetField(t, TIFFTAG_IMAGELENGTH, &p.height), "no image size");
  TIFFGetFieldDefaulted(t, TIFFTAG_BITSPERSAMPLE, &p.bits);
  TIFFGetFieldDefaulted(t, TIFFTAG_SAMPLESPERPIXEL, &p.samples);
  TIFFGetFieldDefaulted(t, TIFFTAG_SAMPLEFORMAT, &p.format);
  TIFFGetField(t, TIFFTAG_PHOTOMETRIC, &p.photometric);
  TIFFGetFieldDefaulted(t, TIFFTAG_COMPRESSION, &p.compression);
  if (p.format == SAMPLEFORMAT_VOID) p.format = SAMPLEFORMAT_UINT;
  return p;
}

DType natural_dtype(const TiffHandle& file, const Page& p) {
  const std::string& name = file.name();
  check<DataError>(p.samples == 1, name, ": tiff: ", p.samples, " samples a pixel; grey images are read");
  check<DataError>(p.photometric == PHOTOMETRIC_MINISBLACK || p.photometric == PHOTOMETRIC_MINISWHITE, name,
                   ": tiff: a colour image (photometric ", p.photometric, "); grey images are read");
  const bool real = p.format == SAMPLEFORMAT_IEEEFP, whole = p.format == SAMPLEFORMAT_UINT || p.format == SAMPLEFORMAT_INT;
  check<DataError>((whole && (p.bits == 8 || p.bits == 16 || p.bits == 32)) || (real && p.bits == 32), name, ": tiff: ", p.bits,
                   "-bit samples of format ", p.format, "; 8, 16, 32-bit integers and 32-bit floats are read");
  check<DataError>(p.width > 0 && p.height > 0, name, ": tiff: ", p.width, " x ", p.height, " pixels");
  if (real) return DType::f32;
  if (p.format == SAMPLEFORMAT_UINT && p.bits != 16) return p.bits == 8 ? DType::u8 : DType::i64;
  return DType::i32;
}

/// All pages, in order; they must agree.
std::int64_t count_pages(const TiffHandle& file, const Page& first) {
  std::int64_t pages = 0;
  do {
    check<DataError>(++pages <= max_pages, file.name(), ": tiff: more than ", max_pages, " pages");
    const Page p = current_page(file);
    check<DataError>(p == first, file.name(), ": tiff: page ", pages - 1, " is ", p.width, " x ", p.height, ", ", p.bits,
                     " bits, page 0 is ", first.width, " x ", first.height, ", ", first.bits, " bits");
  } while (TIFFReadDirectory(file.get()));
  file.require(true, "");  // TIFFReadDirectory also ends at a broken page: only then there is a message
  return pages;
}

void read_strips(const TiffHandle& file, const Page& p, unsigned char* page) {
  std::uint32_t rows_per_strip = 0;
  TIFFGetFieldDefaulted(file.get(), TIFFTAG_ROWSPERSTRIP, &rows_per_strip);
  file.require(rows_per_strip > 0, "strips without rows");
  const std::int64_t rows = std::min(rows_per_strip, p.height);
  for (std::int64_t y = 0, strip = 0; y < p.height; y += rows, ++strip) {
    const std::int64_t bytes = std::min<std::int64_t>(rows, p.height - y) * p.row_bytes();
    const auto got = TIFFReadEncodedStrip(file.get(), static_cast<std::uint32_t>(strip), page + y * p.row_bytes(), bytes);
    file.require(got == bytes, "a strip is cut off");
  }
}

void read_tiles(const TiffHandle& file, const Page& p, unsigned char* page, std::int64_t bytes_limit) {
  std::uint32_t tile_width = 0, tile_height = 0;
  file.require(TIFFGetField(file.get(), TIFFTAG_TILEWIDTH, &tile_width) &&
                   TIFFGetField(file.get(), TIFFTAG_TILELENGTH, &tile_height) && tile_width > 0 && tile_height > 0,
               "tiles without size");
  const std::int64_t item = p.bits / 8, tile_row = tile_width * item,
                     tile_bytes = checked_times(tile_row, tile_height, file.name());
  check<DataError>(tile_bytes <= bytes_limit && tile_bytes == TIFFTileSize(file.get()), file.name(), ": tiff: tiles of ",
                   tile_width, " x ", tile_height);
  std::vector<unsigned char> tile(static_cast<std::size_t>(tile_bytes));
  for (std::uint32_t y = 0; y < p.height; y += std::min(tile_height, p.height - y))
    for (std::uint32_t x = 0; x < p.width; x += std::min(tile_width, p.width - x)) {
      const auto index = TIFFComputeTile(file.get(), x, y, 0, 0);
      file.require(TIFFReadEncodedTile(file.get(), index, tile.data(), tile_bytes) == tile_bytes, "a tile is cut off");
      const std::int64_t rows = std::min(tile_height, p.height - y), columns = std::min(tile_width, p.width - x);
      for (std::int64_t r = 0; r < rows; ++r)
        std::memcpy(page + (y + r) * p.row_bytes() + x * item, tile.data() + r * tile_row,
                    static_cast<std::size_t>(columns * item));
    }
}

template <class From>
void convert_page(const unsigned char* page, std::int64_t count, void* to, DType dtype) {
  visit(dtype, [&]<class To>() {
    To* out = static_cast<To*>(to);
    for (std::int64_t i = 0; i < count; ++i) {
      From v;
      std::memcpy(&v, page + i * static_cast<std::int64_t>(sizeof v), sizeof v);
      out[i] = static_cast<To>(v);
    }
  });
}

using Converter = void (*)(const unsigned char*, std::int64_t, void*, DType);
Converter converter_of(const Page& p) {
  if (p.format == SAMPLEFORMAT_IEEEFP) return convert_page<float>;
  const bool sign = p.format == SAMPLEFORMAT_INT;
  if (p.bits == 8) return sign ? convert_page<std::int8_t> : convert_page<std::uint8_t>;
  if (p.bits == 16) return sign ? convert_page<std::int16_t> : convert_page<std::uint16_t>;
  return sign ? convert_page<std::int32_t> : convert_page<std::uint32_t>;
}

}  // namespace

Volume read_tiff(const std::filesystem::path& path, const TiffOptions& options) {
  const TiffHandle file(path);
  const std::string& name = file.name();
  const Page first = current_page(file);
  const DType natural = natural_dtype(file, first);
  Volume v;
  v.source = path;
  v.name = path.stem().string();
  read_tiff_spacing(file, v);

  const std::int64_t pages = count_pages(file, first);
  const std::int64_t page_bytes = checked_times(first.row_bytes(), first.height, name);
  const std::int64_t bytes = checked_times(page_bytes, pages, name);
  // LZW and PackBits pack less than deflate can; other methods are refused before anything is unpacked.
  const std::int64_t limit = file.bytes() * (first.compression == COMPRESSION_NONE ? 1 : max_deflate_ratio);
  check<DataError>(bytes <= limit, name, ": tiff: ", pages, " pages of ", first.width, " x ", first.height, " do not fit into ",
                   file.bytes(), " bytes");

  const DType dtype = options.dtype.value_or(natural);
  v.image = empty({pages, first.height, first.width}, {.dtype = dtype});
  std::vector<unsigned char> page(static_cast<std::size_t>(page_bytes));
  const std::int64_t count = std::int64_t{first.width} * first.height;
  char* to = static_cast<char*>(v.image.mutate().data);
  for (std::int64_t z = 0; z < pages; ++z, to += count * size_of(dtype)) {
    file.require(TIFFSetDirectory(file.get(), static_cast<tdir_t>(z)) != 0, "a page cannot be read");
    const Page p = current_page(file);
    check<DataError>(p.compression == COMPRESSION_NONE || p.compression == COMPRESSION_LZW ||
                         p.compression == COMPRESSION_PACKBITS || p.compression == COMPRESSION_ADOBE_DEFLATE ||
                         p.compression == COMPRESSION_DEFLATE,
                     name, ": tiff: compression ", p.compression, "; none, LZW, deflate and PackBits are read");
    if (TIFFIsTiled(file.get())) read_tiles(file, p, page.data(), std::max<std::int64_t>(1 << 20, limit));
    else read_strips(file, p, page.data());
    if (first.photometric == PHOTOMETRIC_MINISWHITE && first.format == SAMPLEFORMAT_UINT)
      for (auto& b : page) b = static_cast<unsigned char>(~b);
    converter_of(first)(page.data(), count, to, dtype);
  }
  return v;
}

void write_tiff(const std::filesystem::path& path, const Volume& volume, const TiffWriteOptions& options) {
  const Tensor& x = volume.image;
  check(x.defined() && x.rank() == 3 && x.size() > 0, path.string(), ": tiff: writes [D,H,W], got ",
        x.defined() ? x.shape() : Shape());
  check(options.tile >= 0 && options.tile % 16 == 0, path.string(), ": tiff: tile edge ", options.tile, " is no multiple of 16");
  Tensor wide = empty(x.shape(), {.dtype = is_floating(x.dtype())   ? DType::f32
                                           : x.dtype() == DType::u8 ? DType::u8
                                                                    : DType::i64});
  copy(x, wide);

  std::uint16_t bits = 32, format = SAMPLEFORMAT_IEEEFP;
  if (wide.dtype() == DType::u8) bits = 8, format = SAMPLEFORMAT_UINT;
  if (wide.dtype() == DType::i64) {
    const auto [low, high] = std::minmax_element(wide.data<std::int64_t>(), wide.data<std::int64_t>() + wide.size());
    const bool narrow = *low >= 0 && *high <= 65'535;
    check(narrow || (*low >= std::numeric_limits<std::int32_t>::min() && *high <= std::numeric_limits<std::int32_t>::max()),
          path.string(), ": tiff: values ", *low, "..", *high, " do not fit 32 bits");
    bits = narrow ? 16 : 32;
    format = narrow ? SAMPLEFORMAT_UINT : SAMPLEFORMAT_INT;
  }

  TiffHandle file;  // in memory
  const std::int64_t depth = x.dim(0), height = x.dim(1), width = x.dim(2), row = width * bits / 8;
  std::vector<unsigned char> page(static_cast<std::size_t>(row * height));
  for (std::int64_t z = 0; z < depth; ++z) {
    TIFF* t = file.get();
    TIFFSetField(t, TIFFTAG_IMAGEWIDTH, static_cast<std::uint32_t>(width));
    TIFFSetField(t, TIFFTAG_IMAGELENGTH, static_cast<std::uint32_t>(height));
    TIFFSetField(t, TIFFTAG_BITSPERSAMPLE, int{bits});
    TIFFSetField(t, TIFFTAG_SAMPLESPERPIXEL, 1);
    TIFFSetField(t, TIFFTAG_SAMPLEFORMAT, int{format});
    TIFFSetField(t, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_MINISBLACK);
    TIFFSetField(t, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
    TIFFSetField(t, TIFFTAG_COMPRESSION, options.compress ? COMPRESSION_ADOBE_DEFLATE : COMPRESSION_NONE);
    if (z == 0) write_tiff_spacing(file, volume);
    visit(wide.dtype(), [&]<class T>() {
      const T* from = wide.data<T>() + z * height * width;
      for (std::int64_t i = 0; i < height * width; ++i) {
        const auto put = [&](auto v) { std::memcpy(page.data() + i * static_cast<std::int64_t>(sizeof v), &v, sizeof v); };
        if (format == SAMPLEFORMAT_IEEEFP) put(static_cast<float>(from[i]));
        else if (bits == 8) put(static_cast<std::uint8_t>(from[i]));
        else if (bits == 16) put(static_cast<std::uint16_t>(from[i]));
        else put(static_cast<std::int32_t>(from[i]));
      }
    });
    if (options.tile > 0) {
      const std::int64_t edge = options.tile, item = bits / 8;
      TIFFSetField(t, TIFFTAG_TILEWIDTH, static_cast<std::uint32_t>(edge));
      TIFFSetField(t, TIFFTAG_TILELENGTH, static_cast<std::uint32_t>(edge));
      std::vector<unsigned char> tile(static_cast<std::size_t>(edge * edge * item));
      for (std::int64_t y = 0; y < height; y += edge)
        for (std::int64_t at = 0; at < width; at += edge) {
          std::fill(tile.begin(), tile.end(), static_cast<unsigned char>(0));
          const std::int64_t rows = std::min(edge, height - y), columns = std::min(edge, width - at);
          for (std::int64_t r = 0; r < rows; ++r)
            std::memcpy(tile.data() + r * edge * item, page.data() + (y + r) * row + at * item,
                        static_cast<std::size_t>(columns * item));
          const auto index = TIFFComputeTile(t, static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(y), 0, 0);
          file.require(TIFFWriteEncodedTile(t, index, tile.data(), static_cast<tmsize_t>(tile.size())) >= 0,
                       "cannot write a tile");
        }
    } else {
      const std::int64_t rows = std::max<std::int64_t>(1, (1 << 16) / row);
      TIFFSetField(t, TIFFTAG_ROWSPERSTRIP, static_cast<std::uint32_t>(rows));
      for (std::int64_t y = 0, strip = 0; y < height; y += rows, ++strip)
        file.require(TIFFWriteEncodedStrip(t, static_cast<std::uint32_t>(strip), page.data() + y * row,
                                           std::min(rows, height - y) * row) >= 0,
                     "cannot write a strip");
    }
    file.require(TIFFWriteDirectory(t) != 0, "cannot write a page");
  }
  atomic_write(path, file.finish());
}

#else

Volume read_tiff(const std::filesystem::path& path, const TiffOptions&) {
  missing_library(path.string() + ": TIFF", "libtiff-dev", "CUBOID_WITH_TIFF");
}
void write_tiff(const std::filesystem::path& path, const Volume&, const TiffWriteOptions&) {
  missing_library(path.string() + ": TIFF", "libtiff-dev", "CUBOID_WITH_TIFF");
}

#endif

}  // namespace cuboid
