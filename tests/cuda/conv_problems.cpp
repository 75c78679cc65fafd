// SPDX-License-Identifier: Apache-2.0
#include "tests/cuda/conv_problems.h"

#include "kernels/conv/geometry.h"
#include "kernels/conv/tables.h"

namespace cuboid::test {
namespace {

template <std::size_t N>
std::int64_t one_of(Random& r, const std::int64_t (&values)[N]) {
  return values[r.integer(0, static_cast<std::int64_t>(N) - 1)];
}

/// Around vectors of 4 and 8 and tiles of 16 to 128; some of them, or most, whole vectors.
std::int64_t channels(Random& r, bool whole) {
  return r.integer(0, whole ? 9 : 1) ? one_of(r, {8, 16, 24, 32, 40, 48, 64, 72, 96, 128, 136})
                                     : one_of(r, {1, 2, 3, 4, 5, 7, 9, 12, 15, 17, 20, 31, 33, 47, 63, 65, 100, 127, 129});
}

ConvProblem one_problem(Random& r) {
  const auto kind = r.integer(0, 11);
  const bool depthwise = kind == 0, stem = kind == 1 || kind == 2, plain = kind >= 6;
  const int rank = static_cast<int>(r.integer(0, 3) ? 3 : r.integer(1, 2));
  ConvProblem p;
  p.spec.groups = depthwise ? one_of(r, {2, 7, 8, 16, 33, 40, 64, 136}) : kind == 3 ? r.integer(2, 4) : 1;
  const std::int64_t inputs = depthwise ? 1 : stem ? one_of(r, {1, 1, 1, 2, 3, 4}) : channels(r, plain);
  const std::int64_t outputs = depthwise ? one_of(r, {1, 1, 1, 2}) : channels(r, plain);
  p.x = {one_of(r, {1, 1, 2, 3, 5}), inputs * p.spec.groups};
  p.w = {outputs * p.spec.groups, inputs};
  for (int i = 0; i < rank; ++i) {
    p.x.push_back(one_of(r, {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 16, 17}));
    p.w.push_back(plain ? one_of(r, {1, 3, 3}) : one_of(r, {1, 1, 2, 3, 3, 4, 5, 7}));
    p.spec.stride.push_back(plain || r.integer(0, 1) ? 1 : one_of(r, {2, 2, 3, 5}));
    p.spec.dilation.push_back(plain || r.integer(0, 3) ? 1 : one_of(r, {2, 3}));
    const std::int64_t reach = (p.w[-1] - 1) * p.spec.dilation[-1];
    const std::int64_t most = r.integer(0, 19) ? reach : reach + 2;  // sometimes windows of padding alone
    p.spec.pad_lo.push_back(plain ? reach / 2 : r.integer(0, most));
    p.spec.pad_hi.push_back(r.integer(0, 2) ? p.spec.pad_lo[-1] : r.integer(0, most));
  }
  p.dtype = plain || r.integer(0, 1) ? (r.integer(0, 2) ? DType::bf16 : DType::f32) : r.integer(0, 4) ? DType::f16 : DType::f64;
  p.bias = r.integer(0, 1) == 1;
  p.tf32 = r.integer(0, 1) == 1;
  p.lies = r.integer(0, 11) ? Lies::channels_last : r.integer(0, 1) ? Lies::contiguous : Lies::view;
  return p;
}

Tensor whole_numbers(const Shape& shape, DType dtype, Lies lies, std::uint64_t seed) {
  return laid(to(random(shape, {.seed = seed, .dtype = dtype, .lo = -3, .hi = 3, .integers = true}), Device::cpu), lies);
}

/// Lets every row of Device::cuda that fits write into memory full of NaN. `call(f, out)` calls a row's function.
template <class Fn, class Call>
std::string compare(const char* op, std::span<const Impl<Fn>> rows, std::string_view only, const Tensor& expected, Lies lies,
                    ConvCounts& counts, Call&& call) {
  std::string first;
  for (const auto& row : rows) {
    if (row.device != Device::cuda || (!only.empty() && row.name != only)) continue;
    const Tensor got = laid(full(expected.shape(), std::nan(""), {expected.dtype(), Device::cuda}), lies);
    if (!call(row.fits, got.mutate())) continue;
    ++counts[join_text(op, '/', row.name)];
    call(row.run, got.mutate());
    const auto same = equal(got, expected);
    if (!same && first.empty()) first = join_text(op, '/', row.name, ": ", same.message());
  }
  return first;
}

}  // namespace

std::vector<ConvProblem> conv_problems(std::size_t count, std::uint64_t seed, double most) {
  Random r(seed);
  std::vector<ConvProblem> all;
  while (all.size() < count) {
    const ConvProblem p = one_problem(r);
    if (!error_of([&] { p.y(); }).empty()) continue;
    if (geometry(p.dtype, p.x, p.w, p.y(), p.spec).flops() <= 2 * most) all.push_back(p);
  }
  return all;
}

std::string compare_conv_rows(const ConvProblem& p, ConvCounts& counts, std::string_view only) {
  const Tf32 scope(p.tf32);  // its 10 bits of mantissa hold these numbers
  const Tensor x = whole_numbers(p.x, p.dtype, p.lies, 1), w = whole_numbers(p.w, p.dtype, Lies::contiguous, 2);
  const Tensor g = whole_numbers(p.y(), p.dtype, p.lies, 3);
  const Tensor bias = p.bias ? whole_numbers({p.w[0]}, p.dtype, Lies::contiguous, 4) : Tensor();
  const TensorOptions dense{.dtype = p.dtype, .layout = Layout::channels_last};
  const Tensor y = empty(p.y(), dense), dx = empty(p.x, dense), dw = empty(p.w, {.dtype = p.dtype});
  cpu::conv_forward(x.view(), w.view(), p.bias ? bias.view() : View(), y.mutate(), p.spec, nullptr);
  cpu::conv_input(g.view(), w.view(), dx.mutate(), p.spec, nullptr);
  cpu::conv_weight(g.view(), x.view(), dw.mutate(), p.spec);

  const Tensor xd = laid(to(x, Device::cuda), p.lies), gd = laid(to(g, Device::cuda), p.lies), wd = to(w, Device::cuda);
  const Tensor bd = p.bias ? to(bias, Device::cuda) : Tensor();
  Storage* home = wd.storage().get();
  std::string wrong = compare("conv", conv_rows(), only, y, p.lies, counts, [&](auto f, const Out& out) {
    return f(xd.view(), wd.view(), p.bias ? bd.view() : View(), out, p.spec, home);
  });
  if (wrong.empty())
    wrong = compare("conv_input", conv_input_rows(), only, dx, p.lies, counts,
                    [&](auto f, const Out& out) { return f(gd.view(), wd.view(), out, p.spec, home); });
  if (wrong.empty())
    wrong = compare("conv_weight", conv_weight_rows(), only, dw, Lies::contiguous, counts,
                    [&](auto f, const Out& out) { return f(gd.view(), xd.view(), out, p.spec); });
  return wrong;
}

}  // namespace cuboid::test
