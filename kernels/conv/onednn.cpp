// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/onednn.h"

#include <algorithm>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/device.h"
#include "core/error.h"
#include "kernels/packed_copies.h"
#if defined(CUBOID_OPENMP)
#include <omp.h>
#endif

namespace cuboid::onednn {
namespace {

using dnnl::memory;
using Dims = memory::dims;

// oneDNN takes the number of threads it will use when a primitive is created, and again when it runs, from this
// thread's OpenMP setting.
class OneThread {
#if defined(CUBOID_OPENMP)
 public:
  OneThread() { omp_set_num_threads(1); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;
  ~OneThread() { omp_set_num_threads(before_); }

 private:
  int before_ = omp_get_max_threads();
#else
 public:
  OneThread() {}
#endif
};

dnnl::engine& engine() {
  static auto* const e = new dnnl::engine(dnnl::engine::kind::cpu, 0);  // outlives every thread's kernels
  return *e;
}

dnnl::stream& stream() {
  thread_local dnnl::stream s(engine());
  return s;
}

/// Calls into oneDNN; its exceptions become ours.
template <class F>
auto guarded(F&& f) {
  try {
    return f();
  } catch (const dnnl::error& e) {
    fail("oneDNN: ", e.message, " (status ", static_cast<int>(e.status), ")");
  }
}

memory::data_type dnnl_type(DType t) { return t == DType::bf16 ? memory::data_type::bf16 : memory::data_type::f32; }

/// A unit in oneDNN's words: 2D where the depth does nothing, because some kernels exist in 2D only.
struct Problem {
  memory::desc x, w_plain, w_any, y, bias;
  Dims stride, dilation, lo, hi;

  Problem(Pass pass, const Unit& u) {
    const bool flat = u.in[0] == 1 && u.out[0] == 1 && u.kernel[0] == 1 && u.pad_lo[0] == 0;
    Dims xs{u.samples, u.in_channels}, ys{u.samples, u.out_channels}, ws;
    if (u.groups > 1) ws.push_back(u.groups);
    ws.push_back(u.out_channels / u.groups);
    ws.push_back(u.in_channels / u.groups);
    for (std::size_t i = flat ? 1 : 0; i < 3; ++i) {
      xs.push_back(u.in[i]);
      ys.push_back(u.out[i]);
      ws.push_back(u.kernel[i]);
      stride.push_back(u.stride[i]);
      dilation.push_back(u.dilation[i] - 1);
      lo.push_back(u.pad_lo[i]);
      hi.push_back((u.out[i] - 1) * u.stride[i] + (u.kernel[i] - 1) * u.dilation[i] + 1 - u.in[i] - u.pad_lo[i]);
    }
    using tag = memory::format_tag;
    const auto type = dnnl_type(u.dtype), weight_type = pass == Pass::backward_weights ? memory::data_type::f32 : type;
    const tag activations = flat ? tag::nhwc : tag::ndhwc;
    const tag plain = flat ? (u.groups > 1 ? tag::goihw : tag::oihw) : (u.groups > 1 ? tag::goidhw : tag::oidhw);
    x = {xs, type, activations};
    y = {ys, type, activations};
    w_plain = {ws, weight_type, plain};
    w_any = {ws, weight_type, tag::any};
    if (u.bias) bias = {{u.out_channels}, type, tag::a};
  }
};

constexpr auto direct = dnnl::algorithm::convolution_direct;

/// With a stride oneDNN's 1x1 kernels first copy what they need, and with few channels they copy more than there is: with 8
/// channels 2.6.3 writes half the workspace again behind its end. True of such a kernel.
bool copies_too_much(const char* implementation, const Problem& p) {
  const auto ones = [](auto from, auto to) { return std::all_of(from, to, [](auto n) { return n == 1; }); };
  const Dims w = p.w_plain.dims();
  return ones(w.end() - static_cast<std::ptrdiff_t>(p.stride.size()), w.end()) && !ones(p.stride.begin(), p.stride.end()) &&
         std::string_view(implementation).starts_with("jit_1x1");
}

/// The kernel after such a one, where there is another.
template <class Pd>
Pd safe(Pd pd, const Problem& p) {
  while (copies_too_much(pd.impl_info_str(), p) && pd.next_impl()) {
  }
  return pd;
}

dnnl::convolution_forward::primitive_desc forward_pd(const Problem& p, const dnnl::primitive_attr& attr, bool bias) {
  using Pd = dnnl::convolution_forward::primitive_desc;
  constexpr auto prop = dnnl::prop_kind::forward_training;
#if DNNL_VERSION_MAJOR >= 3
  return Pd(engine(), prop, direct, p.x, p.w_any, bias ? p.bias : memory::desc(), p.y, p.stride, p.dilation, p.lo, p.hi, attr);
#else
  using Desc = dnnl::convolution_forward::desc;
  if (bias) return Pd(Desc(prop, direct, p.x, p.w_any, p.bias, p.y, p.stride, p.dilation, p.lo, p.hi), attr, engine());
  return Pd(Desc(prop, direct, p.x, p.w_any, p.y, p.stride, p.dilation, p.lo, p.hi), attr, engine());
#endif
}

/// Both backward passes: a, b, c in the order of that pass.
template <class Conv>
typename Conv::primitive_desc backward_pd(const memory::desc& a, const memory::desc& b, const memory::desc& c, const Problem& p,
                                          const dnnl::primitive_attr& attr,
                                          const dnnl::convolution_forward::primitive_desc& hint) {
#if DNNL_VERSION_MAJOR >= 3
  return typename Conv::primitive_desc(engine(), direct, a, b, c, p.stride, p.dilation, p.lo, p.hi, hint, attr);
#else
  return
      typename Conv::primitive_desc(typename Conv::desc(direct, a, b, c, p.stride, p.dilation, p.lo, p.hi), attr, engine(), hint);
#endif
}

}  // namespace

/// Memory objects get their pointers anew for each run, so building them is paid once.
struct Kernel::Compiled {
  Unit unit;
  memory::desc packed;
  memory x, w, y, bias, plain, scratch;
  std::int64_t scratch_bytes = 0;
  std::vector<dnnl_exec_arg_t> args;
  dnnl::primitive primitive;
  dnnl::reorder reorder;
  std::string implementation;

  template <class Conv>
  void build(const typename Conv::primitive_desc& pd, Pass pass, const Problem& p) {
    const bool gradient = pass == Pass::backward_weights;
    packed = pd.query_md(gradient ? dnnl::query::diff_weights_md : dnnl::query::weights_md);
    scratch_bytes = static_cast<std::int64_t>(pd.scratchpad_desc().get_size());
    implementation = pd.impl_info_str();
    if (copies_too_much(implementation.c_str(), p)) scratch_bytes *= 4;
    const auto slot = [](const memory::desc& d) { return memory(d, engine(), nullptr); };
    x = slot(p.x);
    y = slot(p.y);
    w = slot(packed);
    plain = slot(p.w_plain);
    args = {{pass == Pass::backward_data ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC, x.get()},
            {gradient ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS, w.get()},
            {pass == Pass::forward ? DNNL_ARG_DST : DNNL_ARG_DIFF_DST, y.get()}};
    if (scratch_bytes > 0) {
      scratch = slot(pd.scratchpad_desc());
      args.push_back({DNNL_ARG_SCRATCHPAD, scratch.get()});
    }
    if (unit.bias && pass == Pass::forward) {
      bias = slot(p.bias);
      args.push_back({DNNL_ARG_BIAS, bias.get()});
    }
    primitive = Conv(pd);
    reorder = gradient ? dnnl::reorder(w, plain) : dnnl::reorder(plain, w);
  }

  static void point(const memory& m, const void* data) { m.set_data_handle(const_cast<void*>(data)); }

  void run(const void* at_x, const void* at_w, const void* at_y, const void* at_bias) {
    const OneThread one;
    guarded([&] {
      point(x, at_x);
      point(w, at_w);
      point(y, at_y);
      if (bias) point(bias, at_bias);
      const Scratch<char> workspace(scratch_bytes);
      if (scratch) point(scratch, workspace.data());
      const auto status = dnnl_primitive_execute(primitive.get(), stream().get(), static_cast<int>(args.size()), args.data());
      check(status == dnnl_success, "oneDNN: ", implementation, " failed with status ", static_cast<int>(status));
    });
  }
  void run_reorder(const memory& from, const void* at_from, const memory& to, void* at_to) {
    const OneThread one;
    guarded([&] {
      point(from, at_from);
      point(to, at_to);
      reorder.execute(stream(), const_cast<memory&>(from), const_cast<memory&>(to));
    });
  }
};

Kernel::Kernel(Pass pass, const Unit& unit) : p_(std::make_unique<Compiled>()) {
  const OneThread one;
  p_->unit = unit;
  guarded([&] {
    dnnl::primitive_attr attr;
    attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    const Problem p(pass, unit);
    const auto forward = safe(forward_pd(pass == Pass::forward ? p : Problem(Pass::forward, unit), attr, unit.bias), p);
    if (pass == Pass::forward) p_->build<dnnl::convolution_forward>(forward, pass, p);
    else if (pass == Pass::backward_data)
      p_->build<dnnl::convolution_backward_data>(
          safe(backward_pd<dnnl::convolution_backward_data>(p.x, p.w_any, p.y, p, attr, forward), p), pass, p);
    else
      p_->build<dnnl::convolution_backward_weights>(
          safe(backward_pd<dnnl::convolution_backward_weights>(p.x, p.w_any, p.y, p, attr, forward), p), pass, p);
  });
}
Kernel::~Kernel() = default;

std::int64_t Kernel::weight_bytes() const { return static_cast<std::int64_t>(p_->packed.get_size()); }
bool Kernel::same_weights(const Kernel& other) const { return p_->packed == other.p_->packed; }
const char* Kernel::implementation() const { return p_->implementation.c_str(); }
void Kernel::pack(const void* plain, void* packed) const { p_->run_reorder(p_->plain, plain, p_->w, packed); }
void Kernel::unpack(const void* packed, void* plain) const { p_->run_reorder(p_->w, packed, p_->plain, plain); }

std::shared_ptr<const void> Kernel::packed(const void* plain, Storage* home) const {
  return PackedCopies::get(home, plain, p_->packed, [&] {
    const auto memory = std::make_shared<Scratch<char>>(weight_bytes());
    pack(plain, memory->data());
    return std::shared_ptr<const void>(memory, memory->data());
  });
}

void Kernel::forward(const void* x, const void* packed, const void* bias, void* y) const { p_->run(x, packed, y, bias); }
void Kernel::backward_data(const void* dy, const void* packed, void* dx) const { p_->run(dx, packed, dy, nullptr); }
void Kernel::backward_weights(const void* x, const void* dy, void* packed_dw) const { p_->run(x, packed_dw, dy, nullptr); }

// ---- the cache -------------------------------------------------------------------------------
namespace {
struct Key {
  Pass pass;
  Unit unit;
  bool operator==(const Key&) const = default;
};
struct KeyHash {
  std::size_t operator()(const Key& key) const {
    const Unit& u = key.unit;
    std::uint64_t h = static_cast<std::uint64_t>(key.pass) * 2 + u.bias;
    const auto mix = [&](std::int64_t v) { h = (h ^ static_cast<std::uint64_t>(v)) * 0x9e3779b97f4a7c15ull, h ^= h >> 29; };
    for (auto v : {static_cast<std::int64_t>(u.dtype), u.samples, u.in_channels, u.out_channels, u.groups}) mix(v);
    for (const auto* t : {&u.in, &u.out, &u.kernel, &u.stride, &u.dilation, &u.pad_lo})
      for (auto v : *t) mix(v);
    return h;
  }
};
}  // namespace

const Kernel& kernel(Pass pass, const Unit& unit) {
  // A net has a few hundred; a stream of ever new shapes must not grow for ever. The generation before stays alive, so
  // that a caller's references survive the change.
  constexpr std::size_t most = 2048;
  using Known = std::unordered_map<Key, std::unique_ptr<Kernel>, KeyHash>;
  thread_local Known known, before;
  const Key key{pass, unit};
  if (const auto found = known.find(key); found != known.end()) return *found->second;
  if (known.size() >= most) {
    before = std::move(known);
    known.clear();
  }
  return *(known[key] = std::make_unique<Kernel>(pass, unit));
}

void sgemm(bool transpose_a, bool transpose_b, std::int64_t m, std::int64_t n, std::int64_t k, float alpha, const float* a,
           std::int64_t lda, const float* b, std::int64_t ldb, float beta, float* c, std::int64_t ldc) {
  const OneThread one;
  const auto status = dnnl_sgemm(transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  check(status == dnnl_success, "oneDNN: sgemm failed with status ", static_cast<int>(status));
}

}  // namespace cuboid::onednn
