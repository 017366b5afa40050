// Adding a branch and normalising, row by row: a row stays in the nearest cache between its passes.
//
// As in activation_loops.cpp, nothing of the standard library may come in here but plain C functions.

#include "norm_loops.h"

#include "numbers.h"

namespace rectify {
namespace LEVEL {
namespace {

inline float root(float x) { return sqrtf(x); }
inline double root(double x) { return sqrt(x); }

// The sum of term(0), …, in an order that depends on the length alone.
template <class T, class Term> inline T total(int64_t length, Term term) {
  T lanes[LANES] = {};
  int64_t i = 0;
  for (; i + LANES <= length; i += LANES)
    for (int lane = 0; lane < LANES; ++lane) lanes[lane] += term(i + lane);
  T sum = 0;
  for (; i < length; ++i) sum += term(i);
  for (int lane = 0; lane < LANES; ++lane) sum += lanes[lane];
  return sum;
}

// The factors of a row's branch: scale[i] · mask.
template <class T> struct Factors {
  Factors(const void* scale, const void* mask, Rows rows, int64_t row)
      : scale((const T*)scale), mask(mask ? ((const T*)mask)[row / rows.rows_of_mask] : (T)1) {}
  const T* scale;
  T mask;
};

// T is the type of x, S the narrow one.
template <class T, class S> void forward(const NormForward& of, Rows rows) {
  const int64_t n = rows.columns;
  const T* __restrict__ weight = (const T*)of.weight;
  const T* __restrict__ bias = (const T*)of.bias;
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const T* x = (const T*)of.x + row * n;
    if (of.branch) {
      Factors<T> factors(of.scale, of.mask, rows, row);
      const S* __restrict__ branch = (const S*)of.branch + row * n;
      T* __restrict__ sum = (T*)of.sum + row * n;
      if (factors.scale)
        for (int64_t i = 0; i < n; ++i) sum[i] = x[i] + widen(branch[i]) * (factors.scale[i] * factors.mask);
      else
        for (int64_t i = 0; i < n; ++i) sum[i] = x[i] + widen(branch[i]) * factors.mask;
      x = sum;
    }
    T mean = total<T>(n, [&](int64_t i) { return x[i]; }) / n;
    T variance = total<T>(n, [&](int64_t i) { return (x[i] - mean) * (x[i] - mean); }) / n;
    T rstd = 1 / root(variance + (T)of.eps);
    S* __restrict__ y = (S*)of.y + row * n;
    for (int64_t i = 0; i < n; ++i) narrow((x[i] - mean) * rstd * weight[i] + bias[i], y[i]);
    ((T*)of.statistics)[2 * row] = mean;
    ((T*)of.statistics)[2 * row + 1] = rstd;
  }
}

template <class T, class S> void backward(const NormBackward& of, Rows rows) {
  const int64_t n = rows.columns;
  const T* __restrict__ weight = (const T*)of.weight;
  T* __restrict__ dweight = (T*)of.dweight;
  T* __restrict__ dbias = (T*)of.dbias;
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const T* __restrict__ x = (const T*)of.sum + row * n;
    const S* __restrict__ dy = (const S*)of.dy + row * n;
    T* __restrict__ dx = (T*)of.dx + row * n;
    T mean = ((const T*)of.statistics)[2 * row], rstd = ((const T*)of.statistics)[2 * row + 1];
    T along = total<T>(n, [&](int64_t i) { return widen(dy[i]) * weight[i]; }) / n;
    T across = total<T>(n, [&](int64_t i) { return widen(dy[i]) * weight[i] * ((x[i] - mean) * rstd); }) / n;
    for (int64_t i = 0; i < n; ++i) {
      T normed = (x[i] - mean) * rstd, above = widen(dy[i]);
      dx[i] = rstd * (above * weight[i] - along - normed * across);
      dweight[i] += above * normed;
      dbias[i] += above;
    }
    if (of.dsum) {
      const T* __restrict__ dsum = (const T*)of.dsum + row * n;
      for (int64_t i = 0; i < n; ++i) dx[i] += dsum[i];
    }
    if (!of.dbranch) continue;
    Factors<T> factors(of.scale, of.mask, rows, row);
    S* __restrict__ dbranch = (S*)of.dbranch + row * n;
    if (factors.scale) {
      const S* __restrict__ branch = (const S*)of.branch + row * n;
      T* __restrict__ dscale = (T*)of.dscale;
      for (int64_t i = 0; i < n; ++i) {
        narrow(dx[i] * (factors.scale[i] * factors.mask), dbranch[i]);
        dscale[i] += dx[i] * (widen(branch[i]) * factors.mask);
      }
    } else {
      for (int64_t i = 0; i < n; ++i) narrow(dx[i] * factors.mask, dbranch[i]);
    }
  }
}

#define OF_STORAGES(pass) {pass<float, float>, pass<double, double>, pass<float, Bf16>, pass<float, F16>}

}  // namespace

extern const NormLoops norm_loops;
const NormLoops norm_loops = {OF_STORAGES(forward), OF_STORAGES(backward)};

}  // namespace LEVEL
}  // namespace rectify
