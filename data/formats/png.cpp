// SPDX-License-Identifier: Apache-2.0
#include "data/formats/png.h"

#include <cstring>
#include <vector>

#include "data/formats/bytes.h"

#if defined(CUBOID_PNG)
#include <png.h>
#endif

namespace cuboid {

#if defined(CUBOID_PNG)
namespace {

// libpng reports errors with longjmp, which must not jump over C++ objects: everything that owns memory lives in these two
// structures, outside of the functions that call setjmp.
struct PngInput {
  std::string bytes, message;
  std::size_t at = 0;
  png_structp png = nullptr;
  png_infop info = nullptr;
  png_uint_32 width = 0, height = 0;
  int bits = 0, channels = 0;
  std::vector<unsigned char> pixels;
  std::vector<png_bytep> rows;
  ~PngInput() { png_destroy_read_struct(&png, &info, nullptr); }
};
struct PngOutput {
  std::string bytes, message;
  png_structp png = nullptr;
  png_infop info = nullptr;
  ~PngOutput() { png_destroy_write_struct(&png, &info); }
};

template <class State>
void on_error(png_structp png, png_const_charp text) {
  static_cast<State*>(png_get_error_ptr(png))->message = text;
  png_longjmp(png, 1);
}
void on_warning(png_structp, png_const_charp) {}

void take_bytes(png_structp png, png_bytep to, png_size_t n) {
  auto& in = *static_cast<PngInput*>(png_get_io_ptr(png));
  if (n > in.bytes.size() - in.at) png_error(png, "cut off");
  std::memcpy(to, in.bytes.data() + in.at, n);
  in.at += n;
}
void give_bytes(png_structp png, png_bytep from, png_size_t n) {
  static_cast<PngOutput*>(png_get_io_ptr(png))->bytes.append(reinterpret_cast<const char*>(from), n);
}

bool read_header(PngInput& in) {
  if (setjmp(png_jmpbuf(in.png))) return false;
  png_set_read_fn(in.png, &in, take_bytes);
  png_set_user_limits(in.png, 1 << 20, 1 << 20);
  png_set_chunk_malloc_max(in.png, 8 << 20);
  png_read_info(in.png, in.info);
  in.width = png_get_image_width(in.png, in.info);
  in.height = png_get_image_height(in.png, in.info);
  const int color = png_get_color_type(in.png, in.info), stored_bits = png_get_bit_depth(in.png, in.info);
  if (color == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(in.png);
  if (color == PNG_COLOR_TYPE_GRAY && stored_bits < 8) png_set_expand_gray_1_2_4_to_8(in.png);
  if (stored_bits == 16) png_set_swap(in.png);
  png_set_interlace_handling(in.png);
  png_read_update_info(in.png, in.info);
  in.bits = png_get_bit_depth(in.png, in.info);
  in.channels = png_get_channels(in.png, in.info);
  return true;
}

bool read_pixels(PngInput& in) {
  if (setjmp(png_jmpbuf(in.png))) return false;
  png_read_image(in.png, in.rows.data());
  png_read_end(in.png, nullptr);
  return true;
}

bool write_pixels(PngOutput& out, const unsigned char* pixels, png_uint_32 width, png_uint_32 height, int channels) {
  if (setjmp(png_jmpbuf(out.png))) return false;
  png_set_write_fn(out.png, &out, give_bytes, nullptr);
  const int color = channels == 1 ? PNG_COLOR_TYPE_GRAY : channels == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_RGB_ALPHA;
  png_set_IHDR(out.png, out.info, width, height, 8, color, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  png_write_info(out.png, out.info);
  const std::size_t row = static_cast<std::size_t>(width) * static_cast<std::size_t>(channels);
  for (png_uint_32 y = 0; y < height; ++y) png_write_row(out.png, pixels + y * row);
  png_write_end(out.png, nullptr);
  return true;
}

}  // namespace

Tensor read_png(const std::filesystem::path& path) {
  const std::string name = path.string();
  PngInput in;
  in.bytes = read_file(path);
  in.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &in, on_error<PngInput>, on_warning);
  in.info = in.png ? png_create_info_struct(in.png) : nullptr;
  check(in.info != nullptr, name, ": cannot start libpng");
  check<DataError>(read_header(in), name, ": png: ", in.message);
  const auto wide = std::int64_t{in.width}, high = std::int64_t{in.height}, per_row = wide * in.channels * (in.bits / 8);
  check<DataError>(wide * high <= std::int64_t{1} << 28, name, ": png: ", wide, " x ", high, " pixels");
  // Eight: one stored bit may become a byte.
  check<DataError>(per_row * high <= 8 * max_deflate_ratio * static_cast<std::int64_t>(in.bytes.size()), name,
                   ": png: ", in.bytes.size(), " bytes cannot hold ", wide, " x ", high, " pixels");
  in.pixels.resize(static_cast<std::size_t>(per_row * high));
  for (std::int64_t y = 0; y < high; ++y) in.rows.push_back(in.pixels.data() + y * per_row);
  check<DataError>(read_pixels(in), name, ": png: ", in.message);
  check<DataError>(in.at == in.bytes.size(), name, ": png: ", in.bytes.size() - in.at, " bytes follow the image");

  Shape shape = {high, wide};
  if (in.channels > 1) shape.push_back(in.channels);
  const Tensor image = empty(shape, {.dtype = in.bits == 16 ? DType::i32 : DType::u8});
  if (in.bits == 8) {
    std::memcpy(image.mutate().data, in.pixels.data(), in.pixels.size());
  } else {
    auto* to = image.mutate().as<std::int32_t>();
    for (std::size_t i = 0; i < in.pixels.size(); i += 2) {
      std::uint16_t v;
      std::memcpy(&v, in.pixels.data() + i, 2);
      to[i / 2] = v;
    }
  }
  return image;
}

std::string png_bytes(const Tensor& image) {
  const int channels = image.rank() == 3 ? static_cast<int>(image.dim(2)) : 1;
  check((image.rank() == 2 || image.rank() == 3) && image.dtype() == DType::u8 &&
            (channels == 1 || channels == 3 || channels == 4) && image.size() > 0,
        "png: writes u8 [H,W] or [H,W,1|3|4], got ", image.dtype(), " ", image.shape());
  Tensor dense = empty(image.shape(), {.dtype = DType::u8});
  copy(image, dense);
  PngOutput out;
  out.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &out, on_error<PngOutput>, on_warning);
  out.info = out.png ? png_create_info_struct(out.png) : nullptr;
  check(out.info != nullptr, "png: cannot start libpng");
  check(write_pixels(out, dense.data<std::uint8_t>(), static_cast<png_uint_32>(image.dim(1)),
                     static_cast<png_uint_32>(image.dim(0)), channels),
        "png: ", out.message);
  return std::move(out.bytes);
}

#else

Tensor read_png(const std::filesystem::path& path) { missing_library(path.string() + ": PNG", "libpng-dev", "CUBOID_WITH_PNG"); }
std::string png_bytes(const Tensor&) { missing_library("PNG", "libpng-dev", "CUBOID_WITH_PNG"); }

#endif

void write_png(const std::filesystem::path& path, const Tensor& image) { atomic_write(path, png_bytes(image)); }

}  // namespace cuboid
