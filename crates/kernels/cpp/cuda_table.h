// What `librectify_cuda.so` offers to the rest: filled in when it is loaded, null without a GPU.
#pragma once

#include <cstdint>

#include "activation_loops.h"

namespace at { class Tensor; }

namespace rectify {

struct CudaTable {
  void (*activation)(const at::Tensor& x, const at::Tensor& bias, at::Tensor& y, int formula, const at::Tensor* parameters,
                     const double* constants);
  // Fills dx, adds nothing: dparameters (f32, 2) and dbias (f32, columns) are overwritten where they are defined.
  void (*activation_backward)(const at::Tensor& x, const at::Tensor& bias, const at::Tensor& dy, at::Tensor& dx, int formula,
                              const at::Tensor* parameters, const double* constants, at::Tensor& dparameters,
                              at::Tensor& dbias);
};

extern const CudaTable* cuda_table;

}  // namespace rectify
