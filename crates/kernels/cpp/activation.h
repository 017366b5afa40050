// What an activation is applied with and what its backward pass finds, between autograd and the devices.
#pragma once

#include <ATen/core/Tensor.h>

#include "catalogue.h"

namespace rectify {

// The parameters: tensors of one number that learn, or constants. Beside a correction there is one, its ε; beside a table none.
struct Parameters {
  at::Tensor tensors[MAX_PARAMETERS];
  double constants[MAX_PARAMETERS];
  at::Tensor table;  // or a correction
};

struct Gradients {
  at::Tensor x, bias, parameters;
};

inline at::ScalarType computed_in(const at::Tensor& x) { return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat; }
inline int64_t columns_of(const at::Tensor& x) { return x.dim() == 0 ? 1 : x.size(-1); }

// Of tensors on a GPU, dense and not empty; as their namesakes in activation.cpp.
at::Tensor forward_on_gpu(const at::Tensor& x, const at::Tensor& bias, int formula, const Parameters& parameters);
Gradients backward_on_gpu(const at::Tensor& x, const at::Tensor& bias, const at::Tensor& dy, int formula,
                          const Parameters& parameters, bool of_bias, bool of_parameters);

}  // namespace rectify
