// Attention within windows, one window and head at a time: all of it stays in the caches between reading q, k and v where their
// tokens lie in the grid, and writing what comes of them there.
//
// As in activation_loops.cpp, nothing of the standard library may come in here but plain C functions.

#include "attention_loops.h"

#include "formulas.h"
#include "numbers.h"

namespace rectify {
namespace LEVEL {
namespace {

// --- Matrix products -----------------------------------------------------------------------------------------------------

#if defined(__AVX512F__)
constexpr int VECTOR_BYTES = 64;
#elif defined(__AVX2__)
constexpr int VECTOR_BYTES = 32;
#else
constexpr int VECTOR_BYTES = 16;
#endif

template <class T> struct Vector {
  typedef T Type __attribute__((vector_size(VECTOR_BYTES), aligned(alignof(T)), may_alias));
  static constexpr int64_t LENGTH = VECTOR_BYTES / sizeof(T);
};

// A matrix that is only read; its transpose is the same with the steps exchanged.
template <class T> struct View {
  const T* numbers;
  int64_t row, column;  // the steps from one to the next
  View transposed() const { return {numbers, column, row}; }
};

// A tile of R rows and C vectors of `c` += a · b, which stays in registers: a (R, depth), b (depth, C vectors).
template <class T, int R, int C>
INLINED void tile(int64_t depth, View<T> a, const T* b, int64_t b_row, T* c, int64_t c_row) {
  using V = typename Vector<T>::Type;
  constexpr int64_t LENGTH = Vector<T>::LENGTH;
  V sums[R][C];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < C; ++v) sums[r][v] = *(const V*)(c + r * c_row + v * LENGTH);
  for (int64_t k = 0; k < depth; ++k) {
    V across[C];
    for (int v = 0; v < C; ++v) across[v] = *(const V*)(b + k * b_row + v * LENGTH);
    for (int r = 0; r < R; ++r) {
      T down = a.numbers[r * a.row + k * a.column];
      for (int v = 0; v < C; ++v) sums[r][v] += down * across[v];
    }
  }
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < C; ++v) *(V*)(c + r * c_row + v * LENGTH) = sums[r][v];
}

template <class T, int R, int C>
INLINED void tiles(int64_t rows, int64_t depth, View<T> a, const T* b, int64_t b_row, T* c, int64_t c_row) {
  int64_t i = 0;
  for (; i + R <= rows; i += R) tile<T, R, C>(depth, {a.numbers + i * a.row, a.row, a.column}, b, b_row, c + i * c_row, c_row);
  for (; i < rows; ++i) tile<T, 1, C>(depth, {a.numbers + i * a.row, a.row, a.column}, b, b_row, c + i * c_row, c_row);
}

// c (rows, columns) += a (rows, depth) · b (depth, columns), where `columns` is a multiple of 16 and the rows of b and c are that
// long. Tiles are as large as the registers allow.
template <class T> void add_product(int64_t rows, int64_t columns, int64_t depth, View<T> a, const T* b, T* c) {
  constexpr int64_t LENGTH = Vector<T>::LENGTH;
  int64_t j = 0;
#ifdef __AVX512F__
  for (; j + 4 * LENGTH <= columns; j += 4 * LENGTH) tiles<T, 6, 4>(rows, depth, a, b + j, columns, c + j, columns);
  for (; j + 2 * LENGTH <= columns; j += 2 * LENGTH) tiles<T, 12, 2>(rows, depth, a, b + j, columns, c + j, columns);
#else
  for (; j + 2 * LENGTH <= columns; j += 2 * LENGTH) tiles<T, 6, 2>(rows, depth, a, b + j, columns, c + j, columns);
#endif
  for (; j < columns; j += LENGTH) tiles<T, 12, 1>(rows, depth, a, b + j, columns, c + j, columns);
}

template <class T> void product(int64_t rows, int64_t columns, int64_t depth, View<T> a, const T* b, T* c) {
  memset(c, 0, rows * columns * sizeof(T));
  add_product(rows, columns, depth, a, b, c);
}

// --- One window of one head ----------------------------------------------------------------------------------------------

// What is added to the score of a column that is none: e to that power is nothing.
constexpr float NO_COLUMN = -INFINITY;

// T is what is computed with, S the narrow type.
template <class T, class S> struct Window {
  Window(const Grid2d& grid, int64_t head, const void* bias, void* scratch)
      : grid(grid), area(grid.area()), width(grid.width), long_area(whole_vectors(area)), long_width(whole_vectors(width)),
        head(head), scale(1 / root((T)width)) {
    memset(scratch, 0, scratch_numbers(grid) * sizeof(T));  // also what lies beyond the ends of rows
    free_numbers = (T*)scratch;
    T** const of_tokens[] = {&q, &k, &v, &dout, &found};
    T** const of_scores[] = {&biases, &weights, &dweights, &dbias};
    T** const turned[] = {&k_transposed, &v_transposed};
    for (T** matrix : of_tokens) *matrix = take(area * long_width);
    for (T** matrix : of_scores) *matrix = take(area * long_area);
    for (T** matrix : turned) *matrix = take(long_width * long_area);
    static_assert(sizeof(T) >= sizeof(int32_t), "places lie where numbers do");
    places = (int32_t*)take(long_area);
    const T* own = (const T*)bias + head * area * area;
    for (int64_t i = 0; i < area; ++i)
      for (int64_t j = 0; j < long_area; ++j) biases[i * long_area + j] = j < area ? own[i * area + j] : (T)NO_COLUMN;
  }

  static float root(float x) { return sqrtf(x); }
  static double root(double x) { return sqrt(x); }

  T* take(int64_t count) {
    T* taken = free_numbers;
    free_numbers += count;
    return taken;
  }

  // Finds the tokens of a window, counted over all images: each at its place in the grid as it was before it was rolled.
  void go_to(int64_t window) {
    int64_t image = window / grid.windows(), across = grid.columns / grid.side;
    within_image = window % grid.windows();
    int64_t top = within_image / across * grid.side + grid.shift, left = within_image % across * grid.side + grid.shift;
    for (int64_t i = 0; i < area; ++i) {
      int64_t row = (top + i / grid.side) % grid.rows, column = (left + i % grid.side) % grid.columns;
      places[i] = (int32_t)(row * grid.columns + column);
    }
    first_token = image * grid.rows * grid.columns;
  }

  // The numbers of a token of the window, where a token has `parts` times all heads.
  template <class P> P* at(P* all, int64_t token, int64_t part, int64_t parts) const {
    return all + ((first_token + places[token]) * parts + part) * grid.heads * width + head * width;
  }

  void read(const S* all, int64_t part, int64_t parts, T factor, T* to) const {
    for (int64_t i = 0; i < area; ++i) {
      const S* __restrict__ from = at(all, i, part, parts);
      T* __restrict__ row = to + i * long_width;
      for (int64_t c = 0; c < width; ++c) row[c] = widen(from[c]) * factor;
    }
  }

  void transpose(const T* from, T* to) const {
    for (int64_t i = 0; i < area; ++i)
      for (int64_t c = 0; c < width; ++c) to[c * long_area + i] = from[i * long_width + c];
  }

  void write(const T* from, S* all, int64_t part, int64_t parts, T factor) const {
    for (int64_t i = 0; i < area; ++i) {
      const T* __restrict__ row = from + i * long_width;
      S* __restrict__ to = at(all, i, part, parts);
      for (int64_t c = 0; c < width; ++c) narrow(row[c] * factor, to[c]);
    }
  }

  View<T> tokens(const T* numbers) const { return {numbers, long_width, 1}; }
  View<T> scores(const T* numbers) const { return {numbers, long_area, 1}; }

  // weights = q·kᵀ + bias + mask; q is scaled already.
  void find_scores(const T* mask) {
    memcpy(weights, biases, area * long_area * sizeof(T));
    if (mask) {
      mask += within_image * area * area;
      for (int64_t i = 0; i < area; ++i)
        for (int64_t j = 0; j < area; ++j) weights[i * long_area + j] += mask[i * area + j];
    }
    add_product(area, long_area, width, tokens(q), k_transposed, weights);
  }

  const Grid2d& grid;
  int64_t area, width, long_area, long_width, head;
  T scale;
  T *free_numbers, *q, *k, *v, *dout, *found, *k_transposed, *v_transposed, *biases, *weights, *dweights, *dbias;
  int32_t* places;
  int64_t within_image = 0, first_token = 0;
};

// e^x of x ≤ 0, and NaN of NaN. What is nothing beside the 1 that is among them is 0: a product with it might be a denormal number,
// for which processors take a hundred times as long.
INLINED float power(float x) {
  float e = exp_of(x);
  return x != x ? x : x < -60.0f ? 0.0f : e;
}
INLINED double power(double x) {
  double e = exp_of(x);
  return x != x ? x : x < -600.0 ? 0.0 : e;
}

// The largest (the sum) of what `term` makes of 0 to `length`, a multiple of LANES.
template <class T, class Term> INLINED T largest(int64_t length, Term term) {
  T lanes[LANES];
  for (int lane = 0; lane < LANES; ++lane) lanes[lane] = term(lane);
  for (int64_t i = LANES; i < length; i += LANES)
    for (int lane = 0; lane < LANES; ++lane) lanes[lane] = term(i + lane) > lanes[lane] ? term(i + lane) : lanes[lane];
  T most = lanes[0];
  for (int lane = 1; lane < LANES; ++lane) most = lanes[lane] > most ? lanes[lane] : most;
  return most;
}
template <class T, class Term> INLINED T sum(int64_t length, Term term) {
  T lanes[LANES] = {};
  for (int64_t i = 0; i < length; i += LANES)
    for (int lane = 0; lane < LANES; ++lane) lanes[lane] += term(i + lane);
  T all = 0;
  for (int lane = 0; lane < LANES; ++lane) all += lanes[lane];
  return all;
}

template <class T, class S> void forward(const AttentionForward& of, const Grid2d& grid, WindowRange range, void* scratch) {
  Window<T, S> window(grid, range.head, of.bias, scratch);
  const int64_t area = window.area, length = window.long_area;
  for (int64_t index = range.first; index < range.last; ++index) {
    window.go_to(index);
    window.read((const S*)of.qkv, 0, 3, window.scale, window.q);
    window.read((const S*)of.qkv, 1, 3, 1, window.k);
    window.read((const S*)of.qkv, 2, 3, 1, window.v);
    window.transpose(window.k, window.k_transposed);
    window.find_scores((const T*)of.mask);
    T* statistics = (T*)of.statistics + (range.head * grid.all_windows() + index) * area * 2;
    for (int64_t i = 0; i < area; ++i) {
      T* __restrict__ row = window.weights + i * length;
      T most = largest<T>(length, [&](int64_t j) { return row[j]; });
      for (int64_t j = 0; j < length; ++j) row[j] = power(row[j] - most);
      T share = 1 / sum<T>(length, [&](int64_t j) { return row[j]; });
      for (int64_t j = 0; j < length; ++j) row[j] *= share;
      statistics[2 * i] = most;
      statistics[2 * i + 1] = share;
    }
    product(area, window.long_width, area, window.scores(window.weights), window.v, window.found);
    window.write(window.found, (S*)of.out, 0, 1, 1);
  }
}

template <class T, class S> void backward(const AttentionBackward& of, const Grid2d& grid, WindowRange range, void* scratch) {
  Window<T, S> window(grid, range.head, of.bias, scratch);
  const int64_t area = window.area, length = window.long_area, width = window.long_width;
  for (int64_t index = range.first; index < range.last; ++index) {
    window.go_to(index);
    window.read((const S*)of.qkv, 0, 3, window.scale, window.q);
    window.read((const S*)of.qkv, 1, 3, 1, window.k);
    window.read((const S*)of.qkv, 2, 3, 1, window.v);
    window.read((const S*)of.dout, 0, 1, 1, window.dout);
    window.transpose(window.k, window.k_transposed);
    window.transpose(window.v, window.v_transposed);
    window.find_scores((const T*)of.mask);
    const T* statistics = (const T*)of.statistics + (range.head * grid.all_windows() + index) * area * 2;
    for (int64_t i = 0; i < area; ++i) {
      T* __restrict__ row = window.weights + i * length;
      for (int64_t j = 0; j < length; ++j) row[j] = power(row[j] - statistics[2 * i]) * statistics[2 * i + 1];
    }
    auto weights = window.scores(window.weights);
    product(area, width, area, weights.transposed(), window.dout, window.found);
    window.write(window.found, (S*)of.dqkv, 2, 3, 1);
    product(area, length, window.width, window.tokens(window.dout), window.v_transposed, window.dweights);
    for (int64_t i = 0; i < area; ++i) {
      const T* __restrict__ p = window.weights + i * length;
      T* __restrict__ dp = window.dweights + i * length;
      T* __restrict__ dbias = window.dbias + i * length;
      T along = sum<T>(length, [&](int64_t j) { return p[j] * dp[j]; });
      for (int64_t j = 0; j < length; ++j) {
        dp[j] = p[j] * (dp[j] - along);  // of the score
        dbias[j] += dp[j];
      }
    }
    auto dscores = window.scores(window.dweights);
    product(area, width, area, dscores, window.k, window.found);
    window.write(window.found, (S*)of.dqkv, 0, 3, window.scale);
    product(area, width, area, dscores.transposed(), window.q, window.found);
    window.write(window.found, (S*)of.dqkv, 1, 3, 1);
  }
  for (int64_t i = 0; i < area; ++i) memcpy((T*)of.dbias + i * area, window.dbias + i * length, area * sizeof(T));
}

#define OF_STORAGES(pass) {pass<float, float>, pass<double, double>, pass<float, Bf16>, pass<float, F16>}

}  // namespace

extern const AttentionLoops attention_loops;
const AttentionLoops attention_loops = {OF_STORAGES(forward), OF_STORAGES(backward)};

}  // namespace LEVEL
}  // namespace rectify
