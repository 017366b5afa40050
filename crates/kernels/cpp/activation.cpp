// Bias and activation as one function of autograd: one pass forward, one backward, and only its inputs kept.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "activation.h"
#include "activation_loops.h"
#include "border.h"
#include "launch.h"

namespace rectify {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Sums of gradients are formed in this many blocks at most, in the order of the tensor: whatever the number of threads is, the
// same numbers are added in the same order.
constexpr int64_t BLOCKS = 64;
constexpr int64_t SMALLEST_BLOCK = 8192;

const ActivationLoops& loops() {
  static const ActivationLoops& chosen =
      of_this_machine(baseline::activation_loops, avx2::activation_loops, avx512::activation_loops);
  return chosen;
}

Storage storage_of(const Tensor& x) {
  switch (x.scalar_type()) {
    case at::kFloat: return Storage::F32;
    case at::kDouble: return Storage::F64;
    case at::kBFloat16: return Storage::BF16;
    case at::kHalf: return Storage::F16;
    default: TORCH_CHECK(false, "an activation of ", x.scalar_type(), " is not there: f32, f64, bf16 and f16 are");
  }
}

// Parameters as loops take them, on a CPU: a tensor of the type that is computed with.
Tensor values_of(const Parameters& parameters, at::ScalarType type, int formula) {
  auto of = [&](int k) {
    return parameters.tensors[k].defined() ? parameters.tensors[k].item<double>() : parameters.constants[k];
  };
  if (formula == (int)Formula::Tabulated) return parameters.table;
  if (parameters.table.defined()) {
    Tensor whole = parameters.table.clone();
    whole[CORRECTION_EPSILON].fill_(of(0));
    return whole;
  }
  Tensor numbers = at::empty({MAX_PARAMETERS}, at::kDouble);
  for (int k = 0; k < MAX_PARAMETERS; ++k) numbers.mutable_data_ptr<double>()[k] = of(k);
  return numbers.to(type);
}

Tensor run_forward(const Tensor& x, const Tensor& bias, int formula, const Parameters& parameters) {
  if (x.numel() == 0) return at::empty_like(x);
  if (by_kernels(x)) return forward_on_gpu(x, bias, formula, parameters);
  Tensor y = at::empty_like(x);
  Tensor numbers = values_of(parameters, computed_in(x), formula);
  const void* values = numbers.const_data_ptr();
  Forward loop = loops().forward[formula][(int)storage_of(x)];
  int64_t columns = bias.defined() ? columns_of(x) : x.numel();
  const void* add = bias.defined() ? bias.const_data_ptr() : nullptr;
  const void* in = x.const_data_ptr();
  void* out = y.mutable_data_ptr();
  at::parallel_for(0, x.numel(), SMALLEST_BLOCK, [&](int64_t begin, int64_t end) {
    loop(in, add, out, Range{begin, end, columns}, values);
  });
  return y;
}

// `parameters` is (2) and `bias` (columns), both of the type that is computed with; undefined where they are not asked for.
Gradients run_backward(const Tensor& x, const Tensor& bias, const Tensor& dy, int formula, const Parameters& parameters,
                       bool of_bias, bool of_parameters) {
  if (x.numel() > 0 && by_kernels(x)) return backward_on_gpu(x, bias, dy, formula, parameters, of_bias, of_parameters);
  auto options = x.options().dtype(computed_in(x));
  Gradients gradients{at::empty_like(x), {}, {}};
  int64_t columns = bias.defined() ? columns_of(x) : x.numel();
  if (of_bias) gradients.bias = at::zeros({columns}, options);
  if (of_parameters) gradients.parameters = at::zeros({MAX_PARAMETERS}, options);
  if (x.numel() == 0) return gradients;
  Tensor numbers = values_of(parameters, computed_in(x), formula);
  const void* values = numbers.const_data_ptr();
  Backward loop = loops().backward[formula][(int)storage_of(x)];
  // Whole rows where there is a bias, so that a block has one sum a column.
  int64_t unit = bias.defined() ? columns : 1;
  int64_t units = x.numel() / unit;
  int64_t block = std::max({at::divup(units, BLOCKS), at::divup(SMALLEST_BLOCK, unit), int64_t(1)});
  int64_t blocks = at::divup(units, block);
  std::vector<double> of_each(blocks * MAX_PARAMETERS, 0.0);
  Tensor bias_of_each = of_bias ? at::zeros({blocks, columns}, options) : Tensor();
  const void* add = bias.defined() ? bias.const_data_ptr() : nullptr;
  const void* in = x.const_data_ptr();
  const void* from = dy.const_data_ptr();
  void* out = gradients.x.mutable_data_ptr();
  char* sums = of_bias ? (char*)bias_of_each.mutable_data_ptr() : nullptr;
  int64_t row_bytes = of_bias ? columns * bias_of_each.element_size() : 0;
  at::parallel_for(0, blocks, 1, [&](int64_t first, int64_t last) {
    for (int64_t index = first; index < last; ++index) {
      Range range{index * block * unit, std::min((index + 1) * block, units) * unit, columns};
      loop(in, add, from, out, range, values, &of_each[index * MAX_PARAMETERS], sums ? sums + index * row_bytes : nullptr);
    }
  });
  if (of_parameters) {
    for (int k = 0; k < MAX_PARAMETERS; ++k) {
      double total = 0;
      for (int64_t index = 0; index < blocks; ++index) total += of_each[index * MAX_PARAMETERS + k];
      gradients.parameters[k].fill_(total);
    }
  }
  if (of_bias) gradients.bias = bias_of_each.sum(0);
  return gradients;
}

struct Activation : torch::autograd::Function<Activation> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const std::optional<Tensor>& bias,
                        const std::optional<Tensor>& first, const std::optional<Tensor>& second, double first_constant,
                        double second_constant, const std::optional<Tensor>& table, int64_t formula) {
    // Where there is no bias, pixels may lie before channels: elements are taken as they come.
    Tensor dense = bias ? x.contiguous() : x.contiguous(x.suggest_memory_format());
    Tensor add = bias ? bias->to(computed_in(x)).contiguous() : Tensor();
    Parameters parameters{{first.value_or(Tensor()), second.value_or(Tensor())},
                          {first_constant, second_constant},
                          table ? table->to(computed_in(x)).contiguous() : Tensor()};
    Tensor y = run_forward(dense, add, (int)formula, parameters);
    context->save_for_backward({dense, add, parameters.tensors[0], parameters.tensors[1], parameters.table});
    context->saved_data["constants"] = std::vector<double>{first_constant, second_constant};
    context->saved_data["formula"] = formula;
    context->saved_data["bias_type"] = (int64_t)(bias ? bias->scalar_type() : x.scalar_type());
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list above) {
    auto saved = context->get_saved_variables();
    auto constants = context->saved_data["constants"].toDoubleVector();
    Parameters parameters{{saved[2], saved[3]}, {constants[0], constants[1]}, saved[4]};
    // Asked by the place among the tensors that were given.
    size_t place = 1;
    bool of_bias = saved[1].defined() && context->needs_input_grad(place);
    if (saved[1].defined()) ++place;
    bool of_parameters = false;
    for (int k = 0; k < MAX_PARAMETERS; ++k)
      if (parameters.tensors[k].defined()) of_parameters |= context->needs_input_grad(place++);
    Tensor dy = above[0].to(saved[0].scalar_type());
    dy = saved[1].defined() ? dy.contiguous() : dy.contiguous(saved[0].suggest_memory_format());
    Gradients found = run_backward(saved[0], saved[1], dy, (int)context->saved_data["formula"].toInt(), parameters, of_bias,
                                   of_parameters);
    variable_list answer(8);
    answer[0] = found.x;
    if (of_bias) answer[1] = found.bias.to((at::ScalarType)context->saved_data["bias_type"].toInt());
    for (int k = 0; k < MAX_PARAMETERS; ++k) {
      const Tensor& parameter = parameters.tensors[k];
      if (parameter.defined() && of_parameters)
        answer[2 + k] = found.parameters.narrow(0, k, 1).view(parameter.sizes()).to(parameter.scalar_type());
    }
    return answer;
  }
};

}  // namespace
}  // namespace rectify

extern "C" {

// f(x + bias) of the formula; `bias`, `first` and `second` may be null, and then constants stand in for parameters. `table` is
// null but for the formulas with a table.
char* rectify_activation(const at::Tensor* x, const at::Tensor* bias, const at::Tensor* first, const at::Tensor* second,
                         double first_constant, double second_constant, const at::Tensor* table, int formula, at::Tensor** out) {
  RECTIFY_GUARD({
    auto given = [](const at::Tensor* tensor) { return tensor ? std::optional<at::Tensor>(*tensor) : std::nullopt; };
    TORCH_CHECK(!bias || (bias->dim() == 1 && x->dim() > 0 && bias->size(0) == x->size(-1)), "a bias of shape ", bias->sizes(),
                " does not fit the last dimension of ", x->sizes());
    TORCH_CHECK((formula >= (int)rectify::Formula::Tabulated) == (table != nullptr),
                "a formula that needs a table and none, or the reverse");
    for (const at::Tensor* other : {bias, first, second, table})
      TORCH_CHECK(!other || other->device() == x->device(), "tensors on ", other->device(), " and ", x->device());
    rectify::storage_of(*x);
    *out = new at::Tensor(rectify::Activation::apply(*x, given(bias), given(first), given(second), first_constant,
                                                     second_constant, given(table), (int64_t)formula));
  })
}

}
