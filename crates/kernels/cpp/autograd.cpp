// What the binding for Rust lacks of autograd: hooks on gradients, and backward from a gradient that is given.

#include <ATen/ATen.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <memory>

#include "border.h"

namespace rectify {
namespace {

using torch::autograd::variable_list;

using Ready = void (*)(void* data, size_t index);

// Called after the node of a leaf has run. A hook on the tensor itself would not do: libtorch calls that only where a gradient
// came to the node, and product.cpp adds its own in place and sends none.
struct Hook final : torch::autograd::FunctionPostHook {
  Hook(Ready ready, void* data, size_t index) : ready(ready), data(data), index(index) {}
  variable_list operator()(const variable_list& outputs, const variable_list&) override {
    ready(data, index);
    return outputs;
  }
  Ready ready;
  void* data;
  size_t index;
};

// Holds the node that accumulates a leaf's gradient, which libtorch makes again if nothing holds it, and takes the hook off it.
struct Hooked {
  Hooked(std::shared_ptr<torch::autograd::Node> node, std::unique_ptr<Hook> hook)
      : node(std::move(node)), key(this->node->add_post_hook(std::move(hook))) {}
  ~Hooked() { node->del_post_hook(key); }
  std::shared_ptr<torch::autograd::Node> node;
  uintptr_t key;
};

}  // namespace
}  // namespace rectify

extern "C" {

// Calls ready(data, index) after each backward pass through `leaf`, when its gradient is whole, until `hooked` is freed. `ready` must
// not unwind.
char* rectify_on_gradient(const at::Tensor* leaf, rectify::Ready ready, void* data, size_t index, void** hooked) {
  RECTIFY_GUARD({
    TORCH_CHECK(leaf->is_leaf() && leaf->requires_grad(), "only a leaf that requires gradients has one that is accumulated");
    *hooked = new rectify::Hooked(torch::autograd::impl::grad_accumulator(*leaf), std::make_unique<rectify::Hook>(ready, data, index));
  })
}

void rectify_forget_hook(void* hooked) { delete (rectify::Hooked*)hooked; }

// y.backward(gradient)
char* rectify_backward(const at::Tensor* y, const at::Tensor* gradient) {
  RECTIFY_GUARD({ y->backward(*gradient); })
}

}
