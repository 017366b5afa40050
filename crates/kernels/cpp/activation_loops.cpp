// Every formula over chunks of numbers, written so that the compiler vectorises it for LEVEL.
//
// Nothing of the standard library that might be merged with a copy for another level may come in here but plain C functions.

#include "activation_loops.h"

#include <math.h>
#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

#include "numbers.h"

namespace rectify {
namespace LEVEL {
namespace {

constexpr int CHUNK = 256;

// --- Exponentials --------------------------------------------------------------------------------------------------------

// 2^r · 2^whole for r in [−½, ½], the whole number being in the low bits of `shifted`; the polynomial was fitted, relative
// error 2e-9.
inline float scaled_exp2(float r, float shifted) {
  int32_t whole;
  memcpy(&whole, &shifted, 4);
  float p = 1.534580788e-04f;
  p = p * r + 1.339993196e-03f;
  p = p * r + 9.618488979e-03f;
  p = p * r + 5.550328775e-02f;
  p = p * r + 2.402264689e-01f;
  p = p * r + 6.931472057e-01f;
  p = p * r + 1.0f;
  int32_t bits;
  memcpy(&bits, &p, 4);
  bits += (int32_t)((uint32_t)whole << 23);
  memcpy(&p, &bits, 4);
  return p;
}

constexpr float TO_WHOLE = 12582912.0f;  // 1.5 · 2²³: added to a number, it leaves the nearest whole one in the low bits
constexpr float LOG2_E = 1.44269504f;

// e^x for x from −87 to 88; what is less or more counts as those.
inline float exp_of(float x) {
  x = x < -87.0f ? -87.0f : x;
  x = x > 88.0f ? 88.0f : x;
  float shifted = x * LOG2_E + TO_WHOLE;
  float whole = shifted - TO_WHOLE;
  float rest = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;  // ln 2 in two parts, the first of few digits
  return scaled_exp2(rest * LOG2_E, shifted);
}
inline double exp_of(double x) { return exp(x); }

// x where e^(−x²/2) is a number of f32 (f64), and 0 beyond, where x·e^(−x²/2) and its derivatives are nothing.
inline float near(float x) { return fabsf(x) > 13.2f ? 0.0f : x; }
inline double near(double x) { return fabs(x) > 38.0 ? 0.0 : x; }

inline float gauss(float x) {
  float t = -0.72134752f * x * x;  // in powers of two, at least −126
  float shifted = t + TO_WHOLE;
  return scaled_exp2(t - (shifted - TO_WHOLE), shifted);
}
inline double gauss(double x) { return exp(-0.5 * x * x); }

// Φ(x), given e^(−x²/2): ½·erfc(|x|/√2) is that times a polynomial in 1 / (1 + |x|/4), fitted on [0, 13.2], relative error 1e-8.
inline float normal_cdf(float x, float bell) {
  float t = 1.0f / (1.0f + 0.25f * fabsf(x));
  float p = 3.479983664e-02f;
  p = p * t - 2.007929727e-01f;
  p = p * t + 4.058288547e-01f;
  p = p * t - 3.479005169e-01f;
  p = p * t + 3.165124855e-01f;
  p = p * t - 2.687203968e-02f;
  p = p * t + 1.238313989e-01f;
  p = p * t + 9.432835269e-02f;
  p = p * t + 1.002893852e-01f;
  p = p * t - 2.478992913e-05f;
  float tail = p * bell;
  return x > 0.0f ? 1.0f - tail : tail;
}
inline double normal_cdf(double x, double) { return 0.5 * erfc(-x * 0.70710678118654752440); }

template <class T> inline T relu(T x) { return x <= 0 ? (T)0 : x; }
template <class T> inline T step(T x) { return x > 0 ? (T)1 : x <= 0 ? (T)0 : x; }
template <class T> inline T at_most(T x, T limit) { return x > limit ? limit : x; }
template <class T> inline T at_least(T x, T limit) { return x < limit ? limit : x; }

// --- Formulas: as in crates/activations, NaN to NaN and limits at ±∞ -------------------------------------------------------

struct Relu {
  template <class T> static T value(T x, const T*) { return relu(x); }
  template <class T> static T slope(T x, const T*, T*) { return step(x); }
  static constexpr int PARAMETERS = 0;
};

struct PRelu {
  template <class T> static T value(T x, const T* p) {
    T below = p[0] * x;
    return x > 0 ? x : below;
  }
  template <class T> static T slope(T x, const T* p, T* dp) {
    T at = p[0];
    dp[0] = x > 0 ? (T)0 : x;
    at = x > 0 ? (T)1 : at;
    return x == x ? at : x;
  }
  static constexpr int PARAMETERS = 1;
};

struct Gelu {
  template <class T> static T value(T x, const T*) {
    T within = near(x);
    T inside = within * normal_cdf(within, gauss(within));
    return within == x || x != x ? inside : relu(x);
  }
  template <class T> static T slope(T x, const T*, T*) {
    T within = near(x), bell = gauss(within);
    T inside = normal_cdf(within, bell) + within * bell * (T)0.39894228040143267794;
    return within == x || x != x ? inside : step(x);
  }
  static constexpr int PARAMETERS = 0;
};

inline float edge(float) { return 87.0f; }
inline double edge(double) { return 700.0; }

struct Silu {
  template <class T> static T value(T x, const T*) {
    T sigmoid = 1 / (1 + exp_of(-at_least(x, -edge(x))));
    T low = at_least(x, -edge(x));
    return (x > 0 ? x : low) * sigmoid;
  }
  template <class T> static T slope(T x, const T*, T*) {
    T within = at_most(at_least(x, -edge(x)), edge(x));
    T sigmoid = 1 / (1 + exp_of(-within));
    return x != x ? x : sigmoid + within * sigmoid * (1 - sigmoid);
  }
  static constexpr int PARAMETERS = 0;
};

// tanh(ln(1 + e)) is n / (n + 2) with n = e·(e + 2).
struct Mish {
  template <class T> static T value(T x, const T*) {
    T low = at_least(x, -edge(x));
    T e = exp_of(at_most(low, (T)40)), n = e * (e + 2);
    return (x > 0 ? x : low) * (x != x ? x : n / (n + 2));
  }
  template <class T> static T slope(T x, const T*, T*) {
    T within = at_most(at_least(x, -edge(x)), (T)20);
    T e = exp_of(within), n = e * (e + 2), w = n / (n + 2);
    T inside = w + within * (4 * (n + 1) / ((n + 2) * (n + 2))) * (e / (1 + e));
    return x != x ? x : inside;
  }
  static constexpr int PARAMETERS = 0;
};

struct StarRelu {
  template <class T> static T value(T x, const T* p) { return p[0] * relu(x) * relu(x) + p[1]; }
  template <class T> static T slope(T x, const T* p, T* dp) {
    dp[0] = relu(x) * relu(x);
    dp[1] = x == x ? (T)1 : x;
    return 2 * p[0] * relu(x);
  }
  static constexpr int PARAMETERS = 2;
};

// Base(x) + ε·x·e^(−x²/2).
template <class Base> struct Corrected {
  template <class T> static T value(T x, const T* p) {
    T within = near(x);
    return Base::value(x, p) + p[0] * (within * gauss(within));
  }
  template <class T> static T slope(T x, const T* p, T* dp) {
    T within = near(x), bell = gauss(within);
    bool far = within != x;
    T dbump = (1 - within * within) * bell;
    dbump = far && x == x ? (T)0 : dbump;
    T slope = Base::slope(x, p, dp) + p[0] * dbump;
    dp[0] = within * bell;
    return slope;
  }
  static constexpr int PARAMETERS = 1;
};
using CrRelu = Corrected<Relu>;
using CrGelu = Corrected<Gelu>;
using CrSilu = Corrected<Silu>;
using CrMish = Corrected<Mish>;

// As activations::Table: a cubic in each cell, straight beyond the ends, where x may be infinite.
struct Tabulated {
  template <class T> struct At {
    At(T x, const T* table) {
      T cells = table[2], along = (x - table[0]) * table[1];
      T cell = along >= 0 ? along : (T)-1;  // of a NaN, that before the first
      cell = cell < cells ? cell : cells;
      int32_t whole = (int32_t)(cell + 1) - 1;  // towards −∞, as cell ≥ −1
      c = table + TABLE_HEAD + 4 * (whole + 1);
      within = whole >= 0 && whole < (int32_t)cells;
      t = within ? along - (T)whole : (T)0;
      beyond = x - (whole < 0 ? table[0] : table[3]);
    }
    const T* c;
    T t, beyond;
    bool within;
  };
  template <class T> static T value(T x, const T* table) {
    At<T> at(x, table);
    T c0 = at.c[0], c1 = at.c[1], t = at.t;
    T line = c1 != 0 ? c1 * table[1] * at.beyond : (T)0;
    T cubic = t * (c1 + t * (at.c[2] + t * at.c[3]));
    T y = c0 + (at.within ? cubic : line);
    return x != x ? x : y;
  }
  template <class T> static T slope(T x, const T* table, T*) {
    At<T> at(x, table);
    T slope = table[1] * (at.c[1] + at.t * (2 * at.c[2] + at.t * (3 * at.c[3])));
    return x != x ? x : slope;
  }
  static constexpr int PARAMETERS = 0;
};

// What a correction is at one of the numbers that were looked up.
template <class T> struct Looked {
  T epsilon, value, slope;
};

// Base(x) + ε·correction(x).
template <class Base> struct Adjusted {
  template <class T> static T value(T x, Looked<T> looked) {
    return Base::value(x, (const T*)nullptr) + looked.epsilon * looked.value;
  }
  template <class T> static T slope(T x, Looked<T> looked, T* dp) {
    T slope = Base::slope(x, (const T*)nullptr, dp) + looked.epsilon * looked.slope;
    dp[0] = looked.value;
    return slope;
  }
  static constexpr int PARAMETERS = 1;
};

// Values and slopes of a correction at `length` ≤ CHUNK numbers; of a NaN those at the first node.
template <class T> inline void look_up(const T* x, int length, const T* table, T* values, T* slopes) {
  const T *c0 = table + CORRECTION_HEAD, *c1 = c0 + CELLS, *c2 = c1 + CELLS, *c3 = c2 + CELLS;
  for (int i = 0; i < length; ++i) {
    T along = (x[i] - table[0]) * table[1];
    along = along > 0 ? along : (T)0;
    along = along < CELLS ? along : (T)CELLS;
    int32_t cell = (int32_t)along;
    cell = cell < CELLS ? cell : CELLS - 1;
    T t = along - (T)cell;
    values[i] = c0[cell] + t * (c1[cell] + t * (c2[cell] + t * c3[cell]));
    slopes[i] = table[1] * (c1[cell] + t * (2 * c2[cell] + t * (3 * c3[cell])));
  }
}

#ifdef __AVX512F__
// A correction's 32 numbers of one kind are two registers, and a permutation of both looks up sixteen at once: several times as
// fast as loads from sixteen places.
inline void look_up(const float* x, int length, const float* table, float* values, float* slopes) {
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
template <class S, class T> inline void sum_with(const S* __restrict__ in, const T* __restrict__ add, int length, T* before) {
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

// Adds up numbers in an order of its own, the same for every level.
template <class T> inline double sum(const T* numbers, int length) {
  T lanes[LANES] = {};
  int i = 0;
  for (; i + LANES <= length; i += LANES)
    for (int lane = 0; lane < LANES; ++lane) lanes[lane] += numbers[i + lane];
  double total = 0;
  for (; i < length; ++i) total += numbers[i];
  for (int lane = 0; lane < LANES; ++lane) total += lanes[lane];
  return total;
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
  in_chunks(range, [&](int64_t start, int length, int64_t column) {
    T before[CHUNK], gradient[CHUNK], of_parameter[MAX_PARAMETERS][CHUNK];
    const S* __restrict__ in = x + start;
    const S* __restrict__ from = dy + start;
    S* __restrict__ out = dx + start;
    sum_with(in, bias ? bias + column : nullptr, length, before);
    given.prepare(before, length);
    for (int i = 0; i < length; ++i) {
      T dp[MAX_PARAMETERS] = {};
      T above = widen(from[i]);
      gradient[i] = above * F::template slope<T>(before[i], given.at(i), dp);
      if (F::PARAMETERS > 0) of_parameter[0][i] = above * dp[0];
      if (F::PARAMETERS > 1) of_parameter[1][i] = above * dp[1];
    }
    for (int i = 0; i < length; ++i) narrow(gradient[i], out[i]);
    for (int k = 0; k < F::PARAMETERS; ++k) dparameters[k] += sum(of_parameter[k], length);
    if (dbias) {
      T* __restrict__ add = dbias + column;
      for (int i = 0; i < length; ++i) add[i] += gradient[i];
    }
  });
}

#define OF_STORAGES(pass, F) {pass<F, float, float>, pass<F, double, double>, pass<F, Bf16, float>, pass<F, _Float16, float>}
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
