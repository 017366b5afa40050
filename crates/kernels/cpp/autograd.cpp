// What the binding for Rust lacks of autograd: hooks on gradients, and backward from a gradient that is given.

#include <ATen/ATen.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <memory>

#include "border.h"

namespace rectify {
namespace {

using Ready = void (*)(void* data, size_t index);

struct Hook final : torch::autograd::PostAccumulateGradHook {
  Hook(Ready ready, void* data, size_t index) : ready(ready), data(data), index(index) {}
  void operator()(const torch::autograd::Variable&) override { ready(data, index); }
  Ready ready;
  void* data;
  size_t index;
};

}  // namespace
}  // namespace rectify

extern "C" {

// Calls ready(data, index) each time after a gradient was added to that of `leaf`; another call replaces the hook, a null `ready`
// removes it. `ready` must not unwind.
char* rectify_on_gradient(const at::Tensor* leaf, rectify::Ready ready, void* data, size_t index) {
  RECTIFY_GUARD({
    TORCH_CHECK(leaf->is_leaf() && leaf->requires_grad(), "only a leaf that requires gradients has one that is accumulated");
    std::unique_ptr<torch::autograd::PostAccumulateGradHook> hook;
    if (ready) hook = std::make_unique<rectify::Hook>(ready, data, index);
    torch::autograd::impl::set_post_acc_grad_hooks(*leaf, std::move(hook));
  })
}

// y.backward(gradient)
char* rectify_backward(const at::Tensor* y, const at::Tensor* gradient) {
  RECTIFY_GUARD({ y->backward(*gradient); })
}

}
