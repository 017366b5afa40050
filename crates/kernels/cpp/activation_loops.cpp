// Every formula over chunks of numbers, written so that the compiler vectorises it for LEVEL.
//
// Nothing of the standard library that might be merged with a copy for another level may come in here but plain C functions.

#include "activation_loops.h"

#ifdef __AVX512F__
#include <immintrin.h>
#endif

#include "formulas.h"
#include "numbers.h"

namespace rectify {
namespace LEVEL {
namespace {

constexpr int CHUNK = 256;

// A store waits until its cache line is this core's, and stores leave in order: a loop of little arithmetic spends most of its time
// on that. So lines are asked for this long before, which is within reach of the nearest cache.
constexpr int64_t AHEAD_BYTES = 2048;

// Asks for the lines of the `count` numbers that lie AHEAD_BYTES after `out`; beyond the end of the memory this is harmless.
template <class S> INLINED void claim_ahead(S* out, int count) {
  char* ahead = (char*)out + AHEAD_BYTES;
  for (int64_t at = 0; at < count * (int64_t)sizeof(S); at += 64) __builtin_prefetch(ahead + at, /*for writing*/ 1);
}

// What is called once a chunk has its own code, so that there is less of it.
#define APART __attribute__((noinline))

// The same at `length` ≤ CHUNK numbers.
template <class T> inline void look_up(const T* x, int length, const T* table, T* values, T* slopes) {
  for (int i = 0; i < length; ++i) look_up(x[i], table, values[i], slopes[i]);
}

#ifdef __AVX512F__
// A correction's 32 numbers of one kind are two registers, and a permutation of both looks up sixteen at once: several times as
// fast as loads from sixteen places.
APART void look_up(const float* x, int length, const float* table, float* values, float* slopes) {
  static_assert(CELLS == 32, "two registers");
  __m512 low[4], high[4];
  for (int k = 0; k < 4; ++k) {
    low[k] = _mm512_loadu_ps(table + CORRECTION_HEAD + k * CELLS);
    high[k] = _mm512_loadu_ps(table + CORRECTION_HEAD + k * CELLS + 16);
  }
  const __m512 x0 = _mm512_set1_ps(table[0]), per_step = _mm512_set1_ps(table[1]);
  const __m512 two = _mm512_set1_ps(2), three = _mm512_set1_ps(3);
  for (int i = 0; i < length; i += 16) {
    const __mmask16 some = length - i >= 16 ? 0xffff : (__mmask16)((1 << (length - i)) - 1);
    __m512 along = _mm512_mul_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(some, x + i), x0), per_step);
    // The maximum of a NaN and 0 is the second.
    along = _mm512_min_ps(_mm512_max_ps(along, _mm512_setzero_ps()), _mm512_set1_ps(CELLS));
    const __m512i cell = _mm512_min_epi32(_mm512_cvttps_epi32(along), _mm512_set1_epi32(CELLS - 1));
    const __m512 t = _mm512_sub_ps(along, _mm512_cvtepi32_ps(cell));
    __m512 c[4];
    for (int k = 0; k < 4; ++k) c[k] = _mm512_permutex2var_ps(low[k], cell, high[k]);
    const __m512 value = _mm512_fmadd_ps(t, _mm512_fmadd_ps(t, _mm512_fmadd_ps(t, c[3], c[2]), c[1]), c[0]);
    const __m512 bend = _mm512_fmadd_ps(t, _mm512_mul_ps(three, c[3]), _mm512_mul_ps(two, c[2]));
    const __m512 slope = _mm512_mul_ps(per_step, _mm512_fmadd_ps(t, bend, c[1]));
    _mm512_mask_storeu_ps(values + i, some, value);
    _mm512_mask_storeu_ps(slopes + i, some, slope);
  }
}
#endif

// The parameters of a formula at hand: copies of a few, a whole table where it lies, or what was looked up in a correction.
template <class F, class T> struct Given {
  explicit Given(const void* parameters) : p{((const T*)parameters)[0], ((const T*)parameters)[1]} {}
  void prepare(const T*, int) {}
  const T* at(int) const { return p; }
  static constexpr bool PREPARES = false;
  const T p[MAX_PARAMETERS];
};
template <class T> struct Given<Tabulated, T> {
  explicit Given(const void* parameters) : table((const T*)parameters) {}
  void prepare(const T*, int) {}
  const T* at(int) const { return table; }
  static constexpr bool PREPARES = false;
  const T* table;
};
template <class Base, class T> struct Given<Adjusted<Base>, T> {
  explicit Given(const void* parameters) : table((const T*)parameters), epsilon(table[CORRECTION_EPSILON]) {}
  void prepare(const T* x, int length) { look_up(x, length, table, values, slopes); }
  Looked<T> at(int i) const { return {epsilon, values[i], slopes[i]}; }
  static constexpr bool PREPARES = true;
  const T* table;
  const T epsilon;
  T values[CHUNK], slopes[CHUNK];
};

// --- Loops ---------------------------------------------------------------------------------------------------------------

// Calls `work(start, length, column)` for pieces of the range of at most CHUNK elements that lie in one row.
template <class Work> inline void in_chunks(Range range, Work work) {
  int64_t column = range.begin % range.columns;
  for (int64_t start = range.begin; start < range.end;) {
    int64_t length = range.end - start;
    if (length > CHUNK) length = CHUNK;
    if (length > range.columns - column) length = range.columns - column;
    work(start, (int)length, column);
    start += length;
    column += length;
    if (column == range.columns) column = 0;
  }
}

// before = in + add, where `add` is not null.
template <class S, class T> APART void sum_with(const S* __restrict__ in, const T* __restrict__ add, int length, T* before) {
  if (add) {
    for (int i = 0; i < length; ++i) before[i] = widen(in[i]) + add[i];
  } else {
    for (int i = 0; i < length; ++i) before[i] = widen(in[i]);
  }
}

template <class F, class S, class T>
void forward(const void* x_, const void* bias_, void* y_, Range range, const void* parameters) {
  const S* x = (const S*)x_;
  const T* bias = (const T*)bias_;
  S* y = (S*)y_;
  Given<F, T> given(parameters);
  in_chunks(range, [&](int64_t start, int length, int64_t column) {
    const S* __restrict__ in = x + start;
    S* __restrict__ out = y + start;
    claim_ahead(out, length);
    if constexpr (Given<F, T>::PREPARES) {
      T before[CHUNK];
      sum_with(in, bias ? bias + column : nullptr, length, before);
      given.prepare(before, length);
      for (int i = 0; i < length; ++i) narrow(F::template value<T>(before[i], given.at(i)), out[i]);
    } else if (bias) {
      const T* __restrict__ add = bias + column;
      for (int i = 0; i < length; ++i) narrow(F::template value<T>(widen(in[i]) + add[i], given.at(i)), out[i]);
    } else {
      for (int i = 0; i < length; ++i) narrow(F::template value<T>(widen(in[i]), given.at(i)), out[i]);
    }
  });
}

// Adds up numbers, in f64 from one call to the next, in an order of its own that is the same for every level.
template <class T> class Sum {
 public:
  APART void add(const T* numbers, int length) {
    T parts[PARTS] = {};
    int i = 0;
    for (; i + PARTS <= length; i += PARTS)
      for (int part = 0; part < PARTS; ++part) parts[part] += numbers[i + part];
    for (int part = 0; i < length; ++i, ++part) parts[part] += numbers[i];
    for (int lane = 0; lane < LANES; ++lane)
      lanes[lane] += (parts[lane] + parts[lane + LANES]) + (parts[lane + 2 * LANES] + parts[lane + 3 * LANES]);
  }
  double total() const {
    double all = 0;
    for (double lane : lanes) all += lane;
    return all;
  }

 private:
  static constexpr int PARTS = 4 * LANES;  // so many that additions need not wait for each other
  double lanes[LANES] = {};
};

// dx of a chunk, added to `of_columns` as well where that is not null, and the parts of the parameters' gradients.
template <class F, class S, class T, class Before>
INLINED void chunk_backward(Before before, const S* __restrict__ from, const Given<F, T>& given, int length, S* __restrict__ out,
                            T* __restrict__ of_columns, T* __restrict__ of_first, T* __restrict__ of_second) {
  for (int i = 0; i < length; ++i) {
    T dp[MAX_PARAMETERS] = {};
    T above = widen(from[i]);
    T gradient = above * F::template slope<T>(before(i), given.at(i), dp);
    narrow(gradient, out[i]);
    if (of_columns) of_columns[i] += gradient;
    if (F::PARAMETERS > 0) of_first[i] = above * dp[0];
    if (F::PARAMETERS > 1) of_second[i] = above * dp[1];
  }
}

template <class F, class S, class T>
void backward(const void* x_, const void* bias_, const void* dy_, void* dx_, Range range, const void* parameters,
              double* dparameters, void* dbias_) {
  const S* x = (const S*)x_;
  const S* dy = (const S*)dy_;
  const T* bias = (const T*)bias_;
  S* dx = (S*)dx_;
  T* dbias = (T*)dbias_;
  Given<F, T> given(parameters);
  Sum<T> sums[MAX_PARAMETERS];
  in_chunks(range, [&](int64_t start, int length, int64_t column) {
    T of_parameter[MAX_PARAMETERS][CHUNK];
    const S* __restrict__ in = x + start;
    const S* from = dy + start;
    S* out = dx + start;
    claim_ahead(out, length);
    if (bias || Given<F, T>::PREPARES) {
      T before[CHUNK];
      sum_with(in, bias ? bias + column : nullptr, length, before);
      given.prepare(before, length);
      auto summed = [&before](int i) { return before[i]; };
      chunk_backward<F, S, T>(summed, from, given, length, out, dbias ? dbias + column : nullptr, of_parameter[0],
                              of_parameter[1]);
    } else {
      auto widened = [in](int i) { return widen(in[i]); };
      chunk_backward<F, S, T>(widened, from, given, length, out, (T*)nullptr, of_parameter[0], of_parameter[1]);
    }
    for (int k = 0; k < F::PARAMETERS; ++k) sums[k].add(of_parameter[k], length);
  });
  for (int k = 0; k < F::PARAMETERS; ++k) dparameters[k] += sums[k].total();
}

#define OF_STORAGES(pass, F) {pass<F, float, float>, pass<F, double, double>, pass<F, Bf16, float>, pass<F, F16, float>}
#define OF_FORMULAS(pass)                                                                                          \
  {                                                                                                                \
    OF_STORAGES(pass, Relu), OF_STORAGES(pass, CrRelu), OF_STORAGES(pass, PRelu), OF_STORAGES(pass, Gelu),         \
        OF_STORAGES(pass, Silu), OF_STORAGES(pass, Mish), OF_STORAGES(pass, StarRelu), OF_STORAGES(pass, CrGelu),  \
        OF_STORAGES(pass, CrSilu), OF_STORAGES(pass, CrMish), OF_STORAGES(pass, Tabulated),                        \
        OF_STORAGES(pass, Adjusted<Relu>), OF_STORAGES(pass, Adjusted<Gelu>),                            \
        OF_STORAGES(pass, Adjusted<Silu>), OF_STORAGES(pass, Adjusted<Mish>)                             \
  }

}  // namespace

extern const ActivationLoops activation_loops;
const ActivationLoops activation_loops = {OF_FORMULAS(forward), OF_FORMULAS(backward)};

}  // namespace LEVEL
}  // namespace rectify
