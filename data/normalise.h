// SPDX-License-Identifier: Apache-2.0
// Raw intensities to the numbers a net sees: one affine map per channel, so that it can be measured on the whole volume and
// applied to any part of it.
#pragma once
#include <string>
#include <vector>

#include "core/json.h"
#include "core/tensor.h"

namespace cuboid {

struct Normalisation {
  enum class Kind : std::uint8_t { none, scale, zscore, percentiles };
  Kind kind = Kind::zscore;
  /// scale: the values that become 0 and 1; percentiles: the shares of voxels, in percent, below what becomes 0 and 1.
  double low = 0, high = 1;

  /// {"kind":"scale","low":1.33,"high":1.39}; zscore and none have no numbers. DataError for an unknown kind, low >= high,
  /// percentiles outside 0..100.
  Json to_json() const;
  static Normalisation from_json(const Json& json);
  /// "zscore", "scale 1.33..1.39".
  std::string text() const;
  friend bool operator==(const Normalisation&, const Normalisation&) = default;
};
inline const std::vector<std::string> normalisation_names = {"none", "scale", "zscore", "percentiles"};

/// v -> (v - shift) * factor.
struct IntensityMap {
  double shift = 0, factor = 1;
};

/// One map per channel of `image`, [D,H,W] or [C,D,H,W] of any dtype and strides, from its finite voxels. A constant channel
/// becomes 0. The same bits for any number of threads.
std::vector<IntensityMap> measure(const Normalisation& normalisation, const Tensor& image);
/// f32 of image's shape. One map per channel.
Tensor mapped(const Tensor& image, const std::vector<IntensityMap>& maps);
/// mapped(image, measure(normalisation, image)).
Tensor normalised(const Tensor& image, const Normalisation& normalisation);

/// DataError "NAME: 12 of 1000000 voxels are NaN or infinite, the first at z 3, y 10, x 77" (channel too, where there are
/// several).
void check_finite(const Tensor& image, const std::string& name);

}  // namespace cuboid
