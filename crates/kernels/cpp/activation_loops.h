// The inner loops of bias and activation on a CPU, compiled once for each level of the instruction set; no libtorch here.
#pragma once

#include "catalogue.h"
#include "level.h"

namespace rectify {

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
