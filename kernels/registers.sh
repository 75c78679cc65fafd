#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# registers.sh LOG...: the table of registers, shared memory and spills in kernels/README.md, from what a build with
# -Xptxas -v has printed (`cmake --preset cuda -DCMAKE_CUDA_FLAGS="-Xptxas -v"`, then `cmake --build ... | tee LOG`).
# Without a build's own lines the logs' names stand for the files. ARCH (sm_90a) chooses the target. --print: to stdout only.
set -euo pipefail
arch=${ARCH:-sm_90a}
print=0
if [ "${1:-}" = --print ]; then print=1 && shift; fi
[ $# -gt 0 ] || { echo "usage: $0 [--print] LOG..." >&2 && exit 2; }

# file TAB kernel TAB registers TAB static shared TAB stack TAB spill stores + loads, a line per instance.
instances() {
  awk -v arch="$arch" '
    FNR == 1 { file = FILENAME; sub(/.*\//, "", file); sub(/\.[^.]*$/, "", file) }
    /Building CUDA object/ { file = $0; sub(/.*\.dir\/(kernels\/)?/, "", file); sub(/\.cu\.o.*/, "", file) }
    /Compiling entry function/ { split($0, part, "\x27"); wanted = part[4] == arch; name = part[2]; stack = spill = 0 }
    /bytes stack frame/ && wanted { stack = $1; spill = $5 + $9 }
    /Used [0-9]+ registers/ && wanted && name != "" {
      registers = $0; sub(/.*Used /, "", registers); sub(/ .*/, "", registers)
      shared = 0
      if (match($0, /[0-9]+ bytes smem/)) shared = substr($0, RSTART, RLENGTH) + 0
      print file "\t" name "\t" registers "\t" shared "\t" stack "\t" spill
      name = ""
    }' "$@" | sort -u | c++filt
}

# A family: the kernel without its arguments; of `contract`, which goes with any product, also how it multiplies and what.
table() {
  instances "$@" | awk -F '\t' '
    function range(low, high) { return low == high ? low : low " - " high }
    {
      kernel = $2
      gsub(/\(anonymous namespace\)::/, "", kernel)
      how = ""
      if (kernel ~ /::contract</) {
        how = kernel
        sub(/.*::contract</, "", how)
        gsub(/cuboid::(tiles|cuda)::|cuboid::/, "", how)
        math = how; sub(/<.*/, "", math)
        match(how, /[A-Za-z]+Task/)
        how = "<" math ", " substr(how, RSTART, RLENGTH) ">"
      }
      sub(/^void /, "", kernel)
      sub(/[<(].*/, "", kernel)
      sub(/.*::/, "", kernel)
      key = $1 "\t" kernel how
      if (!(key in count)) { least[key] = most[key] = $3; low[key] = high[key] = $4 }
      count[key]++
      if ($3 < least[key]) least[key] = $3
      if ($3 > most[key]) most[key] = $3
      if ($4 < low[key]) low[key] = $4
      if ($4 > high[key]) high[key] = $4
      if ($5 > stack[key]) stack[key] = $5
      if ($6 > spill[key]) spill[key] = $6
      if ($6 > 0) spilling[key]++
    }
    END {
      for (key in count) {
        if (most[key] <= 64 && high[key] + stack[key] + spill[key] == 0) {
          small++
          instances += count[key]
          continue
        }
        split(key, part, "\t")
        spills = spilling[key] ? spill[key] " (" spilling[key] ")" : 0
        printf "| `%s` | `%s` | %d | %s | %s | %d | %s |\n", part[1], part[2], count[key], range(least[key], most[key]),
          range(low[key], high[key]), stack[key], spills
      }
      if (small) printf "| others (%d kernels) | | %d | at most 64 | 0 | 0 | 0 |\n", small, instances
    }' | LC_ALL=C sort
}

section() {
  cat <<TEXT
<!-- registers: begin, written by kernels/registers.sh -->
From ptxas of CUDA $(nvcc --version | sed -nE 's/.*release ([0-9.]+).*/\1/p') for $arch. Static shared memory, the largest stack frame and the most bytes of
spill (stores and loads; in brackets how many instances spill) of each family of kernels, all in bytes.

| file | kernel | instances | registers | shared | stack | spills |
|---|---|---|---|---|---|---|
TEXT
  table "$@"
  echo '<!-- registers: end -->'
}

if [ "$print" = 1 ]; then
  section "$@"
  exit
fi
page=$(dirname "${BASH_SOURCE[0]}")/README.md
grep -q '^<!-- registers: begin' "$page" || { echo "$page: no section of registers" >&2 && exit 1; }
new=$(mktemp)
{
  sed '/^<!-- registers: begin/,$d' "$page"
  section "$@"
  sed '1,/^<!-- registers: end/d' "$page"
} >"$new"
cat "$new" >"$page"
rm "$new"
