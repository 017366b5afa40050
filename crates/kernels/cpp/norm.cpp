// Residual sum and layer normalisation as one function of autograd.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "border.h"
#include "launch.h"
#include "norm.h"
#include "norm_loops.h"

namespace rectify {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// As for activations: gradients of what all rows share are summed in this many blocks at most, in the order of the rows.
constexpr int64_t BLOCKS = 64;
constexpr int64_t SMALLEST_BLOCK = 8192;

const NormLoops& loops() {
  static const NormLoops& chosen = of_this_machine(baseline::norm_loops, avx2::norm_loops, avx512::norm_loops);
  return chosen;
}

// The narrow type: that of branch and y.
Storage storage_of(at::ScalarType x, at::ScalarType narrow) {
  if (x == at::kDouble && narrow == at::kDouble) return Storage::F64;
  if (x == at::kFloat && narrow == at::kFloat) return Storage::F32;
  if (x == at::kFloat && narrow == at::kBFloat16) return Storage::BF16;
  if (x == at::kFloat && narrow == at::kHalf) return Storage::F16;
  TORCH_CHECK(false, "normalising ", x, " to ", narrow, " is not there: f32 to f32, bf16 or f16, and f64 to f64 are");
}

Rows rows_of(const Tensor& x, const Tensor& mask) {
  int64_t columns = x.size(-1), rows = columns ? x.numel() / columns : 0;
  return {0, rows, columns, mask.defined() && mask.numel() ? rows / mask.numel() : 1};
}

int64_t rows_of_block(Rows all) { return std::max(at::divup(all.end, BLOCKS), at::divup(SMALLEST_BLOCK, all.columns)); }

int64_t blocks_of(Rows all) { return all.end > 0 ? at::divup(all.end, rows_of_block(all)) : 0; }

template <class Work> void in_blocks(Rows all, Work work) {
  at::parallel_for(0, blocks_of(all), 1, [&](int64_t first, int64_t last) {
    int64_t block = rows_of_block(all);
    for (int64_t index = first; index < last; ++index)
      work(index, Rows{index * block, std::min((index + 1) * block, all.end), all.columns, all.rows_of_mask});
  });
}

struct Norm : torch::autograd::Function<Norm> {
  // {y}, or {y, sum} where there is a branch.
  static variable_list forward(AutogradContext* context, const Tensor& x, const std::optional<Tensor>& branch,
                               const std::optional<Tensor>& scale, const std::optional<Tensor>& mask, const Tensor& weight,
                               const Tensor& bias, double eps, at::ScalarType narrow) {
    Storage storage = storage_of(x.scalar_type(), narrow);
    auto like_x = [&](const std::optional<Tensor>& tensor) {
      return tensor ? tensor->to(x.scalar_type()).contiguous() : Tensor();
    };
    Tensor in = x.contiguous();
    Tensor added = branch ? branch->to(narrow).contiguous() : Tensor();
    Tensor factor = like_x(scale), left_out = like_x(mask), times = like_x(weight), plus = like_x(bias);
    Rows all = rows_of(in, left_out);
    Tensor y = at::empty(in.sizes(), in.options().dtype(narrow));
    Tensor sum = added.defined() ? at::empty_like(in) : in;
    Tensor statistics = at::empty({all.end, 2}, in.options());
    NormForward tensors{read(in),  read(added), read(factor), read(left_out), read(times),
                        read(plus), eps,         write(sum),   write(y),       write(statistics)};
    if (all.end > 0 && by_kernels(in)) {
      norm_forward_on_gpu(in, narrow, tensors, all);
    } else if (all.end > 0) {
      in_blocks(all, [&](int64_t, Rows rows) { loops().forward[(int)storage](tensors, rows); });
    }
    context->set_materialize_grads(false);
    context->save_for_backward({sum, statistics, times, factor.defined() ? added : Tensor(), factor, left_out});
    context->saved_data["narrow"] = narrow;
    context->saved_data["branch"] = branch ? branch->scalar_type() : at::ScalarType::Undefined;
    context->saved_data["weight"] = weight.scalar_type();
    context->saved_data["scale"] = scale ? scale->scalar_type() : at::ScalarType::Undefined;
    if (added.defined()) return {y, sum};
    return {y};
  }

  // As norm_backward_on_gpu.
  static Tensor on_cpu(const Tensor& sum, at::ScalarType narrow, const NormBackward& tensors, Rows all, int64_t parts) {
    Tensor of_blocks = at::zeros({blocks_of(all), parts, all.columns}, sum.options());
    int64_t step = all.columns * of_blocks.element_size();
    char* sums = (char*)write(of_blocks);
    in_blocks(all, [&](int64_t index, Rows rows) {
      char* own = sums + index * parts * step;
      NormBackward of_block = tensors;
      of_block.dweight = own;
      of_block.dbias = own + step;
      of_block.dscale = parts == 3 ? own + 2 * step : nullptr;
      loops().backward[(int)storage_of(sum.scalar_type(), narrow)](of_block, rows);
    });
    return of_blocks.sum(0);
  }

  static variable_list backward(AutogradContext* context, variable_list above) {
    auto saved = context->get_saved_variables();
    const Tensor &sum = saved[0], &statistics = saved[1], &weight = saved[2], &branch = saved[3], &scale = saved[4], &mask = saved[5];
    auto type = [&](const char* name) { return context->saved_data[name].toScalarType(); };
    at::ScalarType narrow = type("narrow"), of_branch = type("branch");
    bool branched = of_branch != at::ScalarType::Undefined;
    Rows all = rows_of(sum, mask);
    Tensor dy = above[0].defined() ? above[0].to(narrow).contiguous() : at::zeros(sum.sizes(), sum.options().dtype(narrow));
    Tensor dsum = branched && above[1].defined() ? above[1].to(sum.scalar_type()).contiguous() : Tensor();
    Tensor dx = at::empty_like(sum);
    Tensor dbranch = branched ? at::empty(sum.sizes(), sum.options().dtype(narrow)) : Tensor();
    int64_t parts = scale.defined() ? 3 : 2;
    NormBackward tensors{read(sum),   read(statistics), read(weight), read(dy),       read(dsum), read(branch),
                         read(scale), read(mask),       write(dx),    write(dbranch), nullptr,    nullptr,
                         nullptr};
    // The gradients of weight, bias and scale, (parts, columns).
    Tensor of_all = all.end > 0 && by_kernels(sum) ? norm_backward_on_gpu(sum, narrow, tensors, all, parts)
                                                   : on_cpu(sum, narrow, tensors, all, parts);
    variable_list answer(8);
    answer[0] = dx;
    if (branched) answer[1] = dbranch.to(of_branch);
    if (scale.defined()) answer[2] = of_all[2].to(type("scale"));
    answer[4] = of_all[0].to(type("weight"));
    answer[5] = of_all[1].to(type("weight"));
    return answer;
  }
};

}  // namespace
}  // namespace rectify

extern "C" {

// y = LayerNorm(x + branch·scale·mask) in the kind `narrow`, and the sum, which is x itself without a branch; `branch`, and
// with it `scale` and `mask`, may be null.
char* rectify_norm(const at::Tensor* x, const at::Tensor* branch, const at::Tensor* scale, const at::Tensor* mask,
                   const at::Tensor* weight, const at::Tensor* bias, double eps, int narrow, at::Tensor** y, at::Tensor** sum) {
  RECTIFY_GUARD({
    auto given = [](const at::Tensor* tensor) { return tensor ? std::optional<at::Tensor>(*tensor) : std::nullopt; };
    TORCH_CHECK(x->dim() > 0, "a number has no rows to normalise");
    int64_t columns = x->size(-1);
    for (const at::Tensor* row : {weight, bias, scale})
      TORCH_CHECK(!row || (row->dim() == 1 && row->size(0) == columns), "a row of shape ", row->sizes(),
                  " does not fit the last dimension of ", x->sizes());
    TORCH_CHECK(!branch || branch->sizes() == x->sizes(), "a branch of shape ", branch->sizes(), " beside ", x->sizes());
    TORCH_CHECK(!mask || (mask->dim() == 1 && x->dim() > 1 && mask->size(0) == x->size(0)), "a mask of shape ", mask->sizes(),
                " does not fit the first dimension of ", x->sizes());
    for (const at::Tensor* other : {branch, scale, mask, weight, bias})
      TORCH_CHECK(!other || other->device() == x->device(), "tensors on ", other->device(), " and ", x->device());
    auto found = rectify::Norm::apply(*x, given(branch), given(scale), given(mask), *weight, *bias, eps, (at::ScalarType)narrow);
    *sum = new at::Tensor(branch ? found[1] : *x);
    *y = new at::Tensor(found[0]);
  })
}

}
