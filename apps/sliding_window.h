// SPDX-License-Identifier: Apache-2.0
// A net on a volume that is larger than what the net sees at once. Windows of one size lie in a regular grid and overlap; what
// they say of a voxel is averaged, with weights that fall off from a window's centre like a Gaussian (Isensee et al., Nature
// Methods 2021: sigma is an eighth of the window). The grid is a product of three axes, so its weights are as well: those of the
// windows over a voxel are divided by their sum axis by axis, beforehand, and a voxel under a single window keeps its bits. A
// volume smaller than the window is continued by its mirror image.
//
// Windows are visited from the first plane to the last. A plane is read once, when the first window needs it, and handed on once,
// when no later window does; what lies in memory is a slab as deep as a window. The result does not depend on the slab.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "core/tensor.h"

namespace cuboid::app {

/// f32 N,C,d,h,w -> N,K,d,h,w in any floating type, on any device.
using PatchNet = std::function<Tensor(const Tensor& patches)>;
/// Fills `planes` (f32, C,n,H,W, strided, on the CPU) with those from `first` on. Called in order, for each plane once.
using ReadPlanes = std::function<void(std::int64_t first, const Tensor& planes)>;
/// Takes finished planes (f32, K,n,H,W, strided) from `first` on, in order, each once. Their memory is used again afterwards.
using WritePlanes = std::function<void(std::int64_t first, const Tensor& planes)>;

struct SlidingWindowOptions {
  Shape window = {64, 128, 128};  // z,y,x
  double overlap = 0.5;           // share of a window that its neighbour covers, too, at least; 0 <= overlap < 1
  bool gaussian = true;           // false: all windows over a voxel count the same
  bool mirror = false;            // the mean over the 8 ways to flip a window
  std::int64_t batch = 1;         // windows, or their mirror images, per call of the net
  std::int64_t slab = 0;          // planes held; never fewer than a window needs
  /// After each call of the net, in images: `of` is windows() * views(). May throw, which ends it all.
  std::function<void(std::int64_t done, std::int64_t of)> progress = {};
};

/// Where the windows lie along one axis.
struct WindowAxis {
  std::int64_t size = 0, window = 0;
  std::vector<std::int64_t> starts;        // negative where the volume is smaller than the window, which then is centred
  std::vector<std::vector<float>> shares;  // [window][i]: its part in the average at start + i; they sum to 1 over the windows

  std::int64_t begin(std::size_t i) const { return starts[i] < 0 ? 0 : starts[i]; }
  std::int64_t end(std::size_t i) const { return starts[i] + window < size ? starts[i] + window : size; }
};

/// As few windows as the overlap allows, evenly spread from the first voxel to the last.
WindowAxis window_axis(std::int64_t size, std::int64_t window, double overlap, bool gaussian);

class WindowGrid {
 public:
  /// `volume` is D,H,W. Throws Error for sizes or options that make no sense.
  WindowGrid(const Shape& volume, const SlidingWindowOptions& options);
  const WindowAxis& axis(int i) const { return axes_[static_cast<std::size_t>(i)]; }
  std::int64_t windows() const;
  std::int64_t views() const { return views_; }  // images of each window that the net sees: 1 or 8
  std::int64_t held() const { return held_; }    // planes in memory
  /// What slide() allocates beside the net's own memory.
  std::int64_t bytes(std::int64_t channels, std::int64_t outputs) const;

 private:
  std::array<WindowAxis, 3> axes_;
  std::int64_t views_ = 1, held_ = 0, batch_ = 1;
};

/// The volume (C,D,H,W as `read` gives it) through `net`, K outputs per voxel, to `write`.
void slide(const PatchNet& net, const Shape& volume, const ReadPlanes& read, std::int64_t outputs, const WritePlanes& write,
           const SlidingWindowOptions& options);
/// The same in memory: x is C,D,H,W (any dtype, on the CPU), the result K,D,H,W in f32.
Tensor slide(const PatchNet& net, const Tensor& x, std::int64_t outputs, const SlidingWindowOptions& options);

}  // namespace cuboid::app
