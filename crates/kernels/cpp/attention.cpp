// Attention within windows as one function of autograd, on a CPU.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <memory>

#include "attention_loops.h"
#include "border.h"

namespace rectify {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// The windows of all heads are dealt into about this many blocks, whatever the number of threads: each has its own sum of the
// biases' gradient, and these are added in their order.
constexpr int64_t BLOCKS = 128;

const AttentionLoops& loops() {
  static const AttentionLoops& chosen = of_this_machine(baseline::attention_loops, avx2::attention_loops, avx512::attention_loops);
  return chosen;
}

Storage storage_of(at::ScalarType narrow) {
  switch (narrow) {
    case at::kFloat: return Storage::F32;
    case at::kDouble: return Storage::F64;
    case at::kBFloat16: return Storage::BF16;
    case at::kHalf: return Storage::F16;
    default: TORCH_CHECK(false, "there is no attention in ", narrow);
  }
}

at::ScalarType computed_with(at::ScalarType narrow) { return narrow == at::kDouble ? at::kDouble : at::kFloat; }

int64_t blocks_of_head(const Grid2d& grid) {
  return std::max<int64_t>(1, std::min(at::divup(BLOCKS, grid.heads), grid.all_windows()));
}

// Calls work(block, range, scratch) for every block of every head.
template <class Work> void in_blocks(const Grid2d& grid, at::ScalarType type, Work work) {
  int64_t of_head = blocks_of_head(grid), windows = grid.all_windows();
  at::parallel_for(0, grid.heads * of_head, 1, [&](int64_t first, int64_t last) {
    size_t room = scratch_numbers(grid) * c10::elementSize(type);
    std::unique_ptr<void, decltype(&free)> scratch(aligned_alloc(64, (room + 63) / 64 * 64), free);
    TORCH_CHECK(scratch, "no memory for a window of ", grid.side, " x ", grid.side);
    for (int64_t block = first; block < last; ++block) {
      int64_t place = block % of_head;
      work(block, WindowRange{block / of_head, windows * place / of_head, windows * (place + 1) / of_head}, scratch.get());
    }
  });
}

struct WindowAttention : torch::autograd::Function<WindowAttention> {
  static Grid2d grid_of(const Tensor& qkv, int64_t heads, int64_t side, int64_t shift) {
    return {qkv.size(0), qkv.size(1), qkv.size(2), side, shift, heads, qkv.size(3) / 3 / heads};
  }

  static Tensor forward(AutogradContext* context, const Tensor& qkv, const Tensor& bias, const std::optional<Tensor>& mask,
                        int64_t heads, int64_t side, int64_t shift) {
    at::ScalarType narrow = qkv.scalar_type(), type = computed_with(narrow);
    Tensor in = qkv.contiguous(), biases = bias.to(type).contiguous();
    Tensor masks = mask ? mask->to(type).contiguous() : Tensor();
    Grid2d grid = grid_of(in, heads, side, shift);
    Tensor out = at::empty({grid.images, grid.rows, grid.columns, heads * grid.width}, in.options());
    Tensor statistics = at::empty({heads, grid.all_windows(), grid.area(), 2}, biases.options());
    AttentionForward tensors{in.const_data_ptr(), biases.const_data_ptr(), mask ? masks.const_data_ptr() : nullptr,
                             out.mutable_data_ptr(), statistics.mutable_data_ptr()};
    auto loop = loops().forward[(int)storage_of(narrow)];
    in_blocks(grid, type, [&](int64_t, WindowRange range, void* scratch) { loop(tensors, grid, range, scratch); });
    context->save_for_backward({in, biases, masks, statistics});
    context->saved_data["windows"] = std::vector<int64_t>{heads, side, shift};
    context->saved_data["bias"] = bias.scalar_type();
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list above) {
    auto saved = context->get_saved_variables();
    const Tensor &qkv = saved[0], &bias = saved[1], &mask = saved[2], &statistics = saved[3];
    auto windows = context->saved_data["windows"].toIntVector();
    Grid2d grid = grid_of(qkv, windows[0], windows[1], windows[2]);
    Tensor dout = above[0].to(qkv.scalar_type()).contiguous(), dqkv = at::empty_like(qkv);
    Tensor dbias = at::empty({grid.heads, blocks_of_head(grid), grid.area(), grid.area()}, bias.options());
    auto loop = loops().backward[(int)storage_of(qkv.scalar_type())];
    char* sums = (char*)dbias.mutable_data_ptr();
    int64_t step = grid.area() * grid.area() * dbias.element_size();
    AttentionBackward tensors{qkv.const_data_ptr(),        bias.const_data_ptr(), mask.defined() ? mask.const_data_ptr() : nullptr,
                              statistics.const_data_ptr(), dout.const_data_ptr(), dqkv.mutable_data_ptr(),
                              nullptr};
    in_blocks(grid, bias.scalar_type(), [&](int64_t block, WindowRange range, void* scratch) {
      AttentionBackward of_block = tensors;
      of_block.dbias = sums + block * step;
      loop(of_block, grid, range, scratch);
    });
    variable_list answer(6);
    answer[0] = dqkv;
    answer[1] = dbias.sum(1).to(context->saved_data["bias"].toScalarType());
    return answer;
  }
};

}  // namespace
}  // namespace rectify

extern "C" {

// Attention of the tokens of qkv (N, H, W, 3 · heads · width) within windows of side × side, of the grid rolled up and left by
// `shift`: (N, H, W, heads · width). `mask` may be null.
char* rectify_window_attention(const at::Tensor* qkv, const at::Tensor* bias, const at::Tensor* mask, int64_t heads, int64_t side,
                               int64_t shift, at::Tensor** out) {
  RECTIFY_GUARD({
    TORCH_CHECK(qkv->device().is_cpu() && bias->device().is_cpu() && (!mask || mask->device().is_cpu()),
                "it is for tensors on a CPU");
    TORCH_CHECK(qkv->dim() == 4 && heads > 0 && qkv->size(3) % (3 * heads) == 0 && qkv->size(3) > 0, "tokens of shape ",
                qkv->sizes(), " do not have q, k and v of ", heads, " heads");
    TORCH_CHECK(side > 0 && qkv->size(1) % side == 0 && qkv->size(2) % side == 0 && shift >= 0, "windows of ", side, " x ", side,
                ", shifted by ", shift, ", do not cut a grid of ", qkv->size(1), " x ", qkv->size(2));
    TORCH_CHECK(qkv->size(1) * qkv->size(2) <= INT32_MAX, "a grid of ", qkv->size(1), " x ", qkv->size(2), " is too large");
    int64_t area = side * side;
    int64_t windows = (qkv->size(1) / side) * (qkv->size(2) / side);
    TORCH_CHECK(bias->sizes() == at::IntArrayRef({heads, area, area}), "biases of shape ", bias->sizes(), " for ", heads,
                " heads and windows of ", area, " tokens");
    TORCH_CHECK(!mask || mask->sizes() == at::IntArrayRef({windows, area, area}), "masks of shape ", mask->sizes(), " for ",
                windows, " windows of ", area, " tokens");
    auto given = mask ? std::optional<at::Tensor>(*mask) : std::nullopt;
    *out = new at::Tensor(rectify::WindowAttention::apply(*qkv, *bias, given, heads, side, shift));
  })
}

}
