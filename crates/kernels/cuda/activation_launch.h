// How the kernels of activation.cu are started: what they take, and how a tensor is dealt out to blocks and threads.
#pragma once

#include "catalogue.h"
#include "plain_c.h"

namespace rectify {

// Beside `x` and `out` all may be null. `bias` has `columns` numbers of the type that is computed with, parameters one each, and
// `table` is a whole table or correction of that type.
struct ActivationTensors {
  const void *x, *bias, *dy;
  void* out;                                // y, or dx
  const void* parameters[MAX_PARAMETERS];   // null where the constant stands in
  double constants[MAX_PARAMETERS];
  const void* table;
  void* bias_sums;         // (blocks of rows, columns), of the type that is computed with
  double* parameter_sums;  // (blocks, MAX_PARAMETERS)
};

// A tensor as rows of `columns` elements, cut into tiles: a block has `lanes` threads side by side, each with 16 bytes of every
// row, and as many rows at once as make 256 threads; it goes down `rows_of_block` rows.
struct Tiles {
  int64_t elements, rows_of_block;
  int columns, lanes;
  unsigned blocks_across, blocks_down;
};

constexpr int TILE_THREADS = 256;

// Nothing but the shape decides, since the order of sums follows from it. `columns` is 0 where they do not matter. 2048 blocks
// are several for each processor of the largest GPU, and few enough that their sums are little beside the tensor.
inline Tiles tiles_of(int64_t elements, int columns, int element_bytes) {
  const int width = 16 / element_bytes;
  Tiles tiles = {elements, 0, columns ? columns : 32 * width, 1, 0, 0};
  while (tiles.lanes < 32 && tiles.lanes * width < tiles.columns) tiles.lanes *= 2;
  const int64_t rows = (elements + tiles.columns - 1) / tiles.columns, at_once = TILE_THREADS / tiles.lanes;
  const int64_t across = (tiles.columns + tiles.lanes * width - 1) / (tiles.lanes * width);
  const int64_t most_down = across < 2048 ? 2048 / across : 1;
  const int64_t steps = (rows + most_down * at_once - 1) / (most_down * at_once);
  tiles.rows_of_block = (steps > 0 ? steps : 1) * at_once;
  tiles.blocks_across = (unsigned)across;
  tiles.blocks_down = (unsigned)((rows + tiles.rows_of_block - 1) / tiles.rows_of_block);
  return tiles;
}

}  // namespace rectify
