// The inner loops of adding a branch and normalising rows on a CPU, compiled once for each level of the instruction set.
#pragma once

#include "level.h"

namespace rectify {

// Rows [begin, end) of contiguous tensors of `columns` columns; each element of a mask is for `rows_of_mask` rows.
struct Rows {
  int64_t begin, end, columns, rows_of_mask;
};

// What is added to x: branch · scale · mask, where scale (columns) and mask may be null, and branch, too.
// `branch` and `y` are of the narrow type, all else of that of x.
struct NormForward {
  const void *x, *branch, *scale, *mask, *weight, *bias;
  double eps;
  void *sum, *y;     // sum = x + branch·scale·mask, not written without a branch; y = (sum − mean)·rstd·weight + bias
  void* statistics;  // (rows, 2): mean and rstd, 1 / √(variance + eps), of each
};

struct NormBackward {
  const void *sum, *statistics, *weight, *dy, *dsum;  // dsum may be null
  const void *branch, *scale, *mask;
  void *dx, *dbranch;                 // dbranch null without a branch
  void *dweight, *dbias, *dscale;     // added to; dscale null without a scale
};

using NormForwardLoop = void (*)(const NormForward& tensors, Rows rows);
using NormBackwardLoop = void (*)(const NormBackward& tensors, Rows rows);

// By the type of branch and y; those of F64 are for x in f64, the others for f32.
struct NormLoops {
  NormForwardLoop forward[4];
  NormBackwardLoop backward[4];
};

namespace baseline { extern const NormLoops norm_loops; }
namespace avx2 { extern const NormLoops norm_loops; }
namespace avx512 { extern const NormLoops norm_loops; }

}  // namespace rectify
