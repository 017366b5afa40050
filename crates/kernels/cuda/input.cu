// Bytes to what a network reads, in one pass: normalized, erased, mixed with a partner, cut into
// patches, rounded.
//
// Every byte is read once, and once more where the image is another one's partner; every number is
// written once. A block holds some rows of pixels of one image and of its partner in shared memory:
// in memory such rows lie together, in patches their channels and columns lie apart. It reads 16
// bytes at a time, and writes 16 bytes at a time whatever the size of a patch, since threads go
// along the output and look up where in the image each number comes from. With H = patch rows and W
// = patch columns the output is (N, 3, H, W), so one kernel serves networks with and without
// patches.
//
// The numbers are those of the loader (dataloader/src/pixels/transform.rs, augment/erase.rs) and of
// the trainer's mixing (trainer/src/mixing.rs), bit for bit: the same operations, rounded where
// those round. What stands in an erased rectangle is computed here, since the generator is
// counter-based.
//
// Compiled for one STORAGE of the output at a time.
#ifndef LEVEL
#define LEVEL device
#endif

#include "input_launch.h"
#include "memory.h"

namespace rectify {
namespace LEVEL {
namespace {

// Left to itself, the compiler for GPUs makes one operation, and one rounding, of any product and
// sum.
#ifdef __CUDACC_RTC__
inline float rounded_product(float a, float b) { return __fmul_rn(a, b); }
inline float rounded_sum(float a, float b) { return __fadd_rn(a, b); }
inline float product_and_sum(float a, float b, float c) { return __fmaf_rn(a, b, c); }
#else
inline float rounded_product(float a, float b) { return a * b; }
inline float rounded_sum(float a, float b) { return a + b; }
inline float product_and_sum(float a, float b, float c) { return fmaf(a, b, c); }
#endif

// Arguments of a kernel can only be indexed by constants without a copy of them in slow memory.
inline float of_channel(const float* numbers, int channel) {
  return channel == 0 ? numbers[0] : channel == 1 ? numbers[1] : numbers[2];
}

// Number `draw` of a stream of Philox4x32-10, as crates/random has it.
inline uint32_t random_number(const int32_t* key, int64_t draw) {
  uint32_t a = (uint32_t)(draw >> 2), b = (uint32_t)(draw >> 34), c = key[2], d = key[3], first = key[0], second = key[1];
  for (int round = 0; round < 10; ++round) {
    unsigned long long of_a = 0xD2511F53ull * a, of_c = 0xCD9E8D57ull * c;
    a = (uint32_t)(of_c >> 32) ^ b ^ first;
    b = (uint32_t)of_c;
    c = (uint32_t)(of_a >> 32) ^ d ^ second;
    d = (uint32_t)of_a;
    first += 0x9E3779B9u;
    second += 0xBB67AE85u;
  }
  int word = (int)(draw & 3);
  return word == 0 ? a : word == 1 ? b : word == 2 ? c : d;
}

// What stands at a place of an erased rectangle.
inline float erased(const InputTensors& of, const int32_t* record, int channel, int row, int column) {
  if (of.erase_mode == (int)EraseMode::Const) return 0;
  bool each = of.erase_mode == (int)EraseMode::Pixel;
  int64_t height = record[6], pairs = (record[7] + 1) / 2;
  int64_t draw = each ? (channel * height + row) * pairs + column / 2 : channel;
  uint32_t bits = random_number(record, (int64_t)(uint32_t)record[8] + draw) >> (each && column % 2 ? 16 : 0);
  float size = of.half_normal[bits % HALF_NORMALS];
  return bits / HALF_NORMALS % 2 ? -size : size;
}

// The rows of pixels that a block prepares.
struct Tile {
  explicit Tile(const InputShape& shape) {
    int tile = (int)blockIdx.y;
    if (shape.tile_rows >= shape.patch_rows) {
      first = tile * shape.tile_rows;
      rows = shape.rows - first;
    } else {
      int parts = shape.tiles / (shape.rows / shape.patch_rows), start = tile % parts * shape.tile_rows;
      first = tile / parts * shape.patch_rows + start;
      rows = shape.patch_rows - start;
    }
    if (rows > shape.tile_rows) rows = shape.tile_rows;
  }
  int first, rows;
};

// One image of a block, seen in its rows.
struct Image {
  // `memory` has room for INPUT_TILE_BYTES and 16 more. All threads come here, and wait for one
  // another before they look. An image that is not `seen` is not read.
  Image(const InputTensors& of, const InputShape& shape, const Tile& tile, int64_t index, bool seen, uint4* memory)
      : left_out(!seen || (of.labels && of.labels[index] < 0)), columns(shape.columns), first_row(tile.first), num_erasures(0) {
    if (left_out) return;
    erasures = of.erasures + index * of.erasures_of_image * ERASURE_WORDS;
    while (num_erasures < of.erasures_of_image && erasures[num_erasures * ERASURE_WORDS + 6] > 0) ++num_erasures;
    int row_bytes = 3 * shape.columns, count = tile.rows * row_bytes;
    const unsigned char* from = of.bytes + (index * shape.rows + tile.first) * row_bytes;
    // In shared memory they lie as far from a multiple of 16 as in memory.
    int lead = (int)((size_t)from & 15);
    bytes = (const unsigned char*)memory + lead;
    for (int word = thread_of_block(); word * 16 < lead + count; word += INPUT_THREADS) {
      int begin = word * 16 - lead, end = begin + 16;
      if (begin >= 0 && end <= count) {
        memory[word] = *(const uint4*)(from + begin);
      } else {
        for (int k = begin > 0 ? begin : 0; k < end && k < count; ++k) ((unsigned char*)memory)[lead + k] = from[k];
      }
    }
  }

  float number(const InputTensors& of, int channel, int row, int column) const {
    if (left_out) return 0;
    // Later rectangles cover earlier ones.
    for (int k = num_erasures - 1; k >= 0; --k) {
      const int32_t* record = erasures + k * ERASURE_WORDS;
      int y = row - record[4], x = column - record[5];
      if (y >= 0 && y < record[6] && x >= 0 && x < record[7]) return erased(of, record, channel, y, x);
    }
    int level = bytes[((row - first_row) * columns + column) * 3 + channel];
    return rounded_sum(rounded_product((float)level, of_channel(of.scale, channel)), of_channel(of.shift, channel));
  }

  bool left_out;
  int columns, first_row, num_erasures;
  const int32_t* erasures;
  const unsigned char* bytes;
};

// How an image is mixed with its partner.
struct Mix {
  Mix(const InputTensors& of, int64_t index, int64_t images)
      : own(of.partners ? (float)of.own[index] : 1), rest(1 - own), partner(of.partners ? of.partners[index] : index) {
    for (int edge = 0; edge < 4; ++edge) edges[edge] = of.boxes ? (int)of.boxes[edge * images + index] : 0;
  }
  bool pastes(int row, int column) const {
    return row >= edges[0] && row < edges[1] && column >= edges[2] && column < edges[3];
  }
  bool needs_partner(const Tile& tile) const {
    return own != 1 || (edges[0] < tile.first + tile.rows && edges[1] > tile.first && edges[2] < edges[3]);
  }

  float own, rest;
  int64_t partner;
  int edges[4];  // top, bottom, left, right
};

// Where in an image a number of the output comes from.
struct Place {
  Place(const InputShape& shape, int element) {
    int area = shape.patch_rows * shape.patch_columns, patch = element / (3 * area), across = shape.columns / shape.patch_columns;
    int within = element % (3 * area);
    top = patch / across * shape.patch_rows;
    left = patch % across * shape.patch_columns;
    channel = within / area;
    y = within % area / shape.patch_columns;
    x = within % shape.patch_columns;
  }
  void next(const InputShape& shape) {
    if (++x < shape.patch_columns) return;
    x = 0;
    if (++y < shape.patch_rows) return;
    y = 0;
    if (++channel < 3) return;
    channel = 0;
    left += shape.patch_columns;
    if (left < shape.columns) return;
    left = 0;
    top += shape.patch_rows;
  }
  int row() const { return top + y; }
  int column() const { return left + x; }

  int top, left, channel, y, x;
};

template <class S> __device__ void prepare(const InputTensors& of, const InputShape& shape) {
  constexpr int WIDTH = 16 / sizeof(S);
  __shared__ uint4 of_own[INPUT_TILE_BYTES / 16 + 1], of_partner[INPUT_TILE_BYTES / 16 + 1];
  const int64_t index = blockIdx.x;
  const Tile tile(shape);
  const Mix mix(of, index, gridDim.x);
  const Image own(of, shape, tile, index, true, of_own), partner(of, shape, tile, mix.partner, mix.needs_partner(tile), of_partner);
  __syncthreads();

  // Whole rows of patches lie together in the output; of a part of one, each channel of each patch
  // does.
  const bool whole = tile.rows % shape.patch_rows == 0;
  const int row_of_channel = tile.rows * shape.patch_columns, area = shape.patch_rows * shape.patch_columns;
  const int length = whole ? 3 * tile.rows * shape.columns : row_of_channel;
  const int segments = whole ? 1 : 3 * (shape.columns / shape.patch_columns);
  const int start = whole ? 3 * tile.first * shape.columns
                          : 3 * (tile.first - tile.first % shape.patch_rows) * shape.columns +
                                tile.first % shape.patch_rows * shape.patch_columns;
  const int64_t of_image = 3 * (int64_t)shape.rows * shape.columns, before = index * of_image;
  const int words = length / WIDTH + 2;  // that a segment touches, at most
  const bool aligned = lies_on(of.out, 16);
  for (int k = thread_of_block(); k < segments * words; k += INPUT_THREADS) {
    int64_t begin = before + start + (int64_t)(k / words) * area, end = begin + length;
    int64_t word = (begin / WIDTH + k % words) * WIDTH;
    int64_t first = word > begin ? word : begin, last = word + WIDTH < end ? word + WIDTH : end;
    if (first >= last) continue;
    Place place(shape, (int)(first - before));
    float numbers[WIDTH] = {};
#pragma unroll
    for (int i = 0; i < WIDTH; ++i) {
      if (word + i < first || word + i >= last) continue;
      int row = place.row(), column = place.column();
      bool pasted = mix.pastes(row, column);
      float number = pasted ? 0 : own.number(of, place.channel, row, column);
      // With own = 1 the formula gives the own number, which is never -0 or infinite.
      if (pasted || mix.own != 1) {
        float other = partner.number(of, place.channel, row, column);
        // One rounding, as libtorch's addcmul on a GPU and on any CPU with AVX2.
        number = pasted ? other : product_and_sum(number, mix.own, rounded_product(other, mix.rest));
      }
      numbers[i] = number;
      place.next(shape);
    }
    S* to = (S*)of.out + word;
    if (aligned && last - first == WIDTH) {
      store_word<WIDTH>(numbers, to);
    } else {
      for (int i = 0; i < WIDTH; ++i)
        if (word + i >= first && word + i < last) narrow(numbers[i], to[i]);
    }
  }
}

}  // namespace

#ifdef STORAGE
extern "C" __global__ void __launch_bounds__(INPUT_THREADS, 4) prepare_images(InputTensors of, InputShape shape) {
  prepare<STORAGE>(of, shape);
}
#endif

}  // namespace LEVEL
}  // namespace rectify
