// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/device_heap.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <vector>

#include "tests/emulator/machine.h"

namespace cuboid::emulator {
namespace {

constexpr std::size_t granule = 64;  // pieces start at multiples of it, as the caching allocator cuts them
constexpr std::size_t gap = 256, page = 4096;
constexpr std::size_t huge_page = 2 << 20;  // protecting many small pages takes milliseconds

struct Heap {
  char* base = nullptr;
  std::size_t bytes = 0, used_to = 0;        // nothing was ever handed out beyond
  std::uint32_t* owner = nullptr;            // per granule: the index of its piece, 0 for none
  std::vector<Allocation> pieces{1};         // by index; the first is nobody's
  std::vector<std::uint32_t> spare;          // indices of pieces that are gone
  std::map<char*, std::size_t> allocations;  // of the system: size with gap
  std::map<char*, std::size_t> free;         // never adjacent
  std::map<const char*, std::size_t> pinned;
  int open = 0;
};

void* map_memory(std::size_t bytes) {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  return p;
}

void on_bad_address(int, siginfo_t* info, void*);

Heap& heap() {
  static Heap& h = *[] {
    auto* made = new Heap;  // never destroyed: device memory may be freed late
    made->bytes = options().memory / huge_page * huge_page;
    void* base = map_memory(made->bytes + huge_page);
    std::size_t room = made->bytes + huge_page;
    made->base = static_cast<char*>(std::align(huge_page, made->bytes, base, room));
    madvise(made->base, made->bytes, MADV_HUGEPAGE);
    made->owner = static_cast<std::uint32_t*>(map_memory(made->bytes / granule * sizeof(std::uint32_t)));
    made->free.emplace(made->base, made->bytes);
    race::device_memory_at(made->base, made->bytes);
    static char stack[64 << 10];
    stack_t alternate{};
    alternate.ss_sp = stack;
    alternate.ss_size = sizeof stack;
    sigaltstack(&alternate, nullptr);
    struct sigaction action {};
    action.sa_sigaction = on_bad_address;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigaction(SIGSEGV, &action, nullptr);
    sigaction(SIGFPE, &action, nullptr);
    return made;
  }();
  return h;
}

std::size_t granule_of(const void* p) { return static_cast<std::size_t>(static_cast<const char*>(p) - heap().base) / granule; }

void protect() {
  Heap& h = heap();
  const std::size_t bytes = (h.used_to + huge_page - 1) / huge_page * huge_page;
  if (bytes) mprotect(h.base, bytes, h.open ? PROT_READ | PROT_WRITE : PROT_NONE);
}

void set_owner(const char* p, std::size_t bytes, std::uint32_t index) {
  const std::size_t first = granule_of(p), count = (bytes + granule - 1) / granule;
  std::fill_n(heap().owner + first, count, index);
}

/// Misaligned vector accesses, wild pointers and divisions by zero of kernels become errors of the launch; host code that touches
/// device memory is told so before it dies.
void on_bad_address(int number, siginfo_t* info, void*) {
  if (number == SIGFPE) {
    if (current) stop("arithmetic", "integer division by zero");
    signal(SIGFPE, SIG_DFL);
    return;
  }
  if (current) stop("bad-address", "address ", info->si_addr, " (none: a misaligned vector access)");
  constexpr char device[] = "emulator: host code touched device memory\n", other[] = "segmentation fault\n";
  const bool ours = is_device(info->si_addr);
  if (write(2, ours ? device : other, ours ? sizeof device - 1 : sizeof other - 1) < 0) std::_Exit(1);
  signal(SIGSEGV, SIG_DFL);
}

}  // namespace

void* allocate_device(std::size_t bytes) {
  Heap& h = heap();
  const std::size_t size = (std::max<std::size_t>(bytes, 1) + gap - 1) / gap * gap + gap;
  auto hole = std::find_if(h.free.begin(), h.free.end(), [&](const auto& range) { return range.second >= size; });
  if (hole == h.free.end()) return nullptr;
  char* p = hole->first;
  const std::size_t rest = hole->second - size;
  h.free.erase(hole);
  if (rest) h.free.emplace(p + size, rest);
  h.allocations.emplace(p, size);
  h.used_to = std::max(h.used_to, static_cast<std::size_t>(p + size - h.base));
  protect();
  open_piece(p, bytes);
  return p;
}

void open_piece(void* p, std::size_t bytes) {
  Heap& h = heap();
  close_pieces(p, bytes);
  std::uint32_t index = static_cast<std::uint32_t>(h.pieces.size());
  if (h.spare.empty()) {
    h.pieces.emplace_back();
  } else {
    index = h.spare.back();
    h.spare.pop_back();
  }
  h.pieces[index] = {static_cast<char*>(p), bytes, true};
  set_owner(static_cast<char*>(p), bytes, index);
  const DeviceOpen open;
  std::memset(p, 0xff, bytes);  // NaN in every float type
  race::fresh(p, bytes);
}

void close_pieces(void* p, std::size_t bytes) {
  Heap& h = heap();
  const std::size_t first = granule_of(p), end = granule_of(static_cast<char*>(p) + bytes + granule - 1);
  std::uint32_t last = 0;
  for (std::size_t g = first; g < end; ++g) {
    const std::uint32_t index = h.owner[g];
    h.owner[g] = 0;
    const Allocation& piece = h.pieces[index];
    if (index && index != last && piece.begin >= p && piece.begin + piece.bytes <= static_cast<char*>(p) + bytes) {
      h.pieces[index].live = false;
      h.spare.push_back(index);
    }
    last = index;
  }
}

void free_device(void* p) {
  if (!p) return;
  Heap& h = heap();
  const auto found = h.allocations.find(static_cast<char*>(p));
  if (found == h.allocations.end()) stop("bad-free", p, " is not the start of device memory in use");
  auto [begin, bytes] = *found;
  h.allocations.erase(found);
  close_pieces(begin, bytes);
  const std::size_t first = static_cast<std::size_t>(begin - h.base + page - 1) / page * page,
                    end = static_cast<std::size_t>(begin + bytes - h.base) / page * page;
  if (first < end) madvise(h.base + first, end - first, MADV_DONTNEED);  // whole pages: its neighbours share the others
  auto after = h.free.lower_bound(begin);
  if (after != h.free.end() && begin + bytes == after->first) {
    bytes += after->second;
    after = h.free.erase(after);
  }
  if (after != h.free.begin()) {
    if (const auto before = std::prev(after); before->first + before->second == begin) {
      before->second += bytes;
      return;
    }
  }
  h.free.emplace(begin, bytes);
}

std::size_t device_bytes() { return heap().bytes; }
std::size_t device_bytes_free() {
  std::size_t bytes = 0;
  for (const auto& [p, size] : heap().free) bytes += size;
  return bytes;
}

bool is_device(const void* p) {
  const Heap& h = heap();
  return static_cast<std::size_t>(static_cast<const char*>(p) - h.base) < h.bytes;
}

const Allocation* find_allocation(const void* p, std::size_t bytes) {
  if (!is_device(p)) return nullptr;
  const Heap& h = heap();
  const auto* begin = static_cast<const char*>(p);
  const Allocation& piece = h.pieces[h.owner[granule_of(p)]];
  return piece.live && begin >= piece.begin && begin + bytes <= piece.begin + piece.bytes ? &piece : nullptr;
}

std::string describe_device(const void* p) {
  const Heap& h = heap();
  if (!is_device(p)) return "not device memory";
  // The piece there, or the one that ends before.
  std::size_t g = granule_of(p);
  for (int back = 0; back < 8 && g > 0 && h.owner[g] == 0; ++back) --g;
  const Allocation& piece = h.pieces[h.owner[g]];
  if (!piece.live) return "no device memory in use (freed, or never handed out)";
  return join_text("offset ", static_cast<const char*>(p) - piece.begin, " of ", piece.bytes, " bytes");
}

DeviceOpen::DeviceOpen() {
  if (heap().open++ == 0) protect();
}
DeviceOpen::~DeviceOpen() {
  if (--heap().open == 0) protect();
}

void* allocate_pinned(std::size_t bytes) {
  void* p = std::aligned_alloc(page, (bytes + page - 1) / page * page + page);
  if (p) heap().pinned.emplace(static_cast<char*>(p), bytes);
  return p;
}

void free_pinned(void* p) {
  if (!p) return;
  if (heap().pinned.erase(static_cast<char*>(p)) == 0) stop("bad-free", p, " is not the start of pinned memory");
  std::free(p);
}

const void* pinned_start(const void* p, std::size_t bytes) {
  const auto& pinned = heap().pinned;
  auto after = pinned.upper_bound(static_cast<const char*>(p));
  if (after == pinned.begin()) return nullptr;
  --after;
  return static_cast<const char*>(p) + bytes <= after->first + after->second ? after->first : nullptr;
}

}  // namespace cuboid::emulator
