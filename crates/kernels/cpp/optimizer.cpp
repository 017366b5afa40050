// Optimiser steps over flat buffers: those of libtorch that its binding for Rust lacks, and LAMB, which libtorch has not.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/_fused_sgd.h>

#include <cmath>
#include <vector>

#include "border.h"

namespace rectify {
namespace {

using at::Tensor;

void check_alike(const Tensor& values, std::initializer_list<const Tensor*> others) {
  for (const Tensor* other : others)  // libtorch does not look
    TORCH_CHECK(other->sizes() == values.sizes() && other->scalar_type() == values.scalar_type() &&
                    other->device() == values.device() && other->is_contiguous() == values.is_contiguous(),
                "a buffer of ", other->scalar_type(), other->sizes(), " beside parameters of ", values.scalar_type(), values.sizes());
}

void check_number(const Tensor& number, const Tensor& values) {
  TORCH_CHECK(number.numel() == 1 && number.device() == values.device(), "a number of shape ", number.sizes(), " on ", number.device(),
              " for parameters on ", values.device());
}

// Does `step` with a learning rate as libtorch's fused steps take it: a number on a CPU, and on a GPU a tensor that only the device
// reads.
template <class Step> void with_rate(const Tensor& rate, const Tensor& values, Step step) {
  check_number(rate, values);
  if (rate.is_cpu()) {
    step(rate.item<double>());
  } else {
    step(rate.to(at::kFloat));
  }
}

struct Lamb {
  float gradient_scale, beta1, beta2, step_of_first, step_of_second, eps, weight_decay;
};

// Sums of squares are formed block by block, in an order that the length alone decides.
constexpr int64_t BLOCK = 1 << 15;
constexpr int LANES = 16;

struct Squares {
  double values = 0, updates = 0;
};

// Moves the moments of a block and writes the update that they ask for.
#if defined(__x86_64__)
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
Squares lamb_updates(Lamb rule, int64_t length, const float* __restrict values, const float* __restrict grads,
                     float* __restrict exp_avg, float* __restrict exp_avg_sq, float* __restrict updates) {
  float of_values[LANES] = {}, of_updates[LANES] = {};
  auto update = [&](int64_t i, int lane) {
    float gradient = grads[i] * rule.gradient_scale;
    float first = exp_avg[i] + (gradient - exp_avg[i]) * (1 - rule.beta1);
    float second = exp_avg_sq[i] * rule.beta2 + gradient * gradient * (1 - rule.beta2);
    exp_avg[i] = first;
    exp_avg_sq[i] = second;
    float moved = first * rule.step_of_first / (sqrtf(second) * rule.step_of_second + rule.eps) + rule.weight_decay * values[i];
    updates[i] = moved;
    of_values[lane] += values[i] * values[i];
    of_updates[lane] += moved * moved;
  };
  int64_t i = 0;
  for (; i + LANES <= length; i += LANES)
    for (int lane = 0; lane < LANES; ++lane) update(i + lane, lane);
  for (int lane = 0; i < length; ++i, ++lane) update(i, lane);
  Squares sum;
  for (int lane = 0; lane < LANES; ++lane) {
    sum.values += of_values[lane];
    sum.updates += of_updates[lane];
  }
  return sum;
}

// One tensor: `begin` up to `end` of the buffers.
void lamb_step(Lamb rule, double rate, bool adapts, int64_t begin, int64_t end, float* values, const float* grads, float* exp_avg,
               float* exp_avg_sq, float* updates) {
  int64_t length = end - begin, blocks = at::divup(length, BLOCK);
  std::vector<Squares> squares(blocks);
  at::parallel_for(0, blocks, 1, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      int64_t at = begin + block * BLOCK, count = std::min(BLOCK, end - at);
      squares[block] = lamb_updates(rule, count, values + at, grads + at, exp_avg + at, exp_avg_sq + at, updates + at - begin);
    }
  });
  Squares sum;
  for (const Squares& of : squares) {
    sum.values += of.values;
    sum.updates += of.updates;
  }
  double trust = adapts && sum.values > 0 && sum.updates > 0 ? std::sqrt(sum.values / sum.updates) : 1;
  const float factor = (float)(rate * trust);
  at::parallel_for(0, blocks, 1, [&](int64_t first, int64_t last) {
    int64_t to = std::min(last * BLOCK, length);
    for (int64_t i = first * BLOCK; i < to; ++i) values[begin + i] -= factor * updates[i];
  });
}

}  // namespace
}  // namespace rectify

extern "C" {

// One step of LAMB over the tensors [ranges[2k], ranges[2k + 1]) of f32 buffers on a CPU, in two passes over memory. Gradients are
// first multiplied by `gradient_scale`. `step` counts from 1. `adapts`: whether each tensor's step is scaled by its trust ratio.
char* rectify_lamb(const at::Tensor* values, const at::Tensor* grads, const at::Tensor* exp_avg, const at::Tensor* exp_avg_sq,
                   const int64_t* ranges, size_t count, uint64_t step, double rate, double beta1, double beta2, double weight_decay,
                   double eps, double gradient_scale, bool adapts) {
  RECTIFY_GUARD({
    rectify::check_alike(*values, {grads, exp_avg, exp_avg_sq});
    TORCH_CHECK(values->device().is_cpu() && values->scalar_type() == at::kFloat && values->is_contiguous(),
                "this step of LAMB is for f32 on a CPU");
    rectify::Lamb rule;
    rule.gradient_scale = (float)gradient_scale;
    rule.beta1 = (float)beta1;
    rule.beta2 = (float)beta2;
    rule.step_of_first = (float)(1 / (1 - std::pow(beta1, (double)step)));
    rule.step_of_second = (float)(1 / std::sqrt(1 - std::pow(beta2, (double)step)));
    rule.eps = (float)eps;
    rule.weight_decay = (float)weight_decay;
    int64_t largest = 0;
    for (size_t k = 0; k < count; ++k) {
      TORCH_CHECK(0 <= ranges[2 * k] && ranges[2 * k] <= ranges[2 * k + 1] && ranges[2 * k + 1] <= values->numel(),
                  "a tensor beyond its buffer");
      largest = std::max(largest, ranges[2 * k + 1] - ranges[2 * k]);
    }
    at::Tensor updates = at::empty({largest}, values->options());
    for (size_t k = 0; k < count; ++k)
      rectify::lamb_step(rule, rate, adapts, ranges[2 * k], ranges[2 * k + 1], (float*)values->data_ptr(),
                         (const float*)grads->data_ptr(), (float*)exp_avg->data_ptr(), (float*)exp_avg_sq->data_ptr(),
                         (float*)updates.data_ptr());
  })
}

// One step of SGD over one flat buffer, in one pass; `sum`, the running sum of gradients, is null without momentum. `rate` is a scalar
// on the buffers' device.
char* rectify_sgd(const at::Tensor* values, const at::Tensor* grads, const at::Tensor* sum, const at::Tensor* rate, double momentum,
                  bool nesterov, double weight_decay) {
  RECTIFY_GUARD({
    at::NoGradGuard no_grad;
    rectify::check_alike(*values, {grads, sum ? sum : grads});
    std::vector<at::Tensor> sums;
    if (sum) sums.push_back(*sum);
    rectify::with_rate(*rate, *values, [&](auto rate) {
      at::_fused_sgd_({*values}, {*grads}, sums, weight_decay, momentum, rate, /*dampening=*/0, nesterov, /*maximize=*/false,
                      /*is_first_step=*/false);
    });
  })
}

// One step of AdamW over one flat buffer, in one pass. `step` (the number of this step, from 1) and `rate` are scalars on the buffers'
// device.
char* rectify_adamw(const at::Tensor* values, const at::Tensor* grads, const at::Tensor* exp_avg, const at::Tensor* exp_avg_sq,
                    const at::Tensor* step, const at::Tensor* rate, double beta1, double beta2, double weight_decay, double eps) {
  RECTIFY_GUARD({
    at::NoGradGuard no_grad;
    rectify::check_alike(*values, {grads, exp_avg, exp_avg_sq});
    rectify::check_number(*step, *values);
    at::Tensor number = step->to(at::kFloat);
    rectify::with_rate(*rate, *values, [&](auto rate) {
      at::_fused_adamw_({*values}, {*grads}, {*exp_avg}, {*exp_avg_sq}, {}, {number}, rate, beta1, beta2, weight_decay, eps,
                        /*amsgrad=*/false, /*maximize=*/false);
    });
  })
}

}
