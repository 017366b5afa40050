// How the kernel of sums.cu is started.
#pragma once

#include "plain_c.h"

namespace rectify {

// out[column] = the sum of in[row, column] over the rows.
struct Sums {
  const void* in;
  void* out;
  int64_t rows, columns;
};

constexpr int SUMS_THREADS = 256;

// Threads of a block side by side; the others of its 256 share out the rows.
inline int sums_lanes(int64_t columns) {
  int lanes = 1;
  while (lanes < 32 && lanes < columns) lanes *= 2;
  return lanes;
}

}  // namespace rectify
