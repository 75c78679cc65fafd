// SPDX-License-Identifier: Apache-2.0
// How far the functions (ours on the CPU, a library's on a device) are from the exact ones, in units of the last place.
#include <bit>
#include <fstream>
#include <limits>

#include "kernels/pointwise/pointwise.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
double logistic(double x) { return 1 / (1 + std::exp(-x)); }

/// Distance in units of the last place of the f32 nearest to `expected`.
double ulps(float got, double expected) {
  const float nearest = static_cast<float>(expected);
  if (std::isnan(nearest) || std::isinf(nearest)) return got == nearest || (std::isnan(got) && std::isnan(nearest)) ? 0 : inf;
  const float a = std::abs(nearest);
  const double unit = static_cast<double>(std::max(std::nextafter(a, std::numeric_limits<float>::infinity()) - a, 0x1p-149f));
  return std::abs(static_cast<double>(got) - expected) / unit;
}

TEST(Pointwise, WorstErrorOverAllOfF32) {
  const struct {
    const char* name;
    Tensor (*op)(const Tensor&);
    double (*exact)(double);
    double bound;
  } functions[] = {
      {"exp", exp, std::exp, 1},
      {"log", log, std::log, 1.5},
      {"tanh", tanh, std::tanh, 1.5},
      {"sigmoid", sigmoid, logistic, 2.5},
      {"softplus", softplus, [](double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }, 2.5},
  };
  std::vector<float> inputs;  // every 4099th bit pattern (a prime): all exponents, both signs, subnormals, NaN
  for (std::uint64_t bits = 0; bits < (1u << 31) + (1ull << 31); bits += 4099)
    inputs.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
  for (const float special :
       {0.f, -0.f, 1.f, -1.f, std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(), 88.7228394f,
        88.7228317f, -87.33655f, -103.97208f, -103.97209f, -104.f, 0.625f})
    inputs.push_back(special);
  const Tensor x = values(inputs, {static_cast<std::int64_t>(inputs.size())});
  for (const auto& f : functions) {
    const Tensor y = to(f.op(x), Device::cpu);
    double worst = 0;
    float where = 0;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const double error = ulps(y.data<float>()[i], f.exact(static_cast<double>(inputs[i])));
      if (!(error <= worst)) {
        worst = error;
        where = inputs[i];
      }
    }
    RecordProperty(join_text(f.name, "_ulp"), join_text(worst));
    EXPECT_LE(worst, f.bound + (test_device() == Device::cpu ? 0 : 1)) << f.name << " at " << where;
  }
}

/// NumPy's published inputs, outputs and allowed errors (bit patterns): dtype,input,output,ulperror.
TEST(Pointwise, NumPysAccuracyTables) {
  const auto folder = shared_data("numeric/umath_ulp");
  if (folder.empty()) GTEST_SKIP() << "no reference data";
  const std::pair<const char*, Tensor (*)(const Tensor&)> functions[] = {{"exp", exp}, {"log", log}, {"tanh", tanh}};
  for (const auto& [name, op] : functions) {
    std::ifstream file(folder / join_text("umath-validation-set-", name, ".csv"));
    ASSERT_TRUE(file.good()) << name;
    std::int64_t checked = 0;
    for (std::string line; std::getline(file, line);) {
      std::istringstream fields(line);
      std::string dtype, in, out, allowed;
      if (!std::getline(fields, dtype, ',') || !std::getline(fields, in, ',') || !std::getline(fields, out, ',') ||
          !std::getline(fields, allowed, ',') || dtype.rfind("np.float", 0) != 0)
        continue;
      const std::uint64_t a = std::stoull(in, nullptr, 16), b = std::stoull(out, nullptr, 16);
      const bool narrow = dtype == "np.float32";
      const double x =
          narrow ? static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(a))) : std::bit_cast<double>(a);
      const double y =
          narrow ? static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(b))) : std::bit_cast<double>(b);
      const Tensor t = full({3}, x, on_device({.dtype = narrow ? DType::f32 : DType::f64}));
      const double got = op(t).to_vector()[1];
      ++checked;
      if (std::isnan(y) && std::isnan(got)) continue;
      if (got == y) continue;
      const double unit =
          narrow ? static_cast<double>(std::max(
                       std::nextafter(std::abs(static_cast<float>(y)), HUGE_VALF) - std::abs(static_cast<float>(y)), 0x1p-149f))
                 : std::max(std::nextafter(std::abs(y), inf) - std::abs(y), 0x1p-1074);
      EXPECT_LE(std::abs(got - y) / unit, std::stod(allowed)) << name << " " << line << " gives " << got;
    }
    EXPECT_GT(checked, 200) << name;
  }
}

}  // namespace
