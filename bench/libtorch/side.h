// SPDX-License-Identifier: Apache-2.0
// What both sides of the comparison agree on. Each is a program with these commands:
//   list                                    prints its nets: [{"name": ..., "title": ..., "size": ...}]
//   serve NET train|infer VARIANT FILE      serves questions; VARIANT is Cuboid's dtype or LibTorch's layout, and on a GPU
//                                           cuda:f32, cuda:tf32:graph, channels_last:cuda:bf16:graph, ...
//   first NET FILE                          predicts one sample, prints the result: from start to first answer
// Cuboid's has also
//   prepare NET FILE [BATCH SIDE]           writes weights and inputs, of the size in its title or of another
// A serving side reads questions from stdin, a line each, and answers with one line:
//   about        -> JSON: what it is, versions, threads
//   work         -> FLOPs of one step, taps on padding left out; 0 when it does not know
//   check FILE   -> writes its outputs and every gradient to FILE (safetensors), answers "ok". Before a training pass every
//                   norm bias is raised by `lift`: at the kink of a ReLU rounding decides which way a gradient goes, and among
//                   28 million activations some always lie there. (LibTorch with one thread and LibTorch with two then differ
//                   by 2e-3 in the median tensor.) Three deviations up, the kinks are met rarely enough to compare digits.
//   time SECONDS -> runs steps for that long (one at least), answers the milliseconds of each. For a GPU the host waits after
//                   every tenth step only, as a loop does that looks at its loss now and then; the answer is the mean of each ten
//   end          -> peak memory in KiB, and ends: resident on the CPU; on a GPU what its allocator had in use, then reserved
// Weights and inputs come from one file; weights are named as in the net's state dict, inputs start with "bench.".
#pragma once
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <iostream>
#include <stdexcept>
#include <string>
#include <utility>

namespace side {

inline constexpr const char* input_prefix = "bench.";
inline constexpr float lift = 3;
/// True for the bias of a norm, by its name in the state dict.
inline bool is_norm_bias(const std::string& name) {
  return (name.find("norm") != name.npos && name.ends_with(".bias")) || name.ends_with(".1.bias");  // 1 of a sequence
}

struct Answers {
  std::function<std::string()> about;
  std::function<double()> work = [] { return 0.; };
  std::function<void(const std::string& file)> check;
  std::function<void()> step;
  std::function<void()> wait = {};                           // for the GPU; absent on the CPU
  std::function<std::pair<double, double>()> peak_kib = {};  // of the GPU: in use, reserved
};

/// The words of a variant.
struct Variant {
  bool cuda = false, graph = false, channels_last = false;
  std::string dtype = "f32";  // or bf16, tf32: of convolutions and products

  static Variant of(const std::string& text) {
    Variant v;
    for (std::size_t at = 0; at <= text.size();) {
      const std::size_t end = std::min(text.find(':', at), text.size());
      const std::string word = text.substr(at, end - at);
      at = end + 1;
      if (word == "cuda") v.cuda = true;
      else if (word == "graph") v.graph = true;
      else if (word == "channels_last") v.channels_last = true;
      else if (word == "f32" || word == "tf32" || word == "bf16") v.dtype = word;
      else if (word != "contiguous") throw std::invalid_argument("no variant '" + word + "'");
    }
    if (!v.cuda && (v.graph || v.dtype == "tf32")) throw std::invalid_argument("graph and tf32 are for cuda");
    return v;
  }
  bool bf16() const { return dtype == "bf16"; }
  bool tf32() const { return dtype != "f32"; }  // what bf16 leaves in f32 may be rounded too
};

inline double milliseconds() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

inline int serve(const Answers& answers) {
  for (std::string word; std::cin >> word;) {
    if (word == "about") {
      std::cout << answers.about() << std::endl;
    } else if (word == "work") {
      std::cout << answers.work() << std::endl;
    } else if (word == "check") {
      std::string file;
      std::cin >> std::ws;
      std::getline(std::cin, file);
      answers.check(file);
      std::cout << "ok" << std::endl;
    } else if (word == "time") {
      double seconds = 0;
      std::cin >> seconds;
      const double start = milliseconds();
      double last = start;
      const int steps = answers.wait ? 10 : 1;
      do {
        for (int k = 0; k < steps; ++k) answers.step();
        if (answers.wait) answers.wait();
        const double now = milliseconds();
        std::cout << (now - last) / steps << ' ';
        last = now;
      } while (last - start < 1e3 * seconds);
      std::cout << std::endl;
    } else if (word == "end") {
      if (answers.peak_kib) {
        const auto [used, reserved] = answers.peak_kib();
        std::cout << used << ' ' << reserved << std::endl;
        return 0;
      }
      rusage usage{};
      getrusage(RUSAGE_SELF, &usage);
      std::cout << usage.ru_maxrss << std::endl;
      return 0;
    }
  }
  return 1;
}

}  // namespace side
