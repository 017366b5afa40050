// Norms on a GPU: which kernel a row length needs, and where its blocks leave their sums.

#include "norm.h"

#include <ATen/ATen.h>

#include "norm_launch.h"
#include "launch.h"

namespace rectify {
namespace {

using at::Tensor;

template <class Tensors>
void start(const Tensor& on, at::ScalarType narrow, const char* name, const Teams& teams, const Tensors& tensors, Rows rows) {
  TORCH_CHECK(teams.groups > 0, "rows of ", rows.columns, " numbers are longer than kernels can normalise");
  unsigned across = teams.lanes, down = teams.teams;
  std::string definitions = std::string("-DWIDE=") + name_of(on.scalar_type()) + " -DNARROW=" + name_of(narrow) +
                            " -DROW_GROUPS=" + std::to_string(teams.groups) + " -DROW_THREADS=" + std::to_string(across * down);
  launch(on, "norm.cu", definitions, name, Grid{teams.blocks, 1, across, down}, {&tensors, &rows});
}

}  // namespace

void norm_forward_on_gpu(const Tensor& x, at::ScalarType narrow, const NormForward& tensors, Rows all) {
  start(x, narrow, "norm_forward", teams_of(all, (int)x.element_size(), false), tensors, all);
}

Tensor norm_backward_on_gpu(const Tensor& sum, at::ScalarType narrow, NormBackward tensors, Rows all, int64_t parts) {
  Teams teams = teams_of(all, (int)sum.element_size(), true);
  Tensor of_blocks = at::empty({teams.blocks, parts * all.columns}, sum.options());
  char* first = (char*)of_blocks.mutable_data_ptr();
  int64_t step = all.columns * of_blocks.element_size();
  tensors.dweight = first;
  tensors.dbias = first + step;
  tensors.dscale = parts == 3 ? first + 2 * step : nullptr;
  start(sum, narrow, "norm_backward", teams, tensors, all);
  return sum_of_rows(of_blocks, sum.scalar_type()).view({parts, all.columns});
}

}  // namespace rectify
