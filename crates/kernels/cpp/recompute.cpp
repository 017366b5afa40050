// A part of a graph that keeps only its inputs, and is computed once more when backward gets to it.

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

#include "border.h"

namespace rectify {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int MOST = 2;  // inputs, and outputs

// Takes `inputs`, all made with `new`, and gives as many `outputs` as it was told to; both are the receiver's to delete. Answers
// with 0, or something else where it failed and gives nothing. Must not unwind.
using Compute = int (*)(void* data, Tensor** inputs, Tensor** outputs);
using Forget = void (*)(void* data);

struct Work final : torch::CustomClassHolder {
  Work(Compute compute, Forget forget, void* data, int outputs)
      : compute(compute), forget(forget), data(data), outputs(outputs), records(at::GradMode::is_enabled()) {}
  ~Work() override { forget(data); }

  variable_list run(const variable_list& inputs) const {
    Tensor* given[MOST] = {};
    Tensor* made[MOST] = {};
    for (size_t i = 0; i < inputs.size(); ++i) given[i] = new Tensor(inputs[i]);
    TORCH_CHECK(compute(data, given, made) == 0, "what was to be computed failed; its own message stands above");
    variable_list all;
    for (int i = 0; i < outputs; ++i) {
      all.push_back(std::move(*made[i]));
      delete made[i];
    }
    return all;
  }

  const Compute compute;
  const Forget forget;
  void* const data;
  const int outputs;
  const bool records;  // whether there will be a backward pass
};

// The same tensors as leaves of a graph of their own.
variable_list apart(const variable_list& inputs) {
  variable_list leaves;
  for (const Tensor& input : inputs) leaves.push_back(input.detach().set_requires_grad(input.requires_grad()));
  return leaves;
}

struct Recomputed : torch::autograd::Function<Recomputed> {
  static variable_list forward(AutogradContext* context, const Tensor& first, const std::optional<Tensor>& second,
                               c10::intrusive_ptr<Work> work) {
    variable_list inputs{first};
    if (second) inputs.push_back(*second);
    context->save_for_backward(inputs);
    context->saved_data["work"] = c10::IValue::make_capsule(work);
    // Libtorch has operations (attention) that take another way where nothing is recorded, and round differently there. So this
    // is recorded as backward will, and forgotten at once.
    at::AutoGradMode records(work->records);
    variable_list outputs;
    for (const Tensor& output : work->run(apart(inputs))) outputs.push_back(output.detach());
    return outputs;
  }

  static variable_list backward(AutogradContext* context, variable_list above) {
    at::AutoGradMode records(true);
    auto work = c10::static_intrusive_pointer_cast<Work>(context->saved_data["work"].toCapsule());
    variable_list inputs = apart(context->get_saved_variables());
    variable_list outputs, gradients;
    variable_list all = work->run(inputs);
    for (size_t i = 0; i < all.size(); ++i) {
      if (!all[i].requires_grad()) continue;
      outputs.push_back(all[i]);
      gradients.push_back(above[i]);
    }
    torch::autograd::backward(outputs, gradients);
    variable_list answer(3);
    for (size_t i = 0; i < inputs.size(); ++i) answer[i] = inputs[i].grad();
    return answer;
  }
};

}  // namespace
}  // namespace rectify

extern "C" {

// compute(data, inputs) with `second` where it is not null; calls forget(data) when nobody needs it any more, also after an error.
char* rectify_recomputed(const at::Tensor* first, const at::Tensor* second, rectify::Compute compute, rectify::Forget forget,
                         void* data, int outputs, at::Tensor** out) {
  RECTIFY_GUARD({
    auto work = c10::make_intrusive<rectify::Work>(compute, forget, data, outputs);
    TORCH_CHECK(outputs > 0 && outputs <= rectify::MOST, outputs, " outputs");
    auto other = second ? std::optional<at::Tensor>(*second) : std::nullopt;
    auto found = rectify::Recomputed::apply(*first, other, std::move(work));
    for (int i = 0; i < outputs; ++i) out[i] = new at::Tensor(found[i]);
  })
}

}
