#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# sass.sh OBJECT...: the tensor-core instructions in the machine code of each family of kernels for ARCH (sm_90a), and its
# accesses to local memory. Ends with 1 when a kernel that should multiply on tensor cores has none of them, with 77 without
# tools: cuobjdump and nvdisasm, of the toolkit or the PyPI packages nvidia-cuda-cuobjdump and nvidia-cuda-nvdisasm.
set -euo pipefail
arch=${ARCH:-sm_90a}
command -v cuobjdump nvdisasm >/dev/null || { echo "cuobjdump or nvdisasm is not installed" && exit 77; }
[ $# -gt 0 ] || { echo "usage: $0 OBJECT..." >&2 && exit 2; }

# kernel TAB HGMMA TAB HMMA TAB LDL and STL, a line per instance.
instances() {
  local object
  for object in "$@"; do cuobjdump -sass -arch "$arch" "$object" 2>/dev/null; done | awk '
    function flush() { if (name != "") print name "\t" hgmma "\t" hmma "\t" local }
    /Function :/ { flush(); name = $NF; hgmma = hmma = local = 0 }
    / HGMMA\./ { hgmma++ }
    / HMMA\./ { hmma++ }
    / (LDL|STL)[. ]/ { local++ }
    END { flush() }' | sort -u | c++filt
}

instances "$@" | awk -F '\t' '
  function range(low, high) { return low == high ? low : low " - " high }
  function note(table, key, v) { if (!((key, "low") in table) || v < table[key, "low"]) table[key, "low"] = v; if (v > table[key, "high"] + 0) table[key, "high"] = v + 0 }
  {
    kernel = $1
    gsub(/\(anonymous namespace\)::/, "", kernel)
    wants = ""  # what this instance should have: products of f64, and of f32 without TF32, have no tensor cores
    if (kernel ~ /wgmma/) wants = "HGMMA"
    else if (kernel ~ /::Mma</ || kernel ~ /stem_(weight_)?kernel</) wants = "HMMA"
    how = ""
    if (kernel ~ /::contract</) {
      match(kernel, /[A-Za-z]+Task/)
      task = substr(kernel, RSTART, RLENGTH)
      match(kernel, /(Mma|Simt)</)
      how = "<" substr(kernel, RSTART, RLENGTH - 1) ", " task ">"
    }
    if ((wants == "HGMMA" && $2 == 0) || (wants == "HMMA" && $3 == 0)) {
      print "no " wants " in " $1
      missing++
    }
    sub(/^void /, "", kernel)
    sub(/[<(].*/, "", kernel)
    sub(/.*::/, "", kernel)
    key = kernel how
    count[key]++
    note(hgmma, key, $2); note(hmma, key, $3); note(local, key, $4)
    seen[wants] = 1
  }
  END {
    print "| kernel | instances | HGMMA | HMMA | LDL, STL |\n|---|---|---|---|---|"
    for (key in count)
      if (hgmma[key, "high"] + hmma[key, "high"] + local[key, "high"] > 0)
        printf "| `%s` | %d | %s | %s | %s |\n", key, count[key], range(hgmma[key, "low"], hgmma[key, "high"]),
          range(hmma[key, "low"], hmma[key, "high"]), range(local[key, "low"], local[key, "high"]) | "LC_ALL=C sort"
    close("LC_ALL=C sort")
    if (!seen["HGMMA"] && !seen["HMMA"]) { print "no kernels for tensor cores in these files"; missing++ }
    exit missing > 0
  }'
