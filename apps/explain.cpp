// SPDX-License-Identifier: Apache-2.0
#include "apps/explain.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/autograd.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/reduce/reduce.h"
#include "kernels/resize/resize.h"
#include "kernels/views/views.h"

namespace cuboid {
namespace {

/// Weights (1,K,1,1,1) of the channels of `a` (1,K,d,h,w) with the gradient g of the logit.
Tensor channel_weights(const Tensor& a, const Tensor& g, CamMethod method) {
  if (method == CamMethod::gradcam) return mean(g, {2, 3, 4}, true);
  // With an exponential on top of the logit, the derivatives of all orders are powers of g (equation 19):
  // alpha = g^2 / (2 g^2 + sum(A) g^3), weight = sum(alpha relu(g))
  const Tensor g2 = square(g), g3 = g2 * g;
  const Tensor denominator = 2.0 * g2 + sum(a, {2, 3, 4}, true) * g3;
  // 0/0 where the gradient is 0
  const Tensor safe = denominator + 1e-20;
  const Tensor alpha = clamp(g2 / safe, 0.0, 1.0);
  return sum(alpha * relu(g), {2, 3, 4}, true);
}

void min_max(const Tensor& map) {
  float* v = map.mutable_data<float>();
  const auto [low, high] = std::minmax_element(v, v + map.size());
  const float least = *low, range = *high - *low;
  for (std::int64_t i = 0; i < map.size(); ++i) v[i] = range > 0 ? (v[i] - least) / range : 0;
}

}  // namespace

Tensor cam_map(const Tensor& activation, const Tensor& gradient, CamMethod method, const Shape& size) {
  const Recording off(false);
  const Tensor a = activation.detach();
  const Tensor weighted = relu(sum(a * channel_weights(a, gradient.detach(), method), {1}, true));
  const Tensor fine = resize(weighted, size, {.mode = Resize::linear});
  Tensor map = empty(size);
  copy(reshape(fine, size), map);
  min_max(map);
  return map;
}

Cam explain(DenseNet& net, const Tensor& volume, const CamOptions& options) {
  const Tensor x = to(volume, net.device());
  check(x.rank() == 5 && x.dim(0) == 1, "explain: expects one volume 1,C,D,H,W, got ", x.shape());
  const auto names = net.activation_names();
  std::string known;
  for (const auto& name : names) known += (known.empty() ? "" : ", ") + name;
  check(std::find(names.begin(), names.end(), options.layer) != names.end(), "explain: no layer '", options.layer,
        "'; there are ", known);
  net.eval();
  Cam cam;
  Tensor logits, activation;
  const Recording on(true);
  Activations keep{{options.layer, {}}};
  const Tensor features = net.forward_features(x, &keep);
  activation = keep.at(options.layer);
  logits = net.classify(features);
  const std::vector<double> values = logits.to_vector();
  const auto best = std::max_element(values.begin(), values.end()) - values.begin();
  cam.target = options.target < 0 ? best : options.target;
  check(cam.target < static_cast<std::int64_t>(values.size()), "explain: class ", cam.target, " of ", values.size());
  double total = 0;
  for (const double v : values) total += std::exp(v - values[static_cast<std::size_t>(best)]);
  for (const double v : values) cam.probabilities.push_back(std::exp(v - values[static_cast<std::size_t>(best)]) / total);
  const Tensor logit = sum(select(logits, 1, cam.target));
  const Tensor gradient = grad(logit, {activation}).front();

  for (int i = 2; i < 5; ++i) cam.coarse.push_back(activation.dim(i));
  cam.map = cam_map(activation, gradient, options.method, {x.dim(2), x.dim(3), x.dim(4)});
  return cam;
}

double mass_inside(const Tensor& map, const Tensor& mask) {
  check(map.shape() == mask.shape(), "mass_inside: map ", map.shape(), ", mask ", mask.shape());
  const auto values = map.to_vector(), where = mask.to_vector();
  double inside = 0, all = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    all += values[i];
    if (where[i] != 0) inside += values[i];
  }
  return all > 0 ? inside / all : std::numeric_limits<double>::quiet_NaN();
}

Tensor otsu_mask(const Tensor& volume) {
  const auto values = volume.to_vector();
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  const double least = *low, range = *high - *low;
  Tensor mask = zeros(volume.shape(), {.dtype = DType::u8});
  if (range <= 0) return mask;
  constexpr int bins = 256;
  const auto bin = [&](double v) { return std::min(bins - 1, static_cast<int>((v - least) / range * bins)); };
  std::vector<double> histogram(bins, 0);
  for (const double v : values) histogram[static_cast<std::size_t>(bin(v))] += 1;
  // the threshold with the largest variance between the two sides (Otsu 1979)
  double count = 0, sum_below = 0, sum_all = 0, best = -1;
  int threshold = 0;
  for (int b = 0; b < bins; ++b) sum_all += b * histogram[static_cast<std::size_t>(b)];
  const double n = static_cast<double>(values.size());
  for (int b = 0; b < bins - 1; ++b) {
    count += histogram[static_cast<std::size_t>(b)];
    sum_below += b * histogram[static_cast<std::size_t>(b)];
    if (count == 0 || count == n) continue;
    const double gap = sum_below / count - (sum_all - sum_below) / (n - count);
    const double between = count * (n - count) * gap * gap;
    if (between > best) best = between, threshold = b;
  }
  auto* m = mask.mutable_data<std::uint8_t>();
  for (std::size_t i = 0; i < values.size(); ++i) m[i] = bin(values[i]) > threshold;
  return mask;
}

}  // namespace cuboid
