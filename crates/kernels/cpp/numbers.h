// Numbers as they lie in memory, and how they are read and written; compiled for the LEVEL of whoever includes it.
#pragma once

#include "plain_c.h"

namespace rectify {
namespace LEVEL {
namespace {

constexpr int LANES = 16;

struct Bf16 { uint16_t bits; };
#ifdef __CUDACC_RTC__
struct F16 { uint16_t bits; };
#else
using F16 = _Float16;
#endif

inline float widen(float x) { return x; }
inline double widen(double x) { return x; }
inline float widen(Bf16 x) {
  uint32_t bits = (uint32_t)x.bits << 16;
  float wide;
  memcpy(&wide, &bits, 4);
  return wide;
}
#ifdef __CUDACC_RTC__
inline float widen(F16 x) {
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(x.bits));
  return wide;
}
#else
inline float widen(F16 x) { return (float)x; }
#endif

inline void narrow(float x, float& out) { out = x; }
inline void narrow(double x, double& out) { out = x; }
#ifdef __CUDACC_RTC__
inline void narrow(float x, F16& out) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(out.bits) : "f"(x)); }
#else
inline void narrow(float x, F16& out) { out = (F16)x; }
#endif
inline void narrow(float x, Bf16& out) {  // to the nearest, ties to even; NaN stays one
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(out.bits) : "f"(x));
#else
  uint32_t bits;
  memcpy(&bits, &x, 4);
  uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  out.bits = x != x ? 0x7fc0 : (uint16_t)rounded;
#endif
}

// The type that numbers of a storage are computed with.
template <class S> struct Computing { typedef float Type; };
template <> struct Computing<double> { typedef double Type; };

}  // namespace
}  // namespace LEVEL
}  // namespace rectify
