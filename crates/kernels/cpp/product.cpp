// Products with the weights of a network: computed in a narrow type, with gradients that are added where the wide ones lie.
//
// A weight has two forms: the leaf that training changes, and a copy of it in the type of products (the leaf itself where
// the types are the same). Autograd by itself would cast each leaf forward, cast its gradient backward, and add that to
// `.grad`: three passes over memory and three kernels for every parameter. Here backward adds to `.grad` directly, and
// answers autograd that nothing is left to add; hooks on gradients (autograd.cpp) are called all the same.

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "border.h"

namespace rectify {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// A matrix of `weight`: its first dimension, and all others together.
Tensor as_matrix(const Tensor& weight) { return weight.reshape({weight.size(0), -1}); }

// Adds `found`, in any type, to the gradient of `leaf`; what autograd is still to add: nothing, or all where there is no gradient yet.
Tensor added(const Tensor& leaf, const Tensor& found) {
  if (!leaf.grad().defined()) return found.reshape(leaf.sizes()).to(leaf.scalar_type());
  leaf.mutable_grad().add_(found.view(leaf.sizes()));
  return {};
}

// The same for the product aᵀ·b of two matrices of rows. The sum is formed in the type of the gradient where the device has
// such a product: always where types are the same, and on a GPU. Elsewhere it is rounded once before it is added.
Tensor added_product(const Tensor& leaf, const Tensor& a, const Tensor& b) {
  const Tensor& grad = leaf.grad();
  if (!grad.defined() || !grad.is_contiguous()) return added(leaf, a.t().mm(b));
  Tensor matrix = as_matrix(grad);
  if (matrix.scalar_type() == a.scalar_type()) {
    matrix.addmm_(a.t(), b);
  } else if (a.is_cuda() && matrix.scalar_type() == at::kFloat) {
    at::addmm_out(matrix, matrix, a.t(), b, at::kFloat);
  } else {
    matrix.add_(a.t().mm(b));
  }
  return {};
}

struct Linear : torch::autograd::Function<Linear> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias,
                        const Tensor& narrow_weight, const std::optional<Tensor>& narrow_bias) {
    Tensor matrix = as_matrix(narrow_weight);
    context->save_for_backward({x, weight, bias.value_or(Tensor())});
    context->saved_data["matrix"] = matrix;
    return at::linear(x, matrix, narrow_bias);
  }

  static variable_list backward(AutogradContext* context, variable_list above) {
    auto saved = context->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1], &bias = saved[2];
    Tensor matrix = context->saved_data["matrix"].toTensor();
    Tensor dy = above[0].reshape({-1, matrix.size(0)});  // (rows, outputs)
    variable_list answer(5);
    if (context->needs_input_grad(0)) answer[0] = dy.mm(matrix).view(x.sizes());
    if (weight.requires_grad()) answer[1] = added_product(weight, dy, x.reshape({-1, matrix.size(1)}));
    if (bias.defined() && bias.requires_grad()) {
      // A GPU sums in the type of the leaf as it reads; a CPU would write all of dy in that type first.
      auto type = dy.is_cuda() ? bias.scalar_type() : dy.scalar_type();
      answer[2] = added(bias, dy.sum(0, /*keepdim=*/false, type));
    }
    return answer;
  }
};

struct Narrowed : torch::autograd::Function<Narrowed> {
  static Tensor forward(AutogradContext* context, const Tensor& leaf, const Tensor& narrow) {
    context->save_for_backward({leaf});
    return narrow.variable_data();  // the same memory, without a history
  }

  static variable_list backward(AutogradContext* context, variable_list above) {
    Tensor leaf = context->get_saved_variables()[0];
    return {added(leaf, above[0].contiguous()), Tensor()};
  }
};

void check_pair(const Tensor& leaf, const Tensor& narrow) {
  TORCH_CHECK(leaf.is_leaf() && leaf.sizes() == narrow.sizes() && leaf.device() == narrow.device(), "a parameter of shape ",
              leaf.sizes(), " on ", leaf.device(), " and its narrow copy of shape ", narrow.sizes(), " on ", narrow.device());
}

}  // namespace
}  // namespace rectify

extern "C" {

// x·Wᵀ + b; the bias may be null, and then so is its copy.
char* rectify_linear(const at::Tensor* x, const at::Tensor* weight, const at::Tensor* bias, const at::Tensor* narrow_weight,
                     const at::Tensor* narrow_bias, at::Tensor** out) {
  RECTIFY_GUARD({
    auto given = [](const at::Tensor* tensor) { return tensor ? std::optional<at::Tensor>(*tensor) : std::nullopt; };
    rectify::check_pair(*weight, *narrow_weight);
    TORCH_CHECK(!bias == !narrow_bias, "a bias and no narrow copy of it, or the reverse");
    if (bias) rectify::check_pair(*bias, *narrow_bias);
    *out = new at::Tensor(rectify::Linear::apply(*x, *weight, given(bias), *narrow_weight, given(narrow_bias)));
  })
}

// The narrow copy of a leaf, with a history that ends there.
char* rectify_narrowed(const at::Tensor* leaf, const at::Tensor* narrow, at::Tensor** out) {
  RECTIFY_GUARD({
    rectify::check_pair(*leaf, *narrow);
    *out = new at::Tensor(rectify::Narrowed::apply(*leaf, *narrow));
  })
}

}
