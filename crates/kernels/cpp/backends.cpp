// libtorch's switches for what computes attention and f32 products on a GPU.
#include <ATen/Context.h>

#include <stdexcept>

#include "border.h"

using at::Float32Backend;
using at::Float32Op;
using at::Float32Precision;
using at::SDPBackend;

extern "C" {

// Which backends may compute scaled_dot_product_attention. Of those that can take the inputs, the first of cuDNN, flash,
// memory-efficient and math is used.
char* rectify_allow_attention(bool cudnn, bool flash, bool efficient, bool math) {
  RECTIFY_GUARD({
    auto& context = at::globalContext();
    context.setSDPUseCuDNN(cudnn);
    context.setSDPUseFlash(flash);
    context.setSDPUseMemEfficient(efficient);
    context.setSDPUseMath(math);
    // libtorch's own order depends on the generation of the GPU: before Hopper cuDNN comes last.
    context.setSDPPriorityOrder({(int64_t)SDPBackend::cudnn_attention, (int64_t)SDPBackend::flash_attention,
                                 (int64_t)SDPBackend::efficient_attention, (int64_t)SDPBackend::math});
  })
}

// The same four as bits 0 to 3, as they are at present.
char* rectify_attention_state(int* bits) {
  RECTIFY_GUARD({
    auto& context = at::globalContext();
    *bits = (int)context.userEnabledCuDNNSDP() | (int)context.userEnabledFlashSDP() << 1 |
            (int)context.userEnabledMemEfficientSDP() << 2 | (int)context.userEnabledMathSDP() << 3;
  })
}

// Whether products and convolutions of f32 on a GPU round their factors to TF32. The setters of the CPU's libraries
// (setFloat32MatmulPrecision would reach oneDNN, too) are left alone. Both calls keep the old switch and the new one
// (float32Precision) of libtorch equal; where they differ it throws at the next product.
char* rectify_allow_tf32(bool allow) {
  RECTIFY_GUARD({
    at::globalContext().setAllowTF32CuBLAS(allow);
    at::globalContext().setAllowTF32CuDNN(allow);
  })
}

// Whether TF32 is on for products (bit 0) and convolutions (bit 1), as the operators ask.
char* rectify_tf32_state(int* bits) {
  RECTIFY_GUARD({
    auto& context = at::globalContext();
    const bool product = context.allowTF32CuBLAS();
    *bits = (int)product | (int)context.allowTF32CuDNN(Float32Op::CONV) << 1;
    // Throws where the old switches say something else.
    if (context.allowTF32CuDNN() != context.allowTF32CuDNN(Float32Op::CONV)) throw std::logic_error("two answers on TF32");
    if (product != (context.float32Precision(Float32Backend::CUDA, Float32Op::MATMUL) == Float32Precision::TF32)) {
      throw std::logic_error("two answers on TF32");
    }
  })
}

}  // extern "C"
