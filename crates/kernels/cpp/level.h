// Levels of the instruction set: loops are compiled once for each, and the best that the processor has is chosen at run time.
#pragma once

#include <cstdint>

namespace rectify {

// Numbers as they lie in memory. Half-precision numbers are computed with in f32.
enum class Storage : int { F32, F64, BF16, F16 };

// The loops of the best level of this machine.
template <class Loops> const Loops& of_this_machine(const Loops& baseline, const Loops& avx2, const Loops& avx512) {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    return avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")) return avx2;
  return baseline;
}

}  // namespace rectify
