// Wide accesses to memory, and sums over the threads of a block in an order that never changes.
#pragma once

#include "numbers.h"

namespace rectify {
namespace LEVEL {
namespace {

constexpr int THREADS = 256;  // of a block, at most

template <int BYTES> struct Word;
template <> struct Word<16> { typedef uint4 Type; };
template <> struct Word<8> { typedef uint2 Type; };

// In the GPU's own words, since the compiler takes the stores of a word apart where it can.
#ifdef __CUDACC_RTC__
INLINED void store(uint4 word, uint4* to) {
  asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)), "r"(word.x), "r"(word.y), "r"(word.z),
               "r"(word.w));
}
INLINED void store(uint2 word, uint2* to) {
  asm volatile("st.global.v2.u32 [%0], {%1, %2};" ::"l"(__cvta_generic_to_global(to)), "r"(word.x), "r"(word.y));
}
#else
template <class Word> INLINED void store(Word word, Word* to) { *to = word; }
#endif

// Reads what no thread writes while the kernel runs, so that the compiler may move the read before
// stores.
#ifdef __CUDACC_RTC__
template <class S> INLINED S read_only(const S* from) {
  if constexpr (sizeof(S) != 2) {
    return __ldg(from);
  } else {
    S number;
    const unsigned short bits = __ldg((const unsigned short*)from);
    memcpy(&number, &bits, 2);
    return number;
  }
}
#else
template <class S> INLINED S read_only(const S* from) { return *from; }
#endif

// N numbers that lie on a multiple of their size, in one access; no thread writes them while the
// kernel runs.
template <int N, class S, class T> inline void load_word(const S* from, T* to) {
  typename Word<N * sizeof(S)>::Type word = read_only((const typename Word<N * sizeof(S)>::Type*)from);
  S numbers[N];
  memcpy(numbers, &word, sizeof(word));
  for (int k = 0; k < N; ++k) to[k] = widen(numbers[k]);
}

template <int N, class S, class T> inline void store_word(const T* from, S* to) {
  typedef typename Word<N * sizeof(S)>::Type Place;
  S numbers[N];
  for (int k = 0; k < N; ++k) narrow(from[k], numbers[k]);
  Place word;
  memcpy(&word, numbers, sizeof(word));
  store(word, (Place*)to);
}

// Lets `threads` threads, whole warps, that name one `index` from 1 to 15 wait for one another.
#ifdef __CUDACC_RTC__
inline void wait_for_team(int index, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(index), "r"(threads) : "memory"); }
#endif

inline bool lies_on(const void* place, int bytes) { return ((size_t)place & (size_t)(bytes - 1)) == 0; }

inline int thread_of_block() { return threadIdx.y * blockDim.x + threadIdx.x; }

// The sum of a number of each of the THREADS threads; of use in thread 0 alone.
inline double block_total(double number) {
  __shared__ double sums[THREADS];
  int thread = thread_of_block();
  __syncthreads();  // those who read an earlier total have done so
  sums[thread] = number;
  __syncthreads();
  for (int half = THREADS / 2; half > 0; half /= 2) {
    if (thread < half) sums[thread] += sums[thread + half];
    __syncthreads();
  }
  return sums[0];
}

}  // namespace
}  // namespace LEVEL
}  // namespace rectify
