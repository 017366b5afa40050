// Adding a branch and normalising rows on a GPU, as norm_loops.cpp does on a CPU: one pass forward, one backward.
//
// A row is read once and stays in the registers of its team from the first sum to the result, so the memory's bandwidth is the
// bound to design for: a team of one warp needs no barrier, and others one of their own; accesses are of 16 bytes on the wide
// side; with 512 threads on a processor at least, eight rows or more are under way there. What rows share
// (weight, bias, scale) comes from the caches. Backward the sums of columns are in registers too, and leave each block once.
//
// Compiled for one WIDE and NARROW type, number of ROW_GROUPS and of ROW_THREADS of a block at a time. Sums have an order that the shape alone decides.
#ifndef LEVEL
#define LEVEL device
#endif

#include "memory.h"
#include "norm_launch.h"

namespace rectify {
namespace LEVEL {
namespace {

template <class T> INLINED T root(T x) {
  if constexpr (sizeof(T) == 4) return sqrtf(x);
  return sqrt(x);
}

// The sum over a team, the same bits in each of its threads.
template <class T> INLINED T team_total(T sum) {
  for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, distance);
  if (blockDim.x == 32) return sum;
  __shared__ T of_warps[32];
  const int team = 1 + threadIdx.y, first = threadIdx.y * (blockDim.x / 32);
  wait_for_team(team, blockDim.x);  // those who read an earlier total have done so
  if (threadIdx.x % 32 == 0) of_warps[first + threadIdx.x / 32] = sum;
  wait_for_team(team, blockDim.x);
  T total = 0;
  for (int warp = 0; warp < (int)blockDim.x / 32; ++warp) total += of_warps[first + warp];
  return total;
}

// What a thread has of a row of n: groups of WIDTH that lie together where n is a multiple of that, else spread over the lanes.
template <class T, int GROUPS> struct Part {
  static constexpr int WIDTH = 16 / sizeof(T), LENGTH = GROUPS * WIDTH;
  Part(int64_t n, bool aligned) : n((int)n), together(n % WIDTH == 0), wide(together && aligned) {}
  int at(int i) const {
    int group = i / WIDTH, k = i % WIDTH;
    return together ? (int)(group * blockDim.x + threadIdx.x) * WIDTH + k : (int)(i * blockDim.x + threadIdx.x);
  }
  bool has(int i) const { return at(i) < n; }

  // 0 for what is beyond the row.
  template <class S> void load(const void* rows, int64_t row, T* numbers) const {
    const S* from = (const S*)rows + row * n;
#pragma unroll
    for (int i = 0; i < LENGTH; i += WIDTH) {
      if (wide && has(i)) {
        load_word<WIDTH>(from + at(i), numbers + i);
      } else {
        for (int k = i; k < i + WIDTH; ++k) numbers[k] = has(k) ? (T)widen(from[at(k)]) : (T)0;
      }
    }
  }
  template <class S> void store(const T* numbers, void* rows, int64_t row) const {
    S* to = (S*)rows + row * n;
#pragma unroll
    for (int i = 0; i < LENGTH; i += WIDTH) {
      if (wide && has(i)) {
        store_word<WIDTH>(numbers + i, to + at(i));
      } else {
        for (int k = i; k < i + WIDTH; ++k)
          if (has(k)) narrow(numbers[k], to[at(k)]);
      }
    }
  }
  template <class Term> T total(Term term) const {
    T sum = 0;
#pragma unroll
    for (int i = 0; i < LENGTH; ++i) sum += has(i) ? term(i) : (T)0;
    return team_total(sum);
  }
  template <class Work> void each(Work work) const {
#pragma unroll
    for (int i = 0; i < LENGTH; ++i)
      if (has(i)) work(i, at(i));
  }

  int n;
  bool together, wide;
};

// Calls work(row) for the rows of a team; those of a block lie together.
template <class Work> inline void rows_of_team(Rows rows, Work work) {
  int64_t each = (rows.end + gridDim.x - 1) / gridDim.x, first = blockIdx.x * each;
  int64_t end = first + each < rows.end ? first + each : rows.end;
  for (int64_t row = first + threadIdx.y; row < end; row += blockDim.y) work(row);
}

template <class T> inline T mask_of(const void* mask, Rows rows, int64_t row) {
  return mask ? ((const T*)mask)[row / rows.rows_of_mask] : (T)1;
}

template <class T, class S, int GROUPS> __device__ void forward(const NormForward& of, Rows rows) {
  typedef Part<T, GROUPS> Mine;
  constexpr int NARROW_BYTES = Mine::WIDTH * sizeof(S);
  const Mine mine(rows.columns, lies_on(of.x, 16) && lies_on(of.sum, 16) && lies_on(of.branch, NARROW_BYTES) &&
                                    lies_on(of.y, NARROW_BYTES));
  const T n = (T)rows.columns;
  const T *weight = (const T*)of.weight, *bias = (const T*)of.bias, *scale = (const T*)of.scale;
  rows_of_team(rows, [&](int64_t row) {
    T x[Mine::LENGTH];
    mine.template load<T>(of.x, row, x);
    if (of.branch) {
      T branch[Mine::LENGTH], mask = mask_of<T>(of.mask, rows, row);
      mine.template load<S>(of.branch, row, branch);
      mine.each([&](int i, int column) { x[i] += branch[i] * (scale ? scale[column] * mask : mask); });
      mine.template store<T>(x, of.sum, row);
    }
    T mean = mine.total([&](int i) { return x[i]; }) / n;
    T variance = mine.total([&](int i) { return (x[i] - mean) * (x[i] - mean); }) / n;
    T rstd = 1 / root(variance + (T)of.eps);
    mine.each([&](int i, int column) { x[i] = (x[i] - mean) * rstd * weight[column] + bias[column]; });
    mine.template store<S>(x, of.y, row);
    if (threadIdx.x > 0) return;
    ((T*)of.statistics)[2 * row] = mean;
    ((T*)of.statistics)[2 * row + 1] = rstd;
  });
}

// The sums of the teams of a block, added up in their order and written to the block's row of `sums`.
template <class T, int GROUPS> __device__ void write_sums(const Part<T, GROUPS>& mine, const T* own, void* sums, int parts) {
  constexpr int WIDTH = Part<T, GROUPS>::WIDTH;
  T* row = (T*)sums + (int64_t)blockIdx.x * parts * mine.n;
  if (blockDim.y == 1) return mine.each([&](int i, int column) { row[column] = own[i]; });
  __shared__ T of_teams[THREADS * WIDTH];
#pragma unroll
  for (int group = 0; group < GROUPS; ++group) {
    __syncthreads();  // those who read the group before have done so
    for (int k = 0; k < WIDTH; ++k) of_teams[(threadIdx.y * WIDTH + k) * blockDim.x + threadIdx.x] = own[group * WIDTH + k];
    __syncthreads();
    if (threadIdx.y > 0) continue;
    for (int k = 0; k < WIDTH; ++k) {
      T sum = 0;
      for (int team = 0; team < (int)blockDim.y; ++team) sum += of_teams[(team * WIDTH + k) * blockDim.x + threadIdx.x];
      if (mine.has(group * WIDTH + k)) row[mine.at(group * WIDTH + k)] = sum;
    }
  }
}

// `dweight`, `dbias` and `dscale` are those of the first block; each block has a row for all of them.
template <class T, class S, int GROUPS> __device__ void backward(const NormBackward& of, Rows rows) {
  typedef Part<T, GROUPS> Mine;
  constexpr int NARROW_BYTES = Mine::WIDTH * sizeof(S);
  const Mine mine(rows.columns, lies_on(of.sum, 16) && lies_on(of.dsum, 16) && lies_on(of.dx, 16) &&
                                    lies_on(of.dy, NARROW_BYTES) && lies_on(of.branch, NARROW_BYTES) &&
                                    lies_on(of.dbranch, NARROW_BYTES));
  const T n = (T)rows.columns;
  const T *weight = (const T*)of.weight, *scale = (const T*)of.scale;
  T dweight[Mine::LENGTH] = {}, dbias[Mine::LENGTH] = {}, dscale[Mine::LENGTH] = {};
  rows_of_team(rows, [&](int64_t row) {
    T normed[Mine::LENGTH], above[Mine::LENGTH];
    mine.template load<T>(of.sum, row, normed);
    mine.template load<S>(of.dy, row, above);
    T mean = ((const T*)of.statistics)[2 * row], rstd = ((const T*)of.statistics)[2 * row + 1];
    mine.each([&](int i, int column) {
      normed[i] = (normed[i] - mean) * rstd;
      dweight[i] += above[i] * normed[i];
      dbias[i] += above[i];
      above[i] *= weight[column];
    });
    T along = mine.total([&](int i) { return above[i]; }) / n;
    T across = mine.total([&](int i) { return above[i] * normed[i]; }) / n;
    mine.each([&](int i, int) { above[i] = rstd * (above[i] - along - normed[i] * across); });
    T* dx = above;
    if (of.dsum) {
      mine.template load<T>(of.dsum, row, normed);
      mine.each([&](int i, int) { dx[i] += normed[i]; });
    }
    mine.template store<T>(dx, of.dx, row);
    if (!of.dbranch) return;
    T mask = mask_of<T>(of.mask, rows, row);
    if (scale) {
      mine.template load<S>(of.branch, row, normed);
      mine.each([&](int i, int column) {
        dscale[i] += dx[i] * (normed[i] * mask);
        dx[i] *= scale[column] * mask;
      });
    } else {
      mine.each([&](int i, int) { dx[i] *= mask; });
    }
    mine.template store<S>(dx, of.dbranch, row);
  });
  const int parts = of.dscale ? 3 : 2;
  write_sums(mine, dweight, of.dweight, parts);
  write_sums(mine, dbias, of.dbias, parts);
  if (of.dscale) write_sums(mine, dscale, of.dscale, parts);
}

}  // namespace

#ifdef WIDE
constexpr int BLOCKS_AT_ONCE = ROW_THREADS < 512 ? 512 / ROW_THREADS : 1;
extern "C" __global__ void __launch_bounds__(ROW_THREADS, BLOCKS_AT_ONCE) norm_forward(NormForward of, Rows rows) {
  forward<WIDE, NARROW, ROW_GROUPS>(of, rows);
}
extern "C" __global__ void __launch_bounds__(ROW_THREADS, BLOCKS_AT_ONCE) norm_backward(NormBackward of, Rows rows) {
  backward<WIDE, NARROW, ROW_GROUPS>(of, rows);
}
#endif

}  // namespace LEVEL
}  // namespace rectify
