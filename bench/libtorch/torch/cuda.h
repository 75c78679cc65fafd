// SPDX-License-Identifier: Apache-2.0
// What LibTorch has for a GPU, at its best: the fastest settings of its libraries, one launch for the optimiser's step, a whole
// step captured into a CUDA graph. Where LibTorch or Cuboid is for the CPU only, this
// says so when it is asked for.
#pragma once
#include <torch/torch.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#if CUBOID_TORCH_CUDA  // cmake/FindLibTorch.cmake
#include <ATen/autocast_mode.h>
#include <ATen/cuda/CUDAContext.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#else
#include <ATen/autocast_mode.h>
#endif

namespace side {

/// bf16 for convolutions and matrix products while it lives; weights stay f32. Nothing is cached from step to step, as weights
/// change in between.
class Autocast {
 public:
  explicit Autocast(bool on) : on_(on) {
    if (!on_) return;
    switch_to(true);
    at::autocast::set_autocast_cache_enabled(false);
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;
  ~Autocast() {
    if (!on_) return;
    switch_to(false);
    at::autocast::clear_cache();
  }

 private:
  static void switch_to(bool on) {
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 4)
    at::autocast::set_autocast_enabled(at::kCUDA, on);
    at::autocast::set_autocast_dtype(at::kCUDA, at::kBFloat16);
#else
    at::autocast::set_enabled(on);
    at::autocast::set_autocast_gpu_dtype(at::kBFloat16);
#endif
  }
  bool on_;
};

/// cudnn.benchmark, and TF32 where f32 may be rounded to it.
inline void use_the_fastest_kernels(bool tf32) {
  at::globalContext().setBenchmarkCuDNN(true);
  at::globalContext().setAllowTF32CuDNN(tf32);
  at::globalContext().setAllowTF32CuBLAS(tf32);
}

/// SGD with momentum over all parameters at once: LibTorch's own optimiser in C++ makes three launches per parameter.
class FusedSgd {
 public:
  FusedSgd(std::vector<torch::Tensor> parameters, double lr, double momentum)
      : parameters_(std::move(parameters)), lr_(lr), momentum_(momentum) {
    for (const auto& p : parameters_) momenta_.push_back(torch::zeros_like(p));
  }
  void zero_grad() {
    for (auto& p : parameters_) p.mutable_grad() = torch::Tensor();
  }
  void step() {
    torch::NoGradGuard guard;
    std::vector<torch::Tensor> gradients;
    for (const auto& p : parameters_) gradients.push_back(p.grad());
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 4)
    at::_fused_sgd_(parameters_, gradients, momenta_, 0, momentum_, lr_, 0, false, false, false);
#else
    at::_foreach_mul_(momenta_, momentum_);
    at::_foreach_add_(momenta_, gradients, 1);
    at::_foreach_add_(parameters_, momenta_, -lr_);
#endif
  }

 private:
  std::vector<torch::Tensor> parameters_, momenta_;
  double lr_, momentum_;
};

#if CUBOID_TORCH_CUDA
/// Everything of this thread goes to a stream of its own, as captures ask for.
class OwnStream {
 public:
  OwnStream() : guard_(c10::cuda::getStreamFromPool(true)) {}

 private:
  c10::cuda::CUDAStreamGuard guard_;
};
inline std::string device_name() { return at::cuda::getCurrentDeviceProperties()->name; }
inline void synchronize() { torch::cuda::synchronize(); }
inline void reset_peak() { c10::cuda::CUDACachingAllocator::resetPeakStats(0); }
struct Peak {
  double used_kib, reserved_kib;
};
inline Peak peak() {
  const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(0);
  return {static_cast<double>(stats.allocated_bytes[0].peak) / 1024, static_cast<double>(stats.reserved_bytes[0].peak) / 1024};
}
/// The step as one launch; it has run a few times before.
inline std::function<void()> captured(const std::function<void()>& step) {
  auto graph = std::make_shared<at::cuda::CUDAGraph>();
  synchronize();
  graph->capture_begin();
  step();
  graph->capture_end();
  return [graph] { graph->replay(); };
}
#else
struct OwnStream {};
[[noreturn]] inline void no_cuda() { throw std::runtime_error("this LibTorch was built without CUDA"); }
inline std::string device_name() { no_cuda(); }
inline void synchronize() {}
inline void reset_peak() {}
struct Peak {
  double used_kib, reserved_kib;
};
inline Peak peak() { no_cuda(); }
inline std::function<void()> captured(const std::function<void()>&) { no_cuda(); }
#endif

}  // namespace side
