#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# check.sh RULE: one rule of the house, over the whole tree. Prints each offence as file:line, ends with 1 when there is one.
set -euo pipefail
rooms=()
for room in core kernels layers nets optim data apps bench tests; do
  if [ -d "$room" ]; then rooms+=("$room"); fi
done
offences=0

sources() { find "${rooms[@]}" -type f \( -name '*.cpp' -o -name '*.h' -o -name '*.cu' \) | sort; }
offence() {
  echo "$*"
  offences=$((offences + 1))
}

# Which rooms a room may include. apps, bench and tests may include anything, and nothing includes them.
allowed() {
  case $1 in
    core) echo core ;;
    kernels) echo core kernels ;;
    layers) echo core kernels layers ;;
    nets) echo core kernels layers nets ;;
    optim) echo core kernels layers optim ;;
    data) echo core data ;;
    apps) echo core kernels layers nets optim data apps ;;
    *) echo "${rooms[*]}" ;;
  esac
}

# Quoted includes start with their room and stay within what it may see. The doors to the emulator are core/gpu.h and core/ptx*.h.
includes() {
  local room line file target rest seen
  for room in "${rooms[@]}"; do
    seen=" $(allowed "$room") "
    while IFS=: read -r file line rest; do
      target=${rest#*\"} && target=${target%%\"*}
      [[ $file:$target != core/@(gpu|ptx*).h:tests/emulator/* ]] || continue
      case "$target" in
        */*) [[ $seen == *" ${target%%/*} "* ]] || offence "$file:$line: $room may not include $target" ;;
        *) offence "$file:$line: write the path from the root: $target" ;;
      esac
    done < <(grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' --include='*.cpp' --include='*.h' --include='*.cu' "$room" |
      grep -v '^tests/consumer/' || true)
  done
}

# CUDA headers stay behind core/gpu.h; oneDNN's stay in the onednn files; every header has its #pragma once.
headers() {
  local file
  for file in $(sources); do
    case $file in
      core/gpu.h | core/ptx*.h | core/tensor_map.h | tests/emulator/* | *.cu | */cudnn.cpp | */cublas.cpp | */nccl.cpp) ;;
      *)
        if grep -nHE '#[[:space:]]*include[[:space:]]*<(cuda|cublas|cudnn|nccl|nvtx|mma|cooperative_groups)[^>]*>' "$file"; then
          offence "$file: a CUDA header"
        fi
        ;;
    esac
    if [[ $file != */onednn* && $file != bench/* ]] && grep -nHE '#[[:space:]]*include[[:space:]]*<(oneapi/)?dnnl' "$file"; then
      offence "$file: a oneDNN header"
    fi
    if [[ $file == *.h ]] && ! grep -q '^#pragma once' "$file"; then offence "$file: no #pragma once"; fi
  done
}

licence() {
  local file
  for file in $(sources); do
    [[ $(head -n 1 "$file") == '// SPDX-License-Identifier: Apache-2.0' ]] || offence "$file:1: no SPDX line"
  done
  grep -q 'Apache License' LICENSE || offence "LICENSE: not the Apache licence"
}

# One idea per file: about 400 lines; beyond 450 it is two ideas.
length() {
  local file lines
  for file in $(sources); do
    lines=$(wc -l <"$file")
    if [ "$lines" -gt 450 ]; then
      offence "$file: $lines lines"
    elif [ "$lines" -gt 400 ]; then
      echo "note: $file has $lines lines"
    fi
  done
}

# Nothing here knows the machine it was written on, and nothing is left for later.
paths() {
  local hits
  hits=$(grep -rnE '(^|[^A-Za-z0-9_.$}/-])/(home|work|root|Users)/[A-Za-z]' "${rooms[@]}" cmake ./*.md ./*.txt ./*.json run .ci 2>/dev/null |
    grep -v '^tests/style/' || true)
  [ -z "$hits" ] || offence "$hits"
  hits=$(grep -rnE '\b(TODO|FIXME|XXX|HACK)\b' "${rooms[@]}" cmake run .ci 2>/dev/null | grep -v '^tests/style/' || true)
  [ -z "$hits" ] || offence "$hits"
}

# What the documents promise exists: commands of ./run, presets, files linked; the net on the first screen is code that runs.
readme() {
  local word code
  for word in $(grep -ohE '\./run [a-z]+' README.md CONTRIBUTING.md | awk '{print $2}' | sort -u); do
    ./run help | grep -qE "^\./run (.* )?(\| )?$word\b|\| $word" || offence "README.md or CONTRIBUTING.md: no command ./run $word"
  done
  for word in $(grep -ohE -- '--preset [a-z]+' README.md CONTRIBUTING.md | awk '{print $2}' | sort -u); do
    grep -q "\"name\": \"$word\"" CMakePresets.json || offence "README.md or CONTRIBUTING.md: no preset $word"
  done
  for word in $(grep -ohE '\]\([A-Za-z0-9_./-]+\)' ./*.md | sed -E 's/\]\((.*)\)/\1/' | sort -u); do
    [ -e "$word" ] || offence "a link to $word, which is not there"
  done
  code=$(sed -n '/^```cpp$/,/^```$/p' README.md | grep -v '^```')
  [[ "$(cat tests/consumer/main.cpp)" == *"$code"* ]] || offence "README.md: its net is not the one in tests/consumer/main.cpp"
}

format() {
  command -v clang-format >/dev/null || { echo "clang-format is not installed" && exit 77; }
  local version
  version=$(clang-format --version | grep -oE '[0-9]+' | head -1)
  [ "$version" = 14 ] || { echo "clang-format 14 decides; this is $version" && exit 77; }
  local file
  for file in $(sources | xargs clang-format --dry-run 2>&1 | sed -nE 's/^([^: ]+):[0-9]+:.*clang-format.*/\1/p' | sort -u); do
    offence "$file: ./run format"
  done
}

rule=${1:-}
[[ $rule =~ ^(includes|headers|licence|length|paths|readme|format)$ ]] || { echo "no rule '$rule'" && exit 2; }
"$rule"
[ "$offences" -eq 0 ] || { echo "$offences offences against the rule '$rule'" && exit 1; }
echo "the rule '$rule' holds for $(sources | wc -l) files"
