// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/cublas.h"

#include <cublasLt.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <tuple>

#include "core/cuda.h"
#include "kernels/conv/gemm.h"
#include "kernels/dispatch.h"

namespace cuboid::cublas {
namespace {

void check_status(cublasStatus_t status, const char* what) {
  check<DeviceError>(status == CUBLAS_STATUS_SUCCESS, "cuBLASLt: ", what, ": ", cublasLtGetStatusString(status));
}

cublasLtHandle_t handle() {  // serves all threads
  static const cublasLtHandle_t h = [] {
    cublasLtHandle_t made = nullptr;
    check_status(cublasLtCreate(&made), "cublasLtCreate");
    return made;
  }();
  return h;
}

cudaDataType_t type_of(DType t) {
  return t == DType::bf16 ? CUDA_R_16BF : t == DType::f16 ? CUDA_R_16F : t == DType::f64 ? CUDA_R_64F : CUDA_R_32F;
}

/// Descriptors die with their scope.
template <class T, cublasStatus_t (*Destroy)(T)>
struct Owned {
  T raw = nullptr;
  Owned() = default;
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  ~Owned() {
    if (raw) Destroy(raw);
  }
};
using MatrixLayout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Operation = Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Preference = Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

constexpr std::size_t workspace_limit = 32 << 20;

std::uint32_t alignment_of(const void* p) {
  const auto bits = reinterpret_cast<std::uintptr_t>(p) | 256;
  return static_cast<std::uint32_t>(bits & ~(bits - 1));
}

/// A product in cuBLASLt's words.
struct Problem {
  Operation operation;
  MatrixLayout a, b, d;

  explicit Problem(const Gemm& g) {
    const bool wide = g.dtype == DType::f64;
    const auto compute = wide                                        ? CUBLAS_COMPUTE_64F
                         : g.dtype == DType::f32 && dispatch::tf32() ? CUBLAS_COMPUTE_32F_FAST_TF32
                                                                     : CUBLAS_COMPUTE_32F;
    check_status(cublasLtMatmulDescCreate(&operation.raw, compute, wide ? CUDA_R_64F : CUDA_R_32F), "describe the product");
    const cublasOperation_t ta = g.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N, tb = g.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    set(CUBLASLT_MATMUL_DESC_TRANSA, ta);
    set(CUBLASLT_MATMUL_DESC_TRANSB, tb);
    if (g.bias) {
      set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, g.bias);
    }
    layout(a, g, g.transpose_a ? g.k : g.m, g.transpose_a ? g.m : g.k, g.lda, g.step_a);
    layout(b, g, g.transpose_b ? g.n : g.k, g.transpose_b ? g.k : g.n, g.ldb, g.step_b);
    layout(d, g, g.m, g.n, g.ldd, g.step_d);
  }

 private:
  template <class T>
  void set(cublasLtMatmulDescAttributes_t name, const T& value) {
    check_status(cublasLtMatmulDescSetAttribute(operation.raw, name, &value, sizeof value), "describe the product");
  }
  static void layout(MatrixLayout& l, const Gemm& g, std::int64_t rows, std::int64_t columns, std::int64_t ld,
                     std::int64_t step) {
    check_status(cublasLtMatrixLayoutCreate(&l.raw, type_of(g.dtype), static_cast<std::uint64_t>(rows),
                                            static_cast<std::uint64_t>(columns), ld),
                 "describe a matrix");
    if (g.batch == 1) return;
    const auto count = static_cast<std::int32_t>(g.batch);
    check_status(cublasLtMatrixLayoutSetAttribute(l.raw, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count), "batch");
    check_status(cublasLtMatrixLayoutSetAttribute(l.raw, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &step, sizeof step),
                 "batch");
  }
};

struct Algorithm {
  bool found = false;
  cublasLtMatmulAlgo_t raw = {};
  std::size_t workspace = 0;
};

Algorithm find(const Gemm& g) {
  const Problem p(g);
  Preference preference;
  check_status(cublasLtMatmulPreferenceCreate(&preference.raw), "preference");
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t name, const auto& value) {
    check_status(cublasLtMatmulPreferenceSetAttribute(preference.raw, name, &value, sizeof value), "preference");
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_limit);
  // split sums are added by a second kernel, in order, never in place as they come
  prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
         static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE | CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(g.a));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(g.b));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(g.d));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(g.d));
  cublasLtMatmulHeuristicResult_t result = {};
  int count = 0;
  const auto status = cublasLtMatmulAlgoGetHeuristic(handle(), p.operation.raw, p.a.raw, p.b.raw, p.d.raw, p.d.raw,
                                                     preference.raw, 1, &result, &count);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED || count == 0) return {};
  check_status(status, "find an algorithm");
  return {true, result.algo, result.workspaceSize};
}

/// What was found for products of this kind.
Algorithm algorithm_of(const Gemm& g) {
  const auto key = std::make_tuple(static_cast<int>(g.dtype), g.transpose_a, g.transpose_b, g.m, g.n, g.k, g.lda, g.ldb, g.ldd,
                                   std::make_tuple(g.batch, g.step_a, g.step_b, g.step_d, g.bias != nullptr), alignment_of(g.a),
                                   alignment_of(g.b), alignment_of(g.d), g.dtype == DType::f32 && dispatch::tf32());
  static std::mutex guard;
  static auto& known = *new std::map<std::remove_const_t<decltype(key)>, Algorithm>;
  const std::scoped_lock lock(guard);
  const auto found = known.find(key);
  return found != known.end() ? found->second : known[key] = find(g);
}

bool fits(const std::optional<Gemm>& g) { return g && cuda::available() && algorithm_of(*g).found; }

void run(const Gemm& g) {
  const Algorithm algorithm = algorithm_of(g);
  const Problem p(g);
  const Scratch<char> workspace(static_cast<std::int64_t>(algorithm.workspace), Device::cuda);
  const float one = 1, zero = 0;
  const double wide_one = 1, wide_zero = 0;
  const bool wide = g.dtype == DType::f64;
  const void *alpha = &one, *beta = &zero;
  if (wide) alpha = &wide_one, beta = &wide_zero;
  check_status(cublasLtMatmul(handle(), p.operation.raw, alpha, g.a, p.a.raw, g.b, p.b.raw, beta, g.d, p.d.raw, g.d, p.d.raw,
                              &algorithm.raw, workspace.data(), algorithm.workspace, static_cast<cudaStream_t>(cuda::stream())),
               "multiply");
}

}  // namespace

int version() { return static_cast<int>(cublasLtGetVersion()); }

bool forward_fits(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec& spec, Storage*) {
  return fits(gemm_of_conv(x, w, bias, y, spec));
}
void conv_forward(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec& spec, Storage*) {
  run(*gemm_of_conv(x, w, bias, y, spec));
}
bool input_fits(const View& g, const View& w, const Out& dx, const ConvSpec& spec, Storage*) {
  return fits(gemm_of_conv_input(g, w, dx, spec));
}
void conv_input(const View& g, const View& w, const Out& dx, const ConvSpec& spec, Storage*) {
  run(*gemm_of_conv_input(g, w, dx, spec));
}
bool weight_fits(const View& g, const View& x, const Out& dw, const ConvSpec& spec) {
  return fits(gemm_of_conv_weight(g, x, dw, spec));
}
void conv_weight(const View& g, const View& x, const Out& dw, const ConvSpec& spec) { run(*gemm_of_conv_weight(g, x, dw, spec)); }
bool matmul_fits(const View& a, const View& b, const Out& c) { return fits(gemm_of_matmul(a, b, c)); }
void matmul(const View& a, const View& b, const Out& c) { run(*gemm_of_matmul(a, b, c)); }

}  // namespace cuboid::cublas
