// Which formulas there are, and how the numbers of their tables lie in memory: the same for a CPU and a GPU.
#pragma once

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

}  // namespace rectify
