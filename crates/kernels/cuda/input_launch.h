// How the kernel of input.cu is started: what it takes, and which rows of an image a block
// prepares.
#pragma once

#include "plain_c.h"

namespace rectify {

constexpr int INPUT_THREADS = 256;
// Of an image that a block holds in shared memory, and as much of its partner's: 32 kB, so that
// four blocks fit a processor, as many as registers allow.
constexpr int INPUT_TILE_BYTES = 16384;

// A record of an erased rectangle: key of the generator (4 words), top, left, height, width, and
// how many numbers of the generator come before its first. A height of 0 ends an image's list. The
// same in Rust: dataloader/src/augment/erase.rs.
constexpr int ERASURE_WORDS = 9;
enum class EraseMode : int { Const, Rand, Pixel };

// Beside `bytes` and `out` all may be null.
struct InputTensors {
  const unsigned char* bytes;   // (N, H, W, 3)
  const int64_t* labels;        // (N); an image with a negative one was left out, and is zeros
  const int32_t* erasures;      // (N, erasures of an image, ERASURE_WORDS)
  const float* half_normal;     // (HALF_NORMALS)
  const int64_t* partners;      // (N): the image that is mixed in
  const double* own;            // (N): the weight of an image's own pixels
  const int64_t* boxes;         // (4, N): top, bottom, left and right of what the partner's pixels replace
  void* out;                    // (N, H / patch rows, W / patch columns, 3, patch rows, patch columns)
  float scale[3], shift[3];     // of the channels: level · scale + shift
  int erasures_of_image, erase_mode;
};

// Sizes of the erased pixels' normal numbers: a power of 2.
constexpr int HALF_NORMALS = 4096;

// Images and patches in pixels, and how many rows of pixels a block has: whole rows of patches, or
// a part of one.
struct InputShape {
  int rows, columns, patch_rows, patch_columns, tile_rows, tiles;
};

// `tile_rows` is 0 where not even one row of pixels fits a block.
inline InputShape input_shape(int rows, int columns, int patch_rows, int patch_columns) {
  InputShape shape = {rows, columns, patch_rows, patch_columns, 0, 0};
  int fit = INPUT_TILE_BYTES / (3 * columns);
  if (fit == 0) return shape;
  if (fit >= patch_rows) {
    shape.tile_rows = fit / patch_rows * patch_rows;
    shape.tiles = (rows + shape.tile_rows - 1) / shape.tile_rows;
  } else {
    int parts = (patch_rows + fit - 1) / fit;
    shape.tile_rows = (patch_rows + parts - 1) / parts;
    // Fewer may do now that they are of one size.
    shape.tiles = rows / patch_rows * ((patch_rows + shape.tile_rows - 1) / shape.tile_rows);
  }
  return shape;
}

}  // namespace rectify
