// The table of what a GPU can do, once it is loaded, and the way of operations to it.

#include "launch.h"

#include <ATen/ATen.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <dlfcn.h>

#include <cstdlib>
#include <cstring>

#include "sums_launch.h"
#include "border.h"

namespace rectify {

const CudaTable* cuda_table = nullptr;

bool by_kernels(const at::Tensor& x) {
  TORCH_CHECK(!x.is_cuda() || cuda_table, "librectify_cuda.so is not loaded, so there are no kernels for a tensor on ", x.device());
  return x.is_cuda() || (cuda_table && cuda_table->on_host);
}

void launch(const at::Tensor& on, const char* file, const std::string& definitions, const char* name, Grid grid,
            std::initializer_list<const void*> arguments) {
  Kernel kernel{file, definitions.c_str(), name};
  char* fault = cuda_table->launch(on.get_device(), &kernel, &grid, const_cast<void**>(arguments.begin()));
  if (!fault) return;
  std::string message = fault;
  free(fault);
  TORCH_CHECK(false, message);
}

static std::string sums_definitions(at::ScalarType from, at::ScalarType to) {
  return std::string("-DFROM=") + name_of(from) + " -DTO=" + name_of(to);
}

at::Tensor sum_of_rows(const at::Tensor& parts, at::ScalarType type) {
  at::Tensor found = at::empty({parts.size(1)}, parts.options().dtype(type));
  Sums sums{read(parts), write(found), parts.size(0), parts.size(1)};
  if (sums.columns == 0) return found;
  unsigned lanes = sums_lanes(sums.columns);
  Grid grid{(unsigned)((sums.columns + lanes - 1) / lanes), 1, lanes, SUMS_THREADS / lanes};
  launch(parts, "sums.cu", sums_definitions(parts.scalar_type(), type), "sums", grid, {&sums});
  return found;
}

const char* name_of(at::ScalarType type) {
  switch (type) {
    case at::kFloat: return "float";
    case at::kDouble: return "double";
    case at::kBFloat16: return "Bf16";
    case at::kHalf: return "F16";
    default: TORCH_CHECK(false, "no kernel knows ", type);
  }
}

const void* read(const at::Tensor& tensor) { return tensor.defined() ? tensor.const_data_ptr() : nullptr; }
void* write(at::Tensor& tensor) { return tensor.defined() ? tensor.mutable_data_ptr() : nullptr; }

}  // namespace rectify

extern "C" {

// From now on what is on a GPU goes by `table`.
void rectify_use_cuda_table(const rectify::CudaTable* table) { rectify::cuda_table = table; }

// Calls `visit` for each file and definitions that operations can ask for, on rows of these lengths
// where that matters.
void rectify_each_kernel(const int64_t* row_lengths, size_t count, void (*visit)(void* data, const char* file, const char* definitions),
                         void* data) {
  rectify::VisitKernel each = [&](const char* file, const std::string& definitions) { visit(data, file, definitions.c_str()); };
  rectify::each_activation_kernel(each);
  rectify::each_input_kernel(each);
  rectify::each_norm_kernel(std::vector<int64_t>(row_lengths, row_lengths + count), each);
  for (auto [from, to] : {std::pair(at::kFloat, at::kFloat), {at::kDouble, at::kDouble}, {at::kDouble, at::kFloat}})
    each("sums.cu", rectify::sums_definitions(from, to));
}

// The file of the library that a function lies in, or of libtorch where it is null; to be freed.
// Null where the loader does not know.
char* rectify_library_path(const void* function) {
  Dl_info info;
  if (!dladdr(function ? function : (const void*)&at::globalContext, &info) || !info.dli_fname) return nullptr;
  return strdup(info.dli_fname);
}

// Whether libtorch knows its CUDA half. The first question settles that for the process, so it
// comes after the library is loaded.
bool rectify_cuda_is_registered() { return at::detail::getCUDAHooks().hasCUDART(); }

}
