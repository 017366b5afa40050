// Memory of tensors on the CPU that is kept for the next step: no fresh pages for every activation of every step.
//
// What is large is mapped by itself, in huge pages where the system has them, and goes back to a list of blocks by size when
// its tensor dies. All that is kept and in use together stays below 1 + 1/8 of the most that was ever in use at once.

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <sys/mman.h>

#include <list>
#include <map>
#include <mutex>
#include <new>
#include <unordered_map>

#include "border.h"

namespace rectify {
namespace {

constexpr size_t LARGE = size_t(1) << 18;      // smaller ones stay with malloc, which keeps them
constexpr size_t HUGE_PAGE = size_t(1) << 21;

struct Block {
  void* start;
  size_t bytes;
};

class Keeper final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* start = take(bytes);
    return {start, start, &give_back, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &give_back; }
  void copy_data(void* to, const void* from, size_t bytes) const override { default_copy_data(to, from, bytes); }

  void* take(size_t bytes);
  void put(void* start);
  size_t kept() { std::lock_guard<std::mutex> lock(mutex_); return free_bytes_; }

 private:
  static void give_back(void* start);
  void* reuse(size_t bytes);
  void release_for(size_t bytes);

  std::mutex mutex_;
  std::unordered_map<void*, size_t> used_;              // large blocks in use, by their start
  std::list<Block> free_;                               // kept blocks, the longest unused first
  std::multimap<size_t, std::list<Block>::iterator> by_size_;
  size_t used_bytes_ = 0, free_bytes_ = 0, most_used_ = 0;
};

Keeper& keeper() {
  static Keeper* one = new Keeper;  // never destroyed: tensors of statics may die after it
  return *one;
}

size_t rounded(size_t bytes) {
  size_t unit = bytes >= 8 * HUGE_PAGE ? HUGE_PAGE : bytes >= HUGE_PAGE ? HUGE_PAGE / 8 : 4096 * 4;
  return (bytes + unit - 1) / unit * unit;
}

void* Keeper::take(size_t bytes) {
  if (bytes < LARGE) {
    if (bytes == 0) return nullptr;
    void* start = nullptr;
    if (posix_memalign(&start, 64, bytes)) throw std::bad_alloc();
    return start;
  }
  bytes = rounded(bytes);
  std::lock_guard<std::mutex> lock(mutex_);
  void* start = reuse(bytes);
  if (!start) {
    release_for(bytes);
    size_t alignment = bytes >= HUGE_PAGE ? HUGE_PAGE : 4096;
    if (posix_memalign(&start, alignment, bytes)) throw std::bad_alloc();
    if (bytes >= HUGE_PAGE) madvise(start, bytes, MADV_HUGEPAGE);
    used_[start] = bytes;
    used_bytes_ += bytes;
  }
  if (used_bytes_ > most_used_) most_used_ = used_bytes_;
  return start;
}

// A kept block that wastes at most an eighth.
void* Keeper::reuse(size_t bytes) {
  auto found = by_size_.lower_bound(bytes);
  if (found == by_size_.end() || found->first > bytes + bytes / 8) return nullptr;
  Block block = *found->second;
  free_.erase(found->second);
  by_size_.erase(found);
  free_bytes_ -= block.bytes;
  used_[block.start] = block.bytes;
  used_bytes_ += block.bytes;
  return block.start;
}

// Lets go of kept blocks until there is room for a new one of that many bytes.
void Keeper::release_for(size_t bytes) {
  size_t most = std::max(most_used_, used_bytes_ + bytes);
  while (!free_.empty() && used_bytes_ + free_bytes_ + bytes > most + most / 8) {
    auto oldest = free_.begin();
    for (auto [at, end] = by_size_.equal_range(oldest->bytes); at != end; ++at) {
      if (at->second == oldest) {
        by_size_.erase(at);
        break;
      }
    }
    free_bytes_ -= oldest->bytes;
    free(oldest->start);
    free_.erase(oldest);
  }
}

void Keeper::put(void* start) {
  std::lock_guard<std::mutex> lock(mutex_);
  auto found = used_.find(start);
  if (found == used_.end()) {
    free(start);
    return;
  }
  size_t bytes = found->second;
  used_.erase(found);
  used_bytes_ -= bytes;
  free_.push_back({start, bytes});
  free_bytes_ += bytes;
  by_size_.emplace(bytes, std::prev(free_.end()));
}

void Keeper::give_back(void* start) {
  if (start) keeper().put(start);
}

}  // namespace
}  // namespace rectify

extern "C" {

// From now on libtorch takes the memory of tensors on the CPU from here. For the life of the process.
void rectify_keep_memory() { c10::SetCPUAllocator(&rectify::keeper(), /*priority=*/100); }

// Bytes that are kept and not in use.
size_t rectify_kept_bytes() { return rectify::keeper().kept(); }

}
