// The sums of what blocks left behind, by column: a second, small pass in an order that the shape alone decides.
//
// Compiled for one FROM and one TO at a time.
#ifndef LEVEL
#define LEVEL device
#endif

#include "memory.h"
#include "sums_launch.h"

namespace rectify {
namespace LEVEL {
namespace {

template <class From, class To> __device__ void add_up(const Sums& of) {
  __shared__ From of_rows[SUMS_THREADS];
  int64_t column = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
  From sum = 0;
  if (column < of.columns)
    for (int64_t row = threadIdx.y; row < of.rows; row += blockDim.y) sum += ((const From*)of.in)[row * of.columns + column];
  of_rows[thread_of_block()] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || column >= of.columns) return;
  for (int row = 1; row < (int)blockDim.y; ++row) sum += of_rows[row * blockDim.x + threadIdx.x];
  ((To*)of.out)[column] = (To)sum;
}

}  // namespace

#ifdef FROM
extern "C" __global__ void __launch_bounds__(SUMS_THREADS) sums(Sums of) { add_up<FROM, TO>(of); }
#endif

}  // namespace LEVEL
}  // namespace rectify
