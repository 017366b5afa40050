// What formulas and kernels take of C, whichever compiler reads them: whole numbers of known width, memcpy and mathematics.
#pragma once

// For what loops and kernels are made of: a call in the middle would end their being vectorised.
#ifdef __CUDACC_RTC__
#define INLINED __forceinline__
#else
#define INLINED inline __attribute__((always_inline))
#endif

#ifdef __CUDACC_RTC__
// The compiler for GPUs has no headers, and functions built in.
namespace rectify {
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
}  // namespace rectify
#else
#include <math.h>
#include <stdint.h>
#include <string.h>
#endif
