// Adding a branch and normalizing rows on a GPU, as norm_loops.cpp does on a CPU: one pass forward,
// one backward.
//
// A row is read once and stays in the registers of its team from the first sum to the result, so
// memory bandwidth is the bound to design for: a team within one warp needs no barrier, and larger
// ones have a barrier of their own; accesses are of 16 bytes on the wide side. What rows share
// (weight, bias, scale) comes from the caches, in accesses as wide. Backward, the sums of columns
// are in registers too, and leave each block once.
//
// Compiled for one WIDE and NARROW type, ROW_LANES, ROW_GROUPS, ROW_ACCESS and ROW_BRANCH
// (norm_launch.h) at a time. Sums have an order that the shape alone decides.
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

// Replaces each of N numbers by its sum over the team, the same bits in each of its threads.
template <int LANES, int N, class T> INLINED void team_totals(T (&sums)[N]) {
  constexpr int WITHIN = LANES < 32 ? LANES : 32;
  const unsigned first = (threadIdx.y * LANES + threadIdx.x) % 32 / WITHIN * WITHIN;
  const unsigned mask = WITHIN == 32 ? 0xffffffffu : ((1u << (WITHIN % 32)) - 1) << first;
#pragma unroll
  for (int distance = WITHIN / 2; distance > 0; distance /= 2)
#pragma unroll
    for (int i = 0; i < N; ++i) sums[i] += __shfl_xor_sync(mask, sums[i], distance);
  if constexpr (LANES > 32) {
    constexpr int WARPS = LANES / 32;
    __shared__ T of_warps[N * 32];
    const int team = 1 + threadIdx.y, start = threadIdx.y * WARPS;
    wait_for_team(team, LANES);  // those who read earlier totals have done so
    if (threadIdx.x % 32 == 0)
      for (int i = 0; i < N; ++i) of_warps[i * 32 + start + threadIdx.x / 32] = sums[i];
    wait_for_team(team, LANES);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      sums[i] = 0;
      for (int warp = 0; warp < WARPS; ++warp) sums[i] += of_warps[i * 32 + start + warp];
    }
  }
}

// What a thread has of a row of n elements: GROUPS groups of WIDTH.
template <class T, int LANES, int GROUPS, RowAccess ACCESS> struct Part {
  static constexpr int WIDTH = 16 / sizeof(T), LENGTH = GROUPS * WIDTH;
  static constexpr int TEAMS = LANES < TEAM_THREADS ? TEAM_THREADS / LANES : 1;
  explicit Part(int64_t n) : n((int)n) {}

  // The column of element i.
  int at(int i) const {
    if constexpr (ACCESS == RowAccess::Spread) return i * LANES + threadIdx.x;
    return (i / WIDTH * LANES + threadIdx.x) * WIDTH + i % WIDTH;
  }
  bool has(int i) const {
    if constexpr (ACCESS == RowAccess::Spread) return at(i) < n;
    return at(i / WIDTH * WIDTH) < n;  // a group is whole or absent
  }

  // One group of what begins at `from`: a row, or what rows share. 0 for what is beyond n.
  template <class S> INLINED void load_group(const S* from, int group, T* numbers) const {
    const int first = group * WIDTH;
    if constexpr (ACCESS == RowAccess::Words) {
      if (has(first)) return load_word<WIDTH>(from + at(first), numbers);
#pragma unroll
      for (int k = 0; k < WIDTH; ++k) numbers[k] = 0;
    } else {
#pragma unroll
      for (int k = 0; k < WIDTH; ++k) numbers[k] = has(first + k) ? (T)widen(read_only(from + at(first + k))) : (T)0;
    }
  }
  template <class S> INLINED void store_group(const T* numbers, int group, S* to) const {
    const int first = group * WIDTH;
    if constexpr (ACCESS == RowAccess::Words) {
      if (has(first)) store_word<WIDTH>(numbers, to + at(first));
    } else {
#pragma unroll
      for (int k = 0; k < WIDTH; ++k)
        if (has(first + k)) narrow(numbers[k], to[at(first + k)]);
    }
  }
  template <class S> INLINED void load(const void* rows, int64_t row, T* numbers) const {
#pragma unroll
    for (int group = 0; group < GROUPS; ++group) load_group((const S*)rows + row * n, group, numbers + group * WIDTH);
  }
  template <class S> INLINED void store(const T* numbers, void* rows, int64_t row) const {
#pragma unroll
    for (int group = 0; group < GROUPS; ++group) store_group(numbers + group * WIDTH, group, (S*)rows + row * n);
  }
  // Calls work(i) for the elements that the thread has.
  template <class Work> INLINED void each(Work work) const {
#pragma unroll
    for (int i = 0; i < LENGTH; ++i)
      if (has(i)) work(i);
  }
  // Calls work(i, what rows share at its column).
  template <class Work> INLINED void each_beside(const void* shared, Work work) const {
#pragma unroll
    for (int group = 0; group < GROUPS; ++group) {
      T numbers[WIDTH];
      load_group((const T*)shared, group, numbers);
#pragma unroll
      for (int k = 0; k < WIDTH; ++k) work(group * WIDTH + k, numbers[k]);
    }
  }

  int n;
};

template <class T> INLINED T mask_of(const void* mask, Rows rows, int64_t row) {
  return mask ? read_only((const T*)mask + row / rows.rows_of_mask) : (T)1;
}

template <class T, class S, int LANES, int GROUPS, RowAccess ACCESS, RowBranch BRANCH>
__device__ void forward(const NormForward& of, Rows rows) {
  typedef Part<T, LANES, GROUPS, ACCESS> Mine;
  const Mine mine(rows.columns);
  const T n = (T)rows.columns;
  for (int64_t row = (int64_t)blockIdx.x * Mine::TEAMS + threadIdx.y; row < rows.end; row += (int64_t)gridDim.x * Mine::TEAMS) {
    T x[Mine::LENGTH];
    mine.template load<T>(of.x, row, x);
    if constexpr (BRANCH != RowBranch::None) {
      T branch[Mine::LENGTH];
      const T mask = mask_of<T>(of.mask, rows, row);
      mine.template load<S>(of.branch, row, branch);
      if constexpr (BRANCH == RowBranch::Scaled)
        mine.each_beside(of.scale, [&](int i, T scale) { x[i] += branch[i] * (scale * mask); });
      else
        mine.each([&](int i) { x[i] += branch[i] * mask; });
      mine.template store<T>(x, of.sum, row);
    }
    T sum[1] = {0};
    mine.each([&](int i) { sum[0] += x[i]; });
    team_totals<LANES>(sum);
    const T mean = sum[0] / n;
    sum[0] = 0;
    mine.each([&](int i) { sum[0] += (x[i] - mean) * (x[i] - mean); });
    team_totals<LANES>(sum);
    const T rstd = 1 / root(sum[0] / n + (T)of.eps);
#pragma unroll
    for (int group = 0; group < GROUPS; ++group) {
      T weight[Mine::WIDTH], y[Mine::WIDTH];
      mine.load_group((const T*)of.weight, group, weight);
      mine.load_group((const T*)of.bias, group, y);
#pragma unroll
      for (int k = 0; k < Mine::WIDTH; ++k) y[k] += (x[group * Mine::WIDTH + k] - mean) * rstd * weight[k];
      mine.store_group(y, group, (S*)of.y + row * mine.n);
    }
    if (threadIdx.x > 0) continue;
    ((T*)of.statistics)[2 * row] = mean;
    ((T*)of.statistics)[2 * row + 1] = rstd;
  }
}

// The sums of the teams of a block, added up in their order and written to the block's row of `sums`.
template <class T, class Mine> INLINED void write_sums(const Mine& mine, const T* own, void* sums, int parts) {
  constexpr int WIDTH = Mine::WIDTH, LANES = TEAM_THREADS / Mine::TEAMS;
  T* row = (T*)sums + (int64_t)blockIdx.x * parts * mine.n;
  if constexpr (Mine::TEAMS == 1) {
    mine.each([&](int i) { row[mine.at(i)] = own[i]; });
  } else {
    __shared__ T of_teams[TEAM_THREADS * WIDTH];
#pragma unroll
    for (int group = 0; group < Mine::LENGTH / WIDTH; ++group) {
      __syncthreads();  // those who read the group before have done so
      for (int k = 0; k < WIDTH; ++k) of_teams[(threadIdx.y * WIDTH + k) * LANES + threadIdx.x] = own[group * WIDTH + k];
      __syncthreads();
      if (threadIdx.y > 0) continue;
      for (int k = 0; k < WIDTH; ++k) {
        T sum = 0;
        for (int team = 0; team < Mine::TEAMS; ++team) sum += of_teams[(team * WIDTH + k) * LANES + threadIdx.x];
        if (mine.has(group * WIDTH + k)) row[mine.at(group * WIDTH + k)] = sum;
      }
    }
  }
}

// `dweight`, `dbias` and `dscale` are those of the first block; each block has a row for all of them.
template <class T, class S, int LANES, int GROUPS, RowAccess ACCESS, RowBranch BRANCH>
__device__ void backward(const NormBackward& of, Rows rows) {
  typedef Part<T, LANES, GROUPS, ACCESS> Mine;
  constexpr bool SCALED = BRANCH == RowBranch::Scaled;
  const Mine mine(rows.columns);
  const T n = (T)rows.columns;
  T dweight[Mine::LENGTH] = {}, dbias[Mine::LENGTH] = {}, dscale[SCALED ? Mine::LENGTH : 1] = {};
  // The rows of a block lie together.
  const int64_t most = (rows.end + gridDim.x - 1) / gridDim.x, first = blockIdx.x * most;
  const int64_t end = first + most < rows.end ? first + most : rows.end;
  for (int64_t row = first + threadIdx.y; row < end; row += Mine::TEAMS) {
    T normed[Mine::LENGTH], above[Mine::LENGTH];
    mine.template load<T>(of.sum, row, normed);
    mine.template load<S>(of.dy, row, above);
    const T mean = read_only((const T*)of.statistics + 2 * row), rstd = read_only((const T*)of.statistics + 2 * row + 1);
    T sums[2] = {0, 0};  // of above, and of above · normed
    mine.each_beside(of.weight, [&](int i, T weight) {
      if (!mine.has(i)) return;
      normed[i] = (normed[i] - mean) * rstd;
      dweight[i] += above[i] * normed[i];
      dbias[i] += above[i];
      above[i] *= weight;
      sums[0] += above[i];
      sums[1] += above[i] * normed[i];
    });
    team_totals<LANES>(sums);
    const T along = sums[0] / n, across = sums[1] / n;
    mine.each([&](int i) { above[i] = rstd * (above[i] - along - normed[i] * across); });
    T* dx = above;
    if constexpr (BRANCH != RowBranch::None) {
      if (of.dsum) {
        mine.template load<T>(of.dsum, row, normed);
        mine.each([&](int i) { dx[i] += normed[i]; });
      }
    }
    mine.template store<T>(dx, of.dx, row);
    if constexpr (BRANCH != RowBranch::None) {
      const T mask = mask_of<T>(of.mask, rows, row);
      if constexpr (SCALED) {
        mine.template load<S>(of.branch, row, normed);
        mine.each_beside(of.scale, [&](int i, T scale) {
          if (!mine.has(i)) return;
          dscale[i] += dx[i] * (normed[i] * mask);
          dx[i] *= scale * mask;
        });
      } else {
        mine.each([&](int i) { dx[i] *= mask; });
      }
      mine.template store<S>(dx, of.dbranch, row);
    }
  }
  constexpr int PARTS = SCALED ? 3 : 2;
  write_sums(mine, dweight, of.dweight, PARTS);
  write_sums(mine, dbias, of.dbias, PARTS);
  if constexpr (SCALED) write_sums(mine, dscale, of.dscale, PARTS);
}

}  // namespace

#ifdef WIDE
// How many threads a processor has room for, of its 65536 registers: 1024 with 64 each, 768 with
// 80, 512 with 128, 256 with 255. The bound is the highest at which nothing spills; tests/nvrtc.rs
// holds the outcome. Forward a thread holds its part of a row. Backward it holds twice that and two
// or three sums of columns. Both are counted here in words of 16 bytes, and more is added for what
// takes further registers: narrow accesses, a branch in f32, f64, and the compiler for sm_100.
constexpr bool F32 = sizeof(WIDE) == 4;
constexpr int BLOCK = ROW_LANES < TEAM_THREADS ? TEAM_THREADS : ROW_LANES;
constexpr int HELD_FORWARD = F32 ? ROW_GROUPS + (__CUDA_ARCH__ >= 1000 ? 1 : 0) : 4;
constexpr int FORWARD_THREADS = HELD_FORWARD <= 3 ? 1024 : HELD_FORWARD == 4 ? 768 : 512;
constexpr int HELD_BACKWARD = ROW_GROUPS * (RowBranch::ROW_BRANCH == RowBranch::Scaled ? 5 : 4) +
                              (RowAccess::ROW_ACCESS == RowAccess::Words ? 0 : 4) +
                              (sizeof(NARROW) == 4 && ROW_GROUPS == 4 ? 3 : 0) + (F32 ? 0 : 8) +
                              (__CUDA_ARCH__ >= 1000 ? 2 : 0);
constexpr int BACKWARD_THREADS = HELD_BACKWARD <= 8    ? 1024
                                 : HELD_BACKWARD <= 12 ? 768
                                 : HELD_BACKWARD <= 22 || BLOCK > 256 ? 512
                                                                      : 256;

extern "C" __global__ void __launch_bounds__(BLOCK, FORWARD_THREADS / BLOCK) norm_forward(NormForward of, Rows rows) {
  forward<WIDE, NARROW, ROW_LANES, ROW_GROUPS, RowAccess::ROW_ACCESS, RowBranch::ROW_BRANCH>(of, rows);
}
extern "C" __global__ void __launch_bounds__(BLOCK, BACKWARD_THREADS / BLOCK) norm_backward(NormBackward of, Rows rows) {
  backward<WIDE, NARROW, ROW_LANES, ROW_GROUPS, RowAccess::ROW_ACCESS, RowBranch::ROW_BRANCH>(of, rows);
}
#endif

}  // namespace LEVEL
}  // namespace rectify
