// The inner loops of bias and activation on a CPU, compiled once for each level of the instruction set; no libtorch here.
#pragma once

#include "level.h"

namespace rectify {

// Those that have loops of their own, in the order of `Fused` in activation.rs; then a table that is the function itself, and
// those that are adjusted by a correction, f(x) + ε·correction(x). The numbers of tables and corrections are their parameters.
enum class Formula : int {
  Relu, CrRelu, PRelu, Gelu, Silu, Mish, StarRelu, CrGelu, CrSilu, CrMish,
  Tabulated, AdjustedRelu, AdjustedGelu, AdjustedSilu, AdjustedMish
};
constexpr int FORMULAS = 15;
constexpr int MAX_PARAMETERS = 2;

// A table of n cells: x0, 1 / step, n, where it ends, and four coefficients for the straight line before the first cell, for
// each cell, and for the line behind the last: f(x0 + step·(i + t)) is c0 + t·(c1 + t·(c2 + t·c3)) in cell i.
constexpr int TABLE_HEAD = 4;

// A correction: x0, 1 / step, ε, 0, then c0 of each of its CELLS cells, c1 of each, c2 and c3; level beyond the ends.
constexpr int CELLS = 32;
constexpr int CORRECTION_HEAD = 4;
constexpr int CORRECTION_EPSILON = 2;

// The elements [begin, end) of a contiguous tensor whose last dimension has `columns` elements.
struct Range {
  int64_t begin, end, columns;
};

// `bias` has `columns` numbers of the type that is computed with (f64 for F64, else f32), or is null; `parameters` are of
// that type: MAX_PARAMETERS, or a whole table or correction.
// y = f(x + bias)
using Forward = void (*)(const void* x, const void* bias, void* y, Range range, const void* parameters);
// dx = dy · f′(x + bias); adds the sum of dy · ∂f/∂parameter to `dparameters`, and that of dx by column to `dbias` where it is
// not null (of the type that is computed with).
using Backward = void (*)(const void* x, const void* bias, const void* dy, void* dx, Range range, const void* parameters,
                          double* dparameters, void* dbias);

struct ActivationLoops {
  Forward forward[FORMULAS][4];
  Backward backward[FORMULAS][4];
};

namespace baseline { extern const ActivationLoops activation_loops; }
namespace avx2 { extern const ActivationLoops activation_loops; }
namespace avx512 { extern const ActivationLoops activation_loops; }

}  // namespace rectify
