// A GPU made of fibers: lets a compiler for CPUs read the kernels as they are, and runs the threads of a block in turns.
//
// A thread goes on until it waits at a barrier, so a barrier that is missing shows: blocks alternate between the first thread
// going first and the last. A barrier that some thread never comes to ends the process with a message. One thread of the system
// runs a block, so what is `__shared__` is its own.
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

#include <functional>
#include <memory>
#include <vector>

#define __global__
#define __device__
#define __launch_bounds__(threads)
#define __shared__ static thread_local

namespace emulation {

struct Place {
  unsigned x, y;
};

struct Barrier {
  unsigned waiting = 0, passed = 0;
};

struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  Place place;
  bool ended;
};

constexpr size_t STACK_BYTES = 1 << 16;
constexpr unsigned WARP = 32;

struct Block {
  Place size;
  std::vector<Fiber> fibers;
  ucontext_t scheduler;
  unsigned current;
  bool moved;  // whether any thread went past a barrier or ended in this round
  Barrier all, of_teams[16];
  std::vector<Barrier> of_shuffles;  // by the first thread of those that shuffle together
  std::vector<uint64_t> shuffled;
  const std::function<void()>* work;
};

inline thread_local Block block;

}  // namespace emulation

struct uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };

inline thread_local emulation::Place threadIdx, blockIdx, blockDim, gridDim;

namespace emulation {

inline void give_way() { swapcontext(&block.fibers[block.current].context, &block.scheduler); }

inline void wait_at(Barrier& barrier, unsigned threads) {
  block.moved = true;
  unsigned passed = barrier.passed;
  if (++barrier.waiting == threads) {
    barrier.waiting = 0;
    ++barrier.passed;
    return;
  }
  while (barrier.passed == passed) give_way();
  block.moved = true;
}

inline void run_fiber() {
  (*block.work)();
  block.fibers[block.current].ended = true;
  block.moved = true;
  give_way();
}

inline void start_fibers() {
  unsigned threads = block.size.x * block.size.y;
  block.fibers.resize(threads);
  block.all = {};
  for (Barrier& team : block.of_teams) team = {};
  block.of_shuffles.assign(threads, {});
  block.shuffled.resize(threads);
  for (unsigned index = 0; index < threads; ++index) {
    Fiber& fiber = block.fibers[index];
    if (!fiber.stack) fiber.stack.reset(new char[STACK_BYTES]);
    fiber.place = {index % block.size.x, index / block.size.x};
    fiber.ended = false;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = STACK_BYTES;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, run_fiber, 0);
  }
}

inline void run_block(bool last_first) {
  start_fibers();
  unsigned threads = block.size.x * block.size.y;
  for (unsigned ended = 0; ended < threads;) {
    block.moved = false;
    ended = 0;
    for (unsigned turn = 0; turn < threads; ++turn) {
      block.current = last_first ? threads - 1 - turn : turn;
      Fiber& fiber = block.fibers[block.current];
      if (!fiber.ended) {
        threadIdx = fiber.place;
        swapcontext(&block.scheduler, &fiber.context);
      }
      ended += fiber.ended;
    }
    if (block.moved || ended == threads) continue;
    fprintf(stderr, "a thread of the block waits at a barrier that another never comes to\n");
    abort();
  }
}

inline void run_grid(Place blocks, Place threads, const std::function<void()>& work) {
  block.size = blockDim = threads;
  block.work = &work;
  gridDim = blocks;
  for (unsigned y = 0; y < blocks.y; ++y) {
    for (unsigned x = 0; x < blocks.x; ++x) {
      blockIdx = {x, y};
      run_block((x + y) % 2 == 1);
    }
  }
}

}  // namespace emulation

inline void __syncthreads() { emulation::wait_at(emulation::block.all, blockDim.x * blockDim.y); }

// As memory.h has it for a GPU.
inline void wait_for_team(int index, int threads) { emulation::wait_at(emulation::block.of_teams[index], threads); }

// The threads of a warp that `mask` names wait for one another; one that it does not name, or that
// reads from outside it, ends the process.
template <class T> inline T __shfl_xor_sync(unsigned mask, T number, int distance) {
  emulation::Block& block = emulation::block;
  unsigned thread = block.current, lane = thread % emulation::WARP;
  if (!(mask >> lane & 1) || !(mask >> (lane ^ distance) & 1)) {
    fprintf(stderr, "lane %u shuffles with lane %u under the mask %08x\n", lane, lane ^ distance, mask);
    abort();
  }
  emulation::Barrier& together = block.of_shuffles[thread - lane + __builtin_ctz(mask)];
  unsigned threads = __builtin_popcount(mask);
  __builtin_memcpy(&block.shuffled[thread], &number, sizeof(T));
  emulation::wait_at(together, threads);
  T other;
  __builtin_memcpy(&other, &block.shuffled[thread ^ distance], sizeof(T));
  emulation::wait_at(together, threads);
  return other;
}
