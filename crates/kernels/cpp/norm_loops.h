// The inner loops of adding a branch and normalising rows on a CPU, compiled once for each level of the instruction set.
#pragma once

#include "level.h"
#include "norm_tensors.h"

namespace rectify {

using NormForwardLoop = void (*)(const NormForward& tensors, Rows rows);
using NormBackwardLoop = void (*)(const NormBackward& tensors, Rows rows);

// By the type of branch and y; those of F64 are for x in f64, the others for f32.
struct NormLoops {
  NormForwardLoop forward[4];
  NormBackwardLoop backward[4];
};

namespace baseline { extern const NormLoops norm_loops; }
namespace avx2 { extern const NormLoops norm_loops; }
namespace avx512 { extern const NormLoops norm_loops; }

}  // namespace rectify
