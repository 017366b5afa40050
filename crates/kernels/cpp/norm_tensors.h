// What adding a branch and normalising rows reads and writes: the same for a CPU and a GPU.
#pragma once

#include "plain_c.h"

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

}  // namespace rectify
