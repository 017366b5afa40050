// Numbers as they lie in memory, and how they are read and written; compiled for the LEVEL of whoever includes it.
#pragma once

#include <stdint.h>
#include <string.h>

namespace rectify {
namespace LEVEL {
namespace {

constexpr int LANES = 16;

struct Bf16 { uint16_t bits; };

inline float widen(float x) { return x; }
inline double widen(double x) { return x; }
inline float widen(_Float16 x) { return (float)x; }
inline float widen(Bf16 x) {
  uint32_t bits = (uint32_t)x.bits << 16;
  float wide;
  memcpy(&wide, &bits, 4);
  return wide;
}

inline void narrow(float x, float& out) { out = x; }
inline void narrow(double x, double& out) { out = x; }
inline void narrow(float x, _Float16& out) { out = (_Float16)x; }
inline void narrow(float x, Bf16& out) {  // to the nearest, ties to even; NaN stays one
  uint32_t bits;
  memcpy(&bits, &x, 4);
  uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  out.bits = x != x ? 0x7fc0 : (uint16_t)rounded;
}

}  // namespace
}  // namespace LEVEL
}  // namespace rectify
