// Images that come as bytes, prepared for a network by a kernel: what it is given, and whether that
// fits together.

#include "input.h"

#include <ATen/ATen.h>

#include "border.h"
#include "input_launch.h"
#include "launch.h"

namespace rectify {
namespace {

using at::Tensor;

void check(const Tensor* tensor, const char* name, const Tensor& bytes, at::ScalarType type, at::IntArrayRef shape) {
  if (!tensor) return;
  TORCH_CHECK(tensor->scalar_type() == type && tensor->sizes() == shape && tensor->is_contiguous(), name, " are ",
              tensor->scalar_type(), " of ", tensor->sizes(), ", not contiguous ", type, " of ", shape);
  TORCH_CHECK(tensor->device() == bytes.device(), name, " are on ", tensor->device(), ", bytes on ", bytes.device());
}

InputShape shape_of(const Tensor& bytes, int64_t patch_rows, int64_t patch_columns) {
  int64_t rows = bytes.size(1), columns = bytes.size(2);
  TORCH_CHECK(patch_rows > 0 && patch_columns > 0 && rows % patch_rows == 0 && columns % patch_columns == 0, "patches of ",
              patch_rows, " x ", patch_columns, " pixels do not cut up images of ", rows, " x ", columns);
  TORCH_CHECK(3 * rows * columns <= INT32_MAX, "images of ", rows, " x ", columns, " pixels are larger than kernels can count");
  InputShape shape = input_shape((int)rows, (int)columns, (int)patch_rows, (int)patch_columns);
  TORCH_CHECK(shape.tile_rows > 0, "images of ", columns, " columns are wider than the ", INPUT_TILE_BYTES / 3,
              " that a kernel prepares");
  TORCH_CHECK(shape.tiles <= 65535, "images of ", rows, " rows have more parts than a kernel can count");
  return shape;
}

std::string definitions_of(at::ScalarType kind) { return std::string("-DSTORAGE=") + name_of(kind); }

Tensor prepare(const InputArguments& in, at::ScalarType kind) {
  const Tensor& bytes = *in.bytes;
  TORCH_CHECK(by_kernels(bytes), "there is no kernel for images on ", bytes.device());
  TORCH_CHECK(bytes.dim() == 4 && bytes.size(3) == 3 && bytes.scalar_type() == at::kByte && bytes.is_contiguous(),
              "images are ", bytes.scalar_type(), " of ", bytes.sizes(), ", not contiguous bytes (N, H, W, 3)");
  const int64_t images = bytes.size(0);
  const int64_t erasures = in.erasures && in.erasures->dim() == 3 ? in.erasures->size(1) : 0;
  check(in.labels, "labels", bytes, at::kLong, {images});
  check(in.erasures, "erased rectangles", bytes, at::kInt, {images, erasures, ERASURE_WORDS});
  check(in.half_normal, "normal numbers", bytes, at::kFloat, {HALF_NORMALS});
  check(in.partners, "partners", bytes, at::kLong, {images});
  check(in.own, "weights of own pixels", bytes, at::kDouble, {images});
  check(in.boxes, "boxes", bytes, at::kLong, {4, images});
  TORCH_CHECK(!in.erasures || in.half_normal, "erased rectangles without the numbers that stand in them");
  TORCH_CHECK(!in.partners == !in.own && (in.partners || !in.boxes), "an image is mixed with a partner and a weight");

  InputShape shape = shape_of(bytes, in.patch_rows, in.patch_columns);
  Tensor out = at::empty({images, shape.rows / shape.patch_rows * (shape.columns / shape.patch_columns), 3, shape.patch_rows,
                          shape.patch_columns}, bytes.options().dtype(kind));
  if (out.numel() == 0) return out;
  auto given = [](const Tensor* tensor) { return tensor ? tensor->const_data_ptr() : nullptr; };
  InputTensors tensors = {(const unsigned char*)given(in.bytes),
                          (const int64_t*)given(in.labels),
                          (const int32_t*)given(in.erasures),
                          (const float*)given(in.half_normal),
                          (const int64_t*)given(in.partners),
                          (const double*)given(in.own),
                          (const int64_t*)given(in.boxes),
                          out.mutable_data_ptr(),
                          {in.scale[0], in.scale[1], in.scale[2]},
                          {in.shift[0], in.shift[1], in.shift[2]},
                          (int)erasures,
                          in.erase_mode};
  launch(bytes, "input.cu", definitions_of(kind), "prepare_images", Grid{(unsigned)images, (unsigned)shape.tiles, INPUT_THREADS, 1},
         {&tensors, &shape});
  return out;
}

}  // namespace

void each_input_kernel(const VisitKernel& visit) {
  for (at::ScalarType kind : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble}) visit("input.cu", definitions_of(kind));
}

}  // namespace rectify

extern "C" {

// Whether kernels take tensors on the device of `tensor`.
bool rectify_by_kernels(const at::Tensor* tensor) {
  return tensor->is_cuda() ? rectify::cuda_table != nullptr : rectify::cuda_table && rectify::cuda_table->on_host;
}

// (N, L, 3, patch rows, patch columns) in the kind `kind`.
char* rectify_prepare_images(const rectify::InputArguments* in, int kind, at::Tensor** out) {
  RECTIFY_GUARD({ *out = new at::Tensor(rectify::prepare(*in, (at::ScalarType)kind)); })
}

}
