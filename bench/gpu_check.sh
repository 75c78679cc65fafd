#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What to run first wherever a GPU is at hand: everything is built there, proven there, then timed. See usage().
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'TEXT'
./run gpu-check [OPTIONS]     build for the GPU of this machine, run every test on it, then the benchmarks; needs no network

  --out DIR          where results go (default: runs/gpu-check); what is there from earlier steps stays
  --steps LIST       of build,ptx,tests,sanitizer,bench (default: all, in this order)
  --preset NAME      cuda-minimal (default), cuda, or emulated to rehearse the script where there is no GPU
  --prefix PATH      where GoogleTest and Google Benchmark lie unpacked, when they are not installed
  --limit SECONDS    for each test program, sanitizer run and benchmark (default 240)
  --jobs N           compilers at a time (default: one per core)
  --filter REGEX     only tests of this name (ctest -R)

Results: DIR/summary.md, machine.txt, one log per step, the benchmarks' JSON. Exit code 0: all steps passed; 1: one failed;
2: wrong options; 3: no GPU. A step that fails does not stop those after it, except the build.

Examples
  ./run gpu-check --out bench/results/h200
  ./run gpu-check --steps build,ptx,tests            # the proofs without timings
  ./run gpu-check --preset emulated --steps build,ptx
TEXT
}
die() {  # code, message, hint
  printf 'error: %s\n' "$2" >&2
  [ $# -lt 3 ] || printf '  hint: %s\n' "$3" >&2
  exit "$1"
}

out=runs/gpu-check steps=build,ptx,tests,sanitizer,bench preset=cuda-minimal prefix="" limit=240 jobs=$(nproc) filter=""
while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help | help) usage && exit 0 ;;
    --out | --steps | --preset | --prefix | --limit | --jobs | --filter)
      [ $# -gt 1 ] || die 2 "$1 needs a value" "./run gpu-check --help"
      printf -v "${1#--}" '%s' "$2"
      shift 2
      ;;
    *) die 2 "no option '$1'" "./run gpu-check --help" ;;
  esac
done
[[ $preset =~ ^(cuda-minimal|cuda|emulated|emulated-check)$ ]] || die 2 "--preset $preset: cuda-minimal, cuda, emulated or emulated-check"
[[ $limit =~ ^[1-9][0-9]*$ && $jobs =~ ^[1-9][0-9]*$ ]] || die 2 "--limit and --jobs are whole numbers of at least 1"
IFS=, read -ra wanted <<<"$steps"
for step in "${wanted[@]}"; do
  [[ $step =~ ^(build|ptx|tests|sanitizer|bench)$ ]] || die 2 "--steps: no step '$step'" "build,ptx,tests,sanitizer,bench"
done
emulated=0
[[ $preset != emulated* ]] || emulated=1
export PATH=$PATH:${CUDA_HOME:-/usr/local/cuda}/bin
if [ $emulated = 0 ]; then
  nvidia-smi -L 2>/dev/null | grep -q GPU || die 3 "no NVIDIA GPU answers (nvidia-smi -L)" \
    "where there is none: ./run test emulated runs the same kernels on the CPU"
  command -v nvcc >/dev/null || die 3 "no nvcc on PATH or in ${CUDA_HOME:-/usr/local/cuda}/bin" "CUDA_HOME=/where/the/toolkit/is ./run gpu-check"
fi
command -v cmake >/dev/null && command -v ninja >/dev/null || die 3 "cmake and ninja are needed"
mkdir -p "$out" || die 2 "--out $out cannot be made"
out=$(cd "$out" && pwd)
build=build/$preset failed=()

machine() {
  echo "date: $(date -u +%FT%TZ)"
  echo "revision: $(git describe --always --dirty --abbrev=10 2>/dev/null || echo unknown)"
  echo "processor: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(nproc) cores"
  echo "system: $(sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' /etc/os-release), Linux $(uname -r)"
  echo "compilers: $("${CXX:-c++}" --version | head -1); $(nvcc --version 2>/dev/null | sed -n 's/.*release/nvcc/p')"
  if [ $emulated = 1 ]; then
    echo "gpu: none, emulated"
  else
    nvidia-smi --query-gpu=name,compute_cap,driver_version,memory.total,clocks.max.sm,clocks.max.memory --format=csv,noheader |
      sed 's/^/gpu: /'
  fi
  python3 -c 'import torch; print("torch:", torch.__version__, "cudnn", torch.backends.cudnn.version())' 2>/dev/null || true
}

# run NAME COMMAND...: its output goes to DIR/NAME.log and, shortened, to the screen; one line of the summary.
run() {
  local name=$1 start=$SECONDS code
  shift
  printf '\033[1m== %s\033[0m: %s\n' "$name" "$*" >&2
  "$@" </dev/null >"$out/$name.log" 2>&1
  code=$?
  tail -n 5 "$out/$name.log" >&2
  printf '| %s | %s | %d s | %s |\n' "$name" "$([ $code = 0 ] && echo passed || echo "FAILED ($code)")" $((SECONDS - start)) \
    "$(grep -hE 'tests passed|PASSED|FAILED  *\]|ERROR SUMMARY|caught|^bench: ' "$out/$name.log" | tail -1 | tr -d '|')" >>"$out/summary.md"
  [ $code = 0 ] || failed+=("$name")
  return $code
}

step_build() {
  local options=(-DCUBOID_WERROR=OFF)
  [ -z "$prefix" ] || options+=("-DCMAKE_PREFIX_PATH=$prefix")
  if [ $emulated = 0 ]; then  # for this GPU alone: 9.0 has instructions of its own, behind the letter a
    local capability
    capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d '. ')
    [ "$capability" != 90 ] || capability=90a
    options+=("-DCUBOID_CUDA_ARCHITECTURES=$capability" -DCUBOID_WITH_TORCH=AUTO)
  fi
  [[ $emulated = 0 || $steps != *bench* ]] || options+=(-DCUBOID_BUILD_BENCH=ON)
  run configure cmake --preset "$preset" "${options[@]}" || exit 1
  run build cmake --build "$build" -j "$jobs" || exit 1
}

step_ptx() { run ptx timeout "$limit" "$build/tests/test_ptx"; }

# Several test programs share the GPU; none of them needs much of it.
step_tests() {
  run tests ctest --preset "$preset" -j "$((jobs < 6 ? jobs : 6))" --timeout "$limit" ${filter:+-R "$filter"} --output-junit "$out/tests.xml"
  [ -n "$filter" ] || run tests_conv_2000 ctest --preset "$preset" -R cuda:conv_nightly --timeout $((4 * limit))
}

step_sanitizer() {
  if [ $emulated = 1 ] || ! command -v compute-sanitizer >/dev/null; then
    echo "| sanitizer | left out | | no compute-sanitizer here |" >>"$out/summary.md"
    return
  fi
  local tool
  for tool in memcheck racecheck initcheck synccheck; do  # NVIDIA's libraries are not ours to judge
    run "sanitizer_$tool" timeout "$limit" compute-sanitizer --tool "$tool" --error-exitcode 86 --print-limit 20 \
      "$build/tests/test_cuda" --gtest_filter="${filter:-*}:-*Cudnn*:*Cublas*:*Vendor*"
  done
}

step_bench() {
  local program found=0 options=(--out "$out")
  [ $emulated = 0 ] || options+=(--tiny --rounds 1 --round-ms 0.01)
  for program in "$build"/bench/bench_cuda "$build"/bench/libtorch/bench_cuda_vs_libtorch; do
    [ -x "$program" ] && [[ $emulated = 0 || $program == */bench_cuda ]] || continue
    found=1
    run "$(basename "$program")" timeout "$((2 * limit))" "$program" "${options[@]}"
  done
  [ $found = 1 ] || echo "| bench | left out | | no benchmark was built |" >>"$out/summary.md"
}

machine | tee "$out/machine.txt" >&2
{ echo "# GPU check"; echo; sed 's/^/    /' "$out/machine.txt"; echo; echo "| step | result | time | last words |"; echo "|---|---|---|---|"; } >"$out/summary.md"
for step in "${wanted[@]}"; do "step_$step"; done
printf '\n' >&2
cat "$out/summary.md"
[ ${#failed[@]} -eq 0 ] || die 1 "failed: ${failed[*]}" "the logs are in $out"
