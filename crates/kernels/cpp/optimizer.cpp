// Optimiser steps of libtorch that its binding for Rust lacks.

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_fused_adamw.h>

#include "border.h"

extern "C" {

// One step of AdamW over one flat buffer, in one pass. `step` is a tensor of one f32, the number of this step, from 1.
char* rectify_adamw(const at::Tensor* values, const at::Tensor* grads, const at::Tensor* exp_avg, const at::Tensor* exp_avg_sq,
                    const at::Tensor* step, double rate, double beta1, double beta2, double weight_decay, double eps) {
  RECTIFY_GUARD({
    at::NoGradGuard no_grad;
    for (const at::Tensor* other : {grads, exp_avg, exp_avg_sq})  // libtorch does not look
      TORCH_CHECK(other->sizes() == values->sizes() && other->scalar_type() == values->scalar_type() &&
                      other->device() == values->device() && other->is_contiguous() == values->is_contiguous(),
                  "a buffer of ", other->scalar_type(), other->sizes(), " beside parameters of ", values->scalar_type(),
                  values->sizes());
    at::_fused_adamw_({*values}, {*grads}, {*exp_avg}, {*exp_avg_sq}, {}, {*step}, rate, beta1, beta2, weight_decay, eps,
                      /*amsgrad=*/false, /*maximize=*/false);
  })
}

}
