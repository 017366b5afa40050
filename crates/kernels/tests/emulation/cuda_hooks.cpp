// Registers itself with libtorch as its CUDA half does, for a test of the order in which things are
// loaded.

#include <ATen/detail/CUDAHooksInterface.h>

namespace {

// libtorch looks for a class of this name.
struct CUDAHooks : at::CUDAHooksInterface {
  explicit CUDAHooks(at::CUDAHooksArgs) {}
  bool hasCUDART() const override { return true; }
};

}  // namespace

namespace at {

REGISTER_CUDA_HOOKS(CUDAHooks);

}  // namespace at
