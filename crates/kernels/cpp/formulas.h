// The formulas, each written once: for the loops on a CPU, compiled for each LEVEL, and for the kernels on a GPU.
//
// Nothing of the standard library that might be merged with a copy for another level may come in here but plain C functions.
#pragma once

#include "catalogue.h"
#include "plain_c.h"

namespace rectify {
namespace LEVEL {
namespace {

// --- Exponentials --------------------------------------------------------------------------------------------------------

#ifdef __CUDACC_RTC__
// What a GPU has an instruction for, which is a fraction of the arithmetic: 2^r to 2 units in the last place, likewise a / b
// for b below 2^126, and all divisors here are.
INLINED float scaled_exp2(float r, float shifted) {
  float p, scale;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(p) : "f"(r));
  int32_t bits;
  memcpy(&bits, &shifted, 4);
  bits = (int32_t)((uint32_t)(bits + 127) << 23);
  memcpy(&scale, &bits, 4);
  return p * scale;
}
INLINED float ratio(float a, float b) { return __fdividef(a, b); }
#else
// 2^r · 2^whole for r in [−½, ½], the whole number being in the low bits of `shifted`; the polynomial was fitted, relative
// error 2e-9.
INLINED float scaled_exp2(float r, float shifted) {
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
INLINED float ratio(float a, float b) { return a / b; }
#endif
INLINED double ratio(double a, double b) { return a / b; }

constexpr float TO_WHOLE = 12582912.0f;  // 1.5 · 2²³: added to a number, it leaves the nearest whole one in the low bits
constexpr float LOG2_E = 1.44269504f;

// e^x for x from −87 to 88; what is less or more counts as those.
INLINED float exp_of(float x) {
  x = x < -87.0f ? -87.0f : x;
  x = x > 88.0f ? 88.0f : x;
  float shifted = x * LOG2_E + TO_WHOLE;
  float whole = shifted - TO_WHOLE;
  float rest = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;  // ln 2 in two parts, the first of few digits
  return scaled_exp2(rest * LOG2_E, shifted);
}
INLINED double exp_of(double x) { return exp(x); }

// Whether x lies where e^(−x²/2) is no number of f32 (f64) any more, and x·e^(−x²/2) and its derivatives are nothing.
INLINED bool is_far(float x) { return fabsf(x) > 13.2f; }
INLINED bool is_far(double x) { return fabs(x) > 38.0; }
template <class T> INLINED T near(T x) { return is_far(x) ? (T)0 : x; }

INLINED float gauss(float x) {
  float t = -0.72134752f * x * x;  // in powers of two, at least −126
  float shifted = t + TO_WHOLE;
  return scaled_exp2(t - (shifted - TO_WHOLE), shifted);
}
INLINED double gauss(double x) { return exp(-0.5 * x * x); }

// Φ(x), given e^(−x²/2): ½·erfc(|x|/√2) is that times a polynomial in 1 / (1 + |x|/4), fitted on [0, 13.2], relative error 1e-8.
INLINED float normal_cdf(float x, float bell) {
  float t = ratio(1.0f, 1.0f + 0.25f * fabsf(x));
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
INLINED double normal_cdf(double x, double) { return 0.5 * erfc(-x * 0.70710678118654752440); }

template <class T> INLINED T relu(T x) { return x <= 0 ? (T)0 : x; }
template <class T> INLINED T step(T x) {
  T of_number = x > 0 ? (T)1 : (T)0;
  return x == x ? of_number : x;
}
template <class T> INLINED T at_most(T x, T limit) { return x > limit ? limit : x; }
template <class T> INLINED T at_least(T x, T limit) { return x < limit ? limit : x; }

// --- Formulas: as in crates/activations, NaN to NaN and limits at ±∞ -------------------------------------------------------

struct Relu {
  template <class T> INLINED static T value(T x, const T*) { return relu(x); }
  template <class T> INLINED static T slope(T x, const T*, T*) { return step(x); }
  static constexpr int PARAMETERS = 0;
};

struct PRelu {
  template <class T> INLINED static T value(T x, const T* p) {
    T below = p[0] * x;
    return x > 0 ? x : below;
  }
  template <class T> INLINED static T slope(T x, const T* p, T* dp) {
    T at = p[0];
    dp[0] = x > 0 ? (T)0 : x;
    at = x > 0 ? (T)1 : at;
    return x == x ? at : x;
  }
  static constexpr int PARAMETERS = 1;
};

struct Gelu {
  template <class T> INLINED static T value(T x, const T*) {
    T within = near(x);
    T inside = within * normal_cdf(within, gauss(within));
    return within == x || x != x ? inside : relu(x);
  }
  template <class T> INLINED static T slope(T x, const T*, T*) {
    T within = near(x), bell = gauss(within);
    T inside = normal_cdf(within, bell) + within * bell * (T)0.39894228040143267794;
    return within == x || x != x ? inside : step(x);
  }
  static constexpr int PARAMETERS = 0;
};

INLINED float edge(float) { return 87.0f; }
INLINED double edge(double) { return 700.0; }

struct Silu {
  template <class T> INLINED static T value(T x, const T*) {
    T sigmoid = ratio((T)1, 1 + exp_of(-at_least(x, -edge(x))));
    T low = at_least(x, -edge(x));
    return (x > 0 ? x : low) * sigmoid;
  }
  template <class T> INLINED static T slope(T x, const T*, T*) {
    T within = at_most(at_least(x, -edge(x)), edge(x));
    T sigmoid = ratio((T)1, 1 + exp_of(-within));
    return x != x ? x : sigmoid + within * sigmoid * (1 - sigmoid);
  }
  static constexpr int PARAMETERS = 0;
};

// tanh(ln(1 + e)) is n / (n + 2) with n = e·(e + 2).
struct Mish {
  template <class T> INLINED static T value(T x, const T*) {
    T low = at_least(x, -edge(x));
    T e = exp_of(at_most(low, (T)40)), n = e * (e + 2);
    return (x > 0 ? x : low) * (x != x ? x : ratio(n, n + 2));
  }
  template <class T> INLINED static T slope(T x, const T*, T*) {
    T within = at_most(at_least(x, -edge(x)), (T)20);
    T e = exp_of(within), n = e * (e + 2), w = ratio(n, n + 2);
    T inside = w + within * ratio(4 * (n + 1), (n + 2) * (n + 2)) * ratio(e, 1 + e);
    return x != x ? x : inside;
  }
  static constexpr int PARAMETERS = 0;
};

struct StarRelu {
  template <class T> INLINED static T value(T x, const T* p) { return p[0] * relu(x) * relu(x) + p[1]; }
  template <class T> INLINED static T slope(T x, const T* p, T* dp) {
    dp[0] = relu(x) * relu(x);
    dp[1] = x == x ? (T)1 : x;
    return 2 * p[0] * relu(x);
  }
  static constexpr int PARAMETERS = 2;
};

// Base(x) + ε·x·e^(−x²/2).
template <class Base> struct Corrected {
  template <class T> INLINED static T value(T x, const T* p) {
    T within = near(x);
    return Base::value(x, p) + p[0] * (within * gauss(within));
  }
  template <class T> INLINED static T slope(T x, const T* p, T* dp) {
    T within = near(x), bell = is_far(x) ? (T)0 : gauss(within), bump = within * bell;
    T slope = Base::slope(x, p, dp) + p[0] * (bell - within * bump);
    dp[0] = bump;
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
  template <class T> INLINED static T value(T x, const T* table) {
    At<T> at(x, table);
    T c0 = at.c[0], c1 = at.c[1], t = at.t;
    T line = c1 != 0 ? c1 * table[1] * at.beyond : (T)0;
    T cubic = t * (c1 + t * (at.c[2] + t * at.c[3]));
    T y = c0 + (at.within ? cubic : line);
    return x != x ? x : y;
  }
  template <class T> INLINED static T slope(T x, const T* table, T*) {
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

// Value and slope of a correction at a number; of a NaN those at the first node.
template <class T> INLINED void look_up(T x, const T* table, T& value, T& slope) {
  const T *c0 = table + CORRECTION_HEAD, *c1 = c0 + CELLS, *c2 = c1 + CELLS, *c3 = c2 + CELLS;
  T along = (x - table[0]) * table[1];
  along = along > 0 ? along : (T)0;
  along = along < CELLS ? along : (T)CELLS;
  int32_t cell = (int32_t)along;
  cell = cell < CELLS ? cell : CELLS - 1;
  T t = along - (T)cell;
  value = c0[cell] + t * (c1[cell] + t * (c2[cell] + t * c3[cell]));
  slope = table[1] * (c1[cell] + t * (2 * c2[cell] + t * (3 * c3[cell])));
}

// Base(x) + ε·correction(x).
template <class Base> struct Adjusted {
  template <class T> INLINED static T value(T x, Looked<T> looked) {
    return Base::value(x, (const T*)nullptr) + looked.epsilon * looked.value;
  }
  template <class T> INLINED static T slope(T x, Looked<T> looked, T* dp) {
    T slope = Base::slope(x, (const T*)nullptr, dp) + looked.epsilon * looked.slope;
    dp[0] = looked.value;
    return slope;
  }
  static constexpr int PARAMETERS = 1;
};

}  // namespace
}  // namespace LEVEL
}  // namespace rectify
