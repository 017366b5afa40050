// What is to be done with images that come as bytes, as Rust gives it (src/input.rs, field by
// field).
#pragma once

#include <ATen/core/Tensor.h>

namespace rectify {

// Beside `bytes` all tensors may be null; input_launch.h has their shapes.
struct InputArguments {
  const at::Tensor *bytes, *labels, *erasures, *half_normal, *partners, *own, *boxes;
  float scale[3], shift[3];
  int erase_mode;
  int64_t patch_rows, patch_columns;
};

}  // namespace rectify
