// Norms of tensors on a GPU, for their function of autograd in norm.cpp.
#pragma once

#include <ATen/core/Tensor.h>

#include "norm_tensors.h"

namespace rectify {

void norm_forward_on_gpu(const at::Tensor& x, at::ScalarType narrow, const NormForward& tensors, Rows all);

// Fills what `tensors` names but the gradients of what all rows share: these (parts, columns) are the answer, of weight, bias and,
// where there are three, scale.
at::Tensor norm_backward_on_gpu(const at::Tensor& sum, at::ScalarType narrow, NormBackward tensors, Rows all, int64_t parts);

}  // namespace rectify
