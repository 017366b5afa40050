/* What crosses the border between Rust and libjpeg-turbo. Every function that can fail catches libjpeg's jump itself
 * and returns a status; nothing ever jumps over Rust. src/ffi.rs mirrors this file. */
#ifndef RECTIFY_JPEG_SHIM_H
#define RECTIFY_JPEG_SHIM_H

#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "jpeglib.h"
#include "jerror.h"

enum rj_status {
  RJ_OK = 0,
  RJ_NOT_JPEG = 1,
  RJ_TRUNCATED = 2,
  RJ_CORRUPT = 3,
  RJ_UNSUPPORTED = 4,
  RJ_TOO_LARGE = 5,
  RJ_OUT_OF_MEMORY = 6,
  RJ_MISUSE = 7,  /* a bug of ours: libjpeg refused the order of calls or a buffer */
  RJ_FALLBACK = 8 /* our entropy decoder met data that it does not judge; decode again with libjpeg's */
};

enum rj_format { RJ_RGB = 0, RJ_RGBX = 1 };

/* Errors and warnings of one libjpeg object. */
typedef struct {
  struct jpeg_error_mgr pub; /* first: libjpeg hands back a pointer to it */
  jmp_buf jump;
  int status;           /* why the last call failed */
  int strict;           /* nonzero: damage that libjpeg would repair is an error */
  int saw_end_of_data;  /* the data ended before the image did */
  uint32_t warnings;    /* damage repaired since the last reset */
  char message[JMSG_LENGTH_MAX];
} rj_errors;

void rj_errors_init(rj_errors *errors);
void rj_errors_reset(rj_errors *errors, int strict);

/* A source that reads from memory and invents an end marker after its last byte. */
typedef struct {
  struct jpeg_source_mgr pub;
  rj_errors *errors;
} rj_source;

/* The Huffman and quantization tables of one image. libjpeg keeps tables from image to image, so that a stream of
 * abbreviated JPEGs can send them once; here every file stands alone. Its memory manager could not give single tables
 * back, so they lie here, and rj_tables_forget makes libjpeg ask for them again. */
typedef struct {
  void *(*alloc_small)(j_common_ptr cinfo, int pool, size_t size); /* libjpeg's own */
  JHUFF_TBL huffman[2 * NUM_HUFF_TBLS];
  JQUANT_TBL quantization[NUM_QUANT_TBLS];
  int huffman_used, quantization_used;
} rj_tables;

/* Makes `cinfo` take its tables from `tables`, which its client_data points to from then on. */
void rj_tables_init(rj_tables *tables, j_decompress_ptr cinfo);
/* Ends the image of `cinfo`, whatever its state, and drops the tables that it defined. */
void rj_tables_forget(j_decompress_ptr cinfo);

void rj_source_init(rj_source *source, rj_errors *errors);
void rj_source_set(rj_source *source, const uint8_t *data, size_t length);

typedef struct {
  uint32_t width, height;
  uint32_t components;
  uint32_t color_space;    /* J_COLOR_SPACE of the file */
  uint32_t precision;      /* bits a sample */
  uint32_t progressive, arithmetic, multiple_scans;
  uint32_t restart_interval; /* MCUs; 0: none */
  uint32_t adobe, adobe_transform;
  uint32_t h_samp[4], v_samp[4];
  uint64_t scan_offset; /* where the coded data of the first scan begins */
} rj_header;

typedef struct {
  uint32_t x, y, width, height; /* pixels of the (scaled) image; in: wanted, out: what will be read */
  uint32_t divisor;             /* 1, 2, 4 or 8 */
  uint32_t format;              /* enum rj_format */
  uint32_t image_width, image_height; /* out: size of the whole (scaled) image */
} rj_request;

/* What our own entropy decoder needs to know of a scan; valid until the next call on the decoder. */
typedef struct {
  uint32_t eligible;       /* 0: progressive, arithmetic, several scans, 12-bit: leave it to libjpeg */
  uint32_t blocks_in_mcu;
  uint32_t component_of_block[10];
  uint32_t components;
  const uint8_t *dc_bits[4], *dc_values[4], *ac_bits[4], *ac_values[4]; /* by component: 17 counts, 256 symbols */
  uint32_t mcus_per_row, mcu_rows;
  uint32_t restart_interval;
  uint32_t first_column, last_column; /* MCU columns whose coefficients are wanted */
  const uint8_t *data;
  size_t length;
} rj_scan;

/* Decodes one MCU into blocks (NULL: skip it). 0: done; 1: leave it to libjpeg; 2: done, and it was the scan's last:
 * *consumed then holds the offset of the marker that follows. Must not unwind. */
typedef int (*rj_decode_mcu)(void *state, int16_t (*const *blocks)[64], size_t *consumed);

typedef struct rj_decoder rj_decoder;

rj_decoder *rj_decoder_new(void);
void rj_decoder_free(rj_decoder *decoder);
const char *rj_decoder_message(const rj_decoder *decoder);
uint32_t rj_decoder_warnings(const rj_decoder *decoder);

/* Reads the header. The data must stay where it is until rj_abort or the next rj_open. */
int rj_open(rj_decoder *decoder, const uint8_t *data, size_t length, int strict, uint64_t max_pixels,
            uint32_t max_scans, rj_header *header);
/* Starts decoding the region asked for, and tells what will be read: its left edge moves to an MCU edge. */
int rj_start(rj_decoder *decoder, rj_request *request, rj_scan *scan);
/* Reads the rows of the region into out, stride bytes a row, and ends the image. */
int rj_read(rj_decoder *decoder, const rj_request *request, uint8_t *out, size_t stride, rj_decode_mcu decode,
            void *state);
/* Ends the image, whatever its state. */
void rj_abort(rj_decoder *decoder);

/* A growing buffer of C's allocator, so that a jump cannot leak it. */
typedef struct {
  struct jpeg_destination_mgr pub;
  uint8_t *data;
  size_t length, capacity;
} rj_output;

void rj_output_init(rj_output *output);

/* Lossless: the same coefficients in baseline order with optimised Huffman tables. */
typedef struct rj_transcoder rj_transcoder;
rj_transcoder *rj_transcoder_new(void);
void rj_transcoder_free(rj_transcoder *transcoder);
const char *rj_transcoder_message(const rj_transcoder *transcoder);
int rj_transcode_open(rj_transcoder *transcoder, const uint8_t *data, size_t length, int strict, int keep_markers,
                      uint64_t max_pixels, uint32_t max_scans, rj_header *header);
int rj_transcode_write(rj_transcoder *transcoder, uint32_t restart_interval, const uint8_t **data, size_t *length);
/* Copies the coefficients of one component, in raster order of blocks and natural order inside; out NULL: only the size. */
int rj_transcode_coefficients(rj_transcoder *transcoder, uint32_t component, uint32_t *blocks_wide,
                              uint32_t *blocks_high, int16_t *out);
void rj_transcode_close(rj_transcoder *transcoder);

typedef struct {
  uint32_t width, height;
  uint32_t components;       /* of the pixels given: 1 grey, 3 RGB, 4 CMYK */
  uint32_t color_space;      /* J_COLOR_SPACE to write */
  uint32_t quality;
  uint32_t h_samp, v_samp;   /* of the first component (and the fourth); the others have 1×1 */
  uint32_t progressive, arithmetic, optimise;
  uint32_t restart_interval;
  uint32_t precision;        /* 8, or 12: the samples are then shifted up */
} rj_encode_options;

typedef struct rj_encoder rj_encoder;
rj_encoder *rj_encoder_new(void);
void rj_encoder_free(rj_encoder *encoder);
const char *rj_encoder_message(const rj_encoder *encoder);
int rj_encode(rj_encoder *encoder, const rj_encode_options *options, const uint8_t *pixels, size_t stride,
              const uint8_t **data, size_t *length);

/* Shared by the decoder and the transcoder. */
void rj_fill_header(j_decompress_ptr cinfo, int multiple_scans, rj_header *header);

/* Bounds what a file may cost: images that are too large, and scans without end. */
typedef struct {
  struct jpeg_progress_mgr pub;
  uint32_t max_scans;
  uint64_t max_pixels;
} rj_bounds;

void rj_bounds_init(rj_bounds *bounds);
void rj_check_size(j_decompress_ptr cinfo, uint64_t max_pixels);

#endif
