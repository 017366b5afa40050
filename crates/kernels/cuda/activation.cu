// Bias and activation on a GPU: f(x + bias) in one pass, and dx with the sums for bias and parameters in one pass.
//
// Every element is read and written once, in accesses of 16 bytes that a warp makes side by side, and what is shared (bias,
// parameters, corrections) stays in registers and shared memory: so the memory's bandwidth is the bound to design for. With five
// blocks on a processor forward and four backward, 20 and 32 kB of reads are under way there, which covers the memory's latency.
// The exponential and the division are one instruction each (formulas.h); without that the arithmetic of half precision would
// take longer than its memory. Sums leave each block once, 2048 rows of them at most, beside which the tensor is large.
//
// Compiled for one FORMULA and one STORAGE at a time. Sums have an order that the shape alone decides, and there are no atomics.
#ifndef LEVEL
#define LEVEL device
#endif

#include "activation_launch.h"
#include "formulas.h"
#include "memory.h"

namespace rectify {
namespace LEVEL {
namespace {

template <class T> inline T parameter(const ActivationTensors& of, int k) {
  return of.parameters[k] ? *(const T*)of.parameters[k] : (T)of.constants[k];
}

// The parameters of a formula at hand: in registers, a table where it lies, a correction in shared memory.
template <class F, class T> struct Held {
  explicit Held(const ActivationTensors& of) : p{parameter<T>(of, 0), parameter<T>(of, 1)} {}
  const T* at(T) const { return p; }
  T p[MAX_PARAMETERS];
};
template <class T> struct Held<Tabulated, T> {
  explicit Held(const ActivationTensors& of) : table((const T*)of.table) {}
  const T* at(T) const { return table; }
  const T* table;
};
// The 32 numbers of a kind are in 32 banks: threads that look up different cells never wait for one another.
template <class Base, class T> struct Held<Adjusted<Base>, T> {
  explicit Held(const ActivationTensors& of) : epsilon(parameter<T>(of, 0)) {
    __shared__ T copy[CORRECTION_HEAD + 4 * CELLS];
    for (int i = thread_of_block(); i < CORRECTION_HEAD + 4 * CELLS; i += TILE_THREADS) copy[i] = ((const T*)of.table)[i];
    __syncthreads();
    table = copy;
  }
  Looked<T> at(T x) const {
    Looked<T> looked = {epsilon, 0, 0};
    look_up(x, table, looked.value, looked.slope);
    return looked;
  }
  const T* table;
  T epsilon;
};

// The columns of a thread: WIDTH that lie together where rows begin on a multiple of that, so that 16 bytes are one access;
// otherwise as many that are `lanes` apart, so that the threads of a warp still read side by side.
template <class S> struct Columns {
  static constexpr int WIDTH = 16 / sizeof(S);
  Columns(const Tiles& tiles, const ActivationTensors& of) : together(tiles.columns % WIDTH == 0) {
    int tile = (int)blockIdx.x * tiles.lanes * WIDTH;
    first = tile + threadIdx.x * (together ? WIDTH : 1);
    apart = together ? 1 : tiles.lanes;
    wide = together && lies_on(of.x, 16) && lies_on(of.out, 16) && lies_on(of.dy, 16);
  }
  int at(int k) const { return first + k * apart; }
  bool whole(int end) const { return wide && first + WIDTH <= end; }

  // Of the row at `row`, which ends after `end` columns; 0 for what is beyond.
  template <class T> void load(const S* row, int end, T* numbers) const {
    if (whole(end)) return load_word<WIDTH>(row + first, numbers);
    for (int k = 0; k < WIDTH; ++k) numbers[k] = at(k) < end ? (T)widen(row[at(k)]) : (T)0;
  }
  template <class T> void store(const T* numbers, int end, S* row) const {
    if (whole(end)) return store_word<WIDTH>(numbers, row + first);
    for (int k = 0; k < WIDTH; ++k)
      if (at(k) < end) narrow(numbers[k], row[at(k)]);
  }

  int first, apart;
  bool together, wide;
};

template <class S, class T> inline void load_bias(const Columns<S>& mine, const Tiles& tiles, const void* bias, T* numbers) {
  for (int k = 0; k < Columns<S>::WIDTH; ++k)
    numbers[k] = bias && mine.at(k) < tiles.columns ? ((const T*)bias)[mine.at(k)] : (T)0;
}

// Calls work(where the row begins, how many columns it has) for the rows of a thread.
template <class Work> inline void down_rows(const Tiles& tiles, Work work) {
  int64_t row = blockIdx.y * tiles.rows_of_block, end = row + tiles.rows_of_block;
  for (row += threadIdx.y; row < end; row += blockDim.y) {
    int64_t start = row * tiles.columns, left = tiles.elements - start;
    if (left <= 0) return;
    work(start, (int)(left < tiles.columns ? left : tiles.columns));
  }
}

template <class F, class S> __device__ void forward(const ActivationTensors& of, const Tiles& tiles) {
  typedef typename Computing<S>::Type T;
  const Columns<S> mine(tiles, of);
  const Held<F, T> held(of);
  T bias[Columns<S>::WIDTH];
  load_bias(mine, tiles, of.bias, bias);
  down_rows(tiles, [&](int64_t start, int end) {
    T numbers[Columns<S>::WIDTH];
    mine.load((const S*)of.x + start, end, numbers);
    for (int k = 0; k < Columns<S>::WIDTH; ++k) {
      T before = numbers[k] + bias[k];
      numbers[k] = F::template value<T>(before, held.at(before));
    }
    mine.store(numbers, end, (S*)of.out + start);
  });
}

// What each row of threads found for the columns, added up in the order of these rows.
template <class S, class T> __device__ void write_bias_sums(const Columns<S>& mine, const Tiles& tiles, const T* own, T* sums) {
  constexpr int WIDTH = Columns<S>::WIDTH;
  __shared__ T of_all[TILE_THREADS * WIDTH];
  for (int k = 0; k < WIDTH; ++k) of_all[(threadIdx.y * WIDTH + k) * tiles.lanes + threadIdx.x] = own[k];
  __syncthreads();
  for (int place = thread_of_block(); place < tiles.lanes * WIDTH; place += TILE_THREADS) {
    T sum = 0;
    for (int row = 0; row < (int)blockDim.y; ++row) sum += of_all[row * tiles.lanes * WIDTH + place];
    int lane = place % tiles.lanes, k = place / tiles.lanes;
    int column = (int)blockIdx.x * tiles.lanes * WIDTH + (mine.together ? lane * WIDTH + k : k * tiles.lanes + lane);
    if (column < tiles.columns) sums[blockIdx.y * tiles.columns + column] = sum;
  }
}

template <class F, class S> __device__ void backward(const ActivationTensors& of, const Tiles& tiles) {
  typedef typename Computing<S>::Type T;
  constexpr int WIDTH = Columns<S>::WIDTH;
  const Columns<S> mine(tiles, of);
  const Held<F, T> held(of);
  T bias[WIDTH], of_columns[WIDTH] = {}, of_parameters[MAX_PARAMETERS] = {};
  load_bias(mine, tiles, of.bias, bias);
  down_rows(tiles, [&](int64_t start, int end) {
    T numbers[WIDTH], above[WIDTH];
    mine.load((const S*)of.x + start, end, numbers);
    mine.load((const S*)of.dy + start, end, above);
    for (int k = 0; k < WIDTH; ++k) {
      T before = numbers[k] + bias[k], dp[MAX_PARAMETERS] = {};
      numbers[k] = above[k] * F::template slope<T>(before, held.at(before), dp);
      of_columns[k] += numbers[k];
      for (int p = 0; p < F::PARAMETERS; ++p) of_parameters[p] += above[k] * dp[p];
    }
    mine.store(numbers, end, (S*)of.out + start);
  });
  if (of.bias_sums) write_bias_sums(mine, tiles, of_columns, (T*)of.bias_sums);
  if (!of.parameter_sums) return;
  int64_t block = (int64_t)blockIdx.y * gridDim.x + blockIdx.x;
  for (int p = 0; p < MAX_PARAMETERS; ++p) {
    double total = p < F::PARAMETERS ? block_total(of_parameters[p]) : 0;
    if (thread_of_block() == 0) of.parameter_sums[block * MAX_PARAMETERS + p] = total;
  }
}

}  // namespace

#ifdef FORMULA
// Of the 65536 registers of a processor a thread has 48 forward and 64 backward, with fewer blocks
// where that would spill: in f64, and backward in a table. Older processors have room for 1024
// threads.
template <class A, class B> constexpr bool SAME = false;
template <class A> constexpr bool SAME<A, A> = true;
constexpr bool F64 = SAME<STORAGE, double>;
constexpr int BLOCKS_FORWARD = F64 ? 3 : __CUDA_ARCH__ < 800 ? 4 : 5;
constexpr int BLOCKS_BACKWARD = F64 ? 2 : SAME<FORMULA, Tabulated> ? 3 : 4;

extern "C" __global__ void __launch_bounds__(TILE_THREADS, BLOCKS_FORWARD) activation_forward(ActivationTensors of, Tiles tiles) {
  forward<FORMULA, STORAGE>(of, tiles);
}
extern "C" __global__ void __launch_bounds__(TILE_THREADS, BLOCKS_BACKWARD) activation_backward(ActivationTensors of, Tiles tiles) {
  backward<FORMULA, STORAGE>(of, tiles);
}
#endif

}  // namespace LEVEL
}  // namespace rectify
