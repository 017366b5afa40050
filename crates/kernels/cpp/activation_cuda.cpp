// Bias and activation on a GPU: what its kernels are given. Parameters stay on the device, so that nothing waits for them.

#include <ATen/ATen.h>

#include "activation_launch.h"
#include "activation.h"
#include "launch.h"

namespace rectify {
namespace {

using at::Tensor;

// In the order of `Formula`, as formulas.h calls them.
constexpr const char* NAMES[FORMULAS] = {"Relu",           "CrRelu",         "PRelu",          "Gelu",          "Silu",
                                         "Mish",           "StarRelu",       "CrGelu",         "CrSilu",        "CrMish",
                                         "Tabulated",      "Adjusted<Relu>", "Adjusted<Gelu>", "Adjusted<Silu>", "Adjusted<Mish>"};

// Tensors for the kernels, and those that must live until these have started.
struct Given {
  Given(const Tensor& x, const Tensor& bias, Tensor& out, const Parameters& parameters) {
    of = {x.const_data_ptr(), read(bias), nullptr, out.mutable_data_ptr(), {}, {}, read(parameters.table), nullptr, nullptr};
    for (int k = 0; k < MAX_PARAMETERS; ++k) {
      if (parameters.tensors[k].defined()) converted[k] = parameters.tensors[k].to(computed_in(x)).contiguous();
      of.parameters[k] = read(converted[k]);
      of.constants[k] = parameters.constants[k];
    }
  }
  ActivationTensors of;
  Tensor converted[MAX_PARAMETERS];
};

std::string definitions_of(int formula, at::ScalarType storage) {
  return std::string("-DFORMULA=") + NAMES[formula] + " -DSTORAGE=" + name_of(storage);
}

void start(const Tensor& x, const char* name, int formula, const Given& given, const Tiles& tiles) {
  unsigned lanes = tiles.lanes;
  Grid grid{tiles.blocks_across, tiles.blocks_down, lanes, TILE_THREADS / lanes};
  launch(x, "activation.cu", definitions_of(formula, x.scalar_type()), name, grid, {&given.of, &tiles});
}

Tiles tiles_for(const Tensor& x, const Tensor& bias) {
  int64_t columns = bias.defined() ? columns_of(x) : 0;
  TORCH_CHECK(columns < (int64_t(1) << 30), "rows of ", columns, " numbers are longer than kernels can go along");
  return tiles_of(x.numel(), (int)columns, (int)x.element_size());
}

}  // namespace

void each_activation_kernel(const VisitKernel& visit) {
  for (int formula = 0; formula < FORMULAS; ++formula)
    for (at::ScalarType storage : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble})
      visit("activation.cu", definitions_of(formula, storage));
}

Tensor forward_on_gpu(const Tensor& x, const Tensor& bias, int formula, const Parameters& parameters) {
  Tensor y = at::empty_like(x);
  start(x, "activation_forward", formula, Given(x, bias, y, parameters), tiles_for(x, bias));
  return y;
}

Gradients backward_on_gpu(const Tensor& x, const Tensor& bias, const Tensor& dy, int formula, const Parameters& parameters,
                          bool of_bias, bool of_parameters) {
  auto options = x.options().dtype(computed_in(x));
  Tiles tiles = tiles_for(x, bias);
  Gradients found{at::empty_like(x), {}, {}};
  Given given(x, bias, found.x, parameters);
  Tensor bias_sums = of_bias ? at::empty({tiles.blocks_down, tiles.columns}, options) : Tensor();
  int64_t blocks = (int64_t)tiles.blocks_down * tiles.blocks_across;
  Tensor parameter_sums = of_parameters ? at::empty({blocks, MAX_PARAMETERS}, options.dtype(at::kDouble)) : Tensor();
  given.of.dy = dy.const_data_ptr();
  given.of.bias_sums = write(bias_sums);
  given.of.parameter_sums = (double*)write(parameter_sums);
  start(x, "activation_backward", formula, given, tiles);
  if (of_bias) found.bias = sum_of_rows(bias_sums, options.dtype().toScalarType());
  if (of_parameters) found.parameters = sum_of_rows(parameter_sums, options.dtype().toScalarType());
  return found;
}

}  // namespace rectify
