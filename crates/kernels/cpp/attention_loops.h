// The inner loops of attention within windows on a CPU, compiled once for each level of the instruction set; no libtorch here.
#pragma once

#include "level.h"
#include "plain_c.h"

namespace rectify {

// A grid of tokens, and how it is cut: rolled up and left by `shift`, then into windows of side × side tokens. Each token has
// `heads` heads of `width` numbers.
struct Grid2d {
  int64_t images, rows, columns, side, shift, heads, width;

  INLINED int64_t area() const { return side * side; }
  INLINED int64_t windows() const { return (rows / side) * (columns / side); }
  INLINED int64_t all_windows() const { return images * windows(); }
};

// Windows [first, last) of all images, of one head.
struct WindowRange {
  int64_t head, first, last;
};

// qkv (images, rows, columns, 3 · heads · width), `out` likewise without the 3; both, and what belongs to them, of the narrow type.
// All else is of the type that is computed with: bias (heads, area, area), mask (windows, area, area) or null, and of each row
// of scores its largest and one over the sum of what is left, `statistics` (heads, all windows, area, 2).
struct AttentionForward {
  const void *qkv, *bias, *mask;
  void *out, *statistics;
};

struct AttentionBackward {
  const void *qkv, *bias, *mask, *statistics, *dout;
  void *dqkv, *dbias;  // dbias: (area, area) of these windows and this head
};

// `scratch` has room for as many numbers as scratch_numbers says, at a multiple of 64 bytes.
using AttentionForwardLoop = void (*)(const AttentionForward& of, const Grid2d& grid, WindowRange range, void* scratch);
using AttentionBackwardLoop = void (*)(const AttentionBackward& of, const Grid2d& grid, WindowRange range, void* scratch);

struct AttentionLoops {
  AttentionForwardLoop forward[4];
  AttentionBackwardLoop backward[4];
};

// Rows of scratch memory have a length that every vector divides.
INLINED int64_t whole_vectors(int64_t length) { return (length + 15) / 16 * 16; }

// Five matrices of tokens, two that are transposed, and four of scores; and the place of each token.
INLINED int64_t scratch_numbers(const Grid2d& grid) {
  int64_t area = whole_vectors(grid.area()), width = whole_vectors(grid.width);
  return grid.area() * (5 * width + 4 * area) + 2 * width * area + 2 * area;
}

namespace baseline { extern const AttentionLoops attention_loops; }
namespace avx2 { extern const AttentionLoops attention_loops; }
namespace avx512 { extern const AttentionLoops attention_loops; }

}  // namespace rectify
