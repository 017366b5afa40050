// From operations on tensors to kernels on a GPU.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "cuda_table.h"

namespace rectify {

// Whether `x` is the business of kernels; an error where it is on a GPU and there are none.
bool by_kernels(const at::Tensor& x);

// Starts a kernel on the device of `on`, as CudaTable's `launch`.
void launch(const at::Tensor& on, const char* file, const std::string& definitions, const char* name, Grid grid,
            std::initializer_list<const void*> arguments);

// Lists the kernels that operations can ask for, by the code that asks for them: called with a file
// and definitions, as `launch` takes them. A new file of kernels adds its function here and to
// rectify_each_kernel.
using VisitKernel = std::function<void(const char* file, const std::string& definitions)>;
void each_activation_kernel(const VisitKernel& visit);
void each_input_kernel(const VisitKernel& visit);
void each_norm_kernel(const std::vector<int64_t>& row_lengths, const VisitKernel& visit);

// The sums of the columns of `parts` (rows, columns), in `type`.
at::Tensor sum_of_rows(const at::Tensor& parts, at::ScalarType type);

// As kernels call a type.
const char* name_of(at::ScalarType type);

// Where the numbers of a tensor lie; null for one that is not there.
const void* read(const at::Tensor& tensor);
void* write(at::Tensor& tensor);

}  // namespace rectify
