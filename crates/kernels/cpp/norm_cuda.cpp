// Norms on a GPU: which kernel a row length needs, and where its blocks leave their sums.

#include "norm.h"

#include <ATen/ATen.h>

#include <set>

#include "norm_launch.h"
#include "launch.h"

namespace rectify {
namespace {

using at::Tensor;

int bytes_of(at::ScalarType type) { return (int)c10::elementSize(type); }

std::string definitions_of(at::ScalarType wide, at::ScalarType narrow, const Teams& teams, RowAccess access, RowBranch branch) {
  return std::string("-DWIDE=") + name_of(wide) + " -DNARROW=" + name_of(narrow) + " -DROW_LANES=" + std::to_string(teams.lanes) +
         " -DROW_GROUPS=" + std::to_string(teams.groups) + " -DROW_ACCESS=" + name_of(access) + " -DROW_BRANCH=" + name_of(branch);
}

bool all_lie_on(int bytes, std::initializer_list<const void*> places) {
  for (const void* place : places)
    if ((size_t)place % bytes) return false;
  return true;
}

// What a kernel is compiled for, from the tensors that it takes.
struct Variant {
  Variant(const Tensor& on, at::ScalarType narrow, Rows rows, bool has_branch, bool scaled, std::initializer_list<const void*> wides,
          std::initializer_list<const void*> narrows)
      : on(on), rows(rows) {
    const int bytes = (int)on.element_size(), width = 16 / bytes;
    TORCH_CHECK(rows.columns <= longest_row(bytes), "rows of ", rows.columns, " numbers are longer than kernels can normalize: ",
                longest_row(bytes), " is the most for ", on.scalar_type());
    teams = teams_of(rows, bytes);
    RowAccess access = rows.columns % width                                                                 ? RowAccess::Spread
                       : all_lie_on(16, wides) && all_lie_on(width * bytes_of(narrow), narrows) ? RowAccess::Words
                                                                                                             : RowAccess::Grouped;
    RowBranch branch = scaled ? RowBranch::Scaled : has_branch ? RowBranch::Plain : RowBranch::None;
    definitions = definitions_of(on.scalar_type(), narrow, teams, access, branch);
  }

  template <class Tensors> void start(const char* name, const Tensors& tensors) const {
    Grid grid{teams.blocks, 1, (unsigned)teams.lanes, (unsigned)teams.teams};
    launch(on, "norm.cu", definitions, name, grid, {&tensors, &rows});
  }

  const Tensor& on;
  Rows rows;
  Teams teams;
  std::string definitions;
};

}  // namespace

void norm_forward_on_gpu(const Tensor& x, at::ScalarType narrow, const NormForward& of, Rows all) {
  Variant variant(x, narrow, all, of.branch, of.scale, {of.x, of.sum, of.scale, of.weight, of.bias}, {of.branch, of.y});
  variant.start("norm_forward", of);
}

Tensor norm_backward_on_gpu(const Tensor& sum, at::ScalarType narrow, NormBackward of, Rows all, int64_t parts) {
  Variant variant(sum, narrow, all, of.dbranch, of.scale, {of.sum, of.dsum, of.dx, of.weight, of.scale},
                  {of.dy, of.branch, of.dbranch});
  Tensor of_blocks = at::empty({variant.teams.blocks, parts * all.columns}, sum.options());
  char* first = (char*)of_blocks.mutable_data_ptr();
  int64_t step = all.columns * of_blocks.element_size();
  of.dweight = first;
  of.dbias = first + step;
  of.dscale = parts == 3 ? first + 2 * step : nullptr;
  variant.start("norm_backward", of);
  return sum_of_rows(of_blocks, sum.scalar_type()).view({parts, all.columns});
}

void each_norm_kernel(const std::vector<int64_t>& row_lengths, const VisitKernel& visit) {
  std::set<std::string> seen;
  for (at::ScalarType narrow : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble}) {
    at::ScalarType wide = narrow == at::kDouble ? at::kDouble : at::kFloat;
    for (int64_t columns : row_lengths) {
      if (columns < 1 || columns > longest_row(bytes_of(wide))) continue;
      Teams teams = teams_of({0, 1, columns, 1}, bytes_of(wide));
      bool whole = columns * bytes_of(wide) % 16 == 0;
      for (RowAccess access : {RowAccess::Words, RowAccess::Grouped, RowAccess::Spread}) {
        if (whole == (access == RowAccess::Spread)) continue;
        for (RowBranch branch : {RowBranch::None, RowBranch::Plain, RowBranch::Scaled}) {
          std::string definitions = definitions_of(wide, narrow, teams, access, branch);
          if (seen.insert(definitions).second) visit("norm.cu", definitions);
        }
      }
    }
  }
}

}  // namespace rectify
