/* Owns what all libjpeg objects share at the border: errors, warnings, memory sources and destinations, bounds. */
#include "shim.h"

#include <stdlib.h>
#include <string.h>

/* How an error of libjpeg reads to us. */
static int status_of(int code, const rj_errors *errors) {
  switch (code) {
  case JERR_NO_SOI:
    return RJ_NOT_JPEG;
  case JERR_INPUT_EMPTY:
  case JERR_INPUT_EOF:
    return RJ_TRUNCATED;
  case JERR_ARITH_NOTIMPL:
  case JERR_BAD_DCT_COEF:
  case JERR_BAD_J_COLORSPACE:
  case JERR_BAD_MCU_SIZE:
  case JERR_BAD_PRECISION:
  case JERR_CCIR601_NOTIMPL:
  case JERR_COMPONENT_COUNT:
  case JERR_CONVERSION_NOTIMPL:
  case JERR_FRACT_SAMPLE_NOTIMPL:
  case JERR_MISMATCHED_QUANT_TABLE:
  case JERR_NOTIMPL:
  case JERR_NOT_COMPILED:
  case JERR_SOF_UNSUPPORTED:
    return RJ_UNSUPPORTED;
  case JERR_IMAGE_TOO_BIG:
    return RJ_TOO_LARGE;
  case JERR_OUT_OF_MEMORY:
  case JERR_NO_BACKING_STORE:
    return RJ_OUT_OF_MEMORY;
  case JERR_BAD_STATE:
  case JERR_BAD_CROP_SPEC:
  case JERR_BUFFER_SIZE:
  case JERR_WIDTH_OVERFLOW:
    return RJ_MISUSE;
  default:
    return errors->saw_end_of_data ? RJ_TRUNCATED : RJ_CORRUPT;
  }
}

static void jump_out(j_common_ptr cinfo) {
  rj_errors *errors = (rj_errors *)cinfo->err;
  errors->status = status_of(errors->pub.msg_code, errors);
  (*errors->pub.format_message)(cinfo, errors->message);
  longjmp(errors->jump, 1);
}

/* Levels below zero are warnings: libjpeg repaired something. Some say nothing about the pixels. */
static void count_warning(j_common_ptr cinfo, int level) {
  rj_errors *errors = (rj_errors *)cinfo->err;
  if (level >= 0) return;
  switch (errors->pub.msg_code) {
  case JWRN_ADOBE_XFORM:
  case JWRN_BOGUS_ICC:
  case JWRN_JFIF_MAJOR:
  case JWRN_NOT_SEQUENTIAL:
    return;
  case JWRN_JPEG_EOF:
    errors->saw_end_of_data = 1;
    break;
  default:
    break;
  }
  errors->warnings++;
  if (errors->strict) {
    errors->status = errors->saw_end_of_data ? RJ_TRUNCATED : RJ_CORRUPT;
    (*errors->pub.format_message)(cinfo, errors->message);
    longjmp(errors->jump, 1);
  }
}

static void stay_silent(j_common_ptr cinfo) { (void)cinfo; }

void rj_errors_init(rj_errors *errors) {
  jpeg_std_error(&errors->pub);
  errors->pub.error_exit = jump_out;
  errors->pub.emit_message = count_warning;
  errors->pub.output_message = stay_silent;
  rj_errors_reset(errors, 0);
}

void rj_errors_reset(rj_errors *errors, int strict) {
  errors->status = RJ_OK;
  errors->strict = strict;
  errors->saw_end_of_data = 0;
  errors->warnings = 0;
  errors->message[0] = '\0';
}

/* Memory source. */

static void do_nothing(j_decompress_ptr cinfo) { (void)cinfo; }

static boolean invent_end(j_decompress_ptr cinfo) {
  static const JOCTET end[2] = { 0xFF, JPEG_EOI };
  WARNMS(cinfo, JWRN_JPEG_EOF);
  cinfo->src->next_input_byte = end;
  cinfo->src->bytes_in_buffer = 2;
  return TRUE;
}

static void skip_bytes(j_decompress_ptr cinfo, long count) {
  struct jpeg_source_mgr *source = cinfo->src;
  if (count <= 0) return;
  if ((size_t)count > source->bytes_in_buffer) {
    (*source->fill_input_buffer)(cinfo);
    return;
  }
  source->next_input_byte += count;
  source->bytes_in_buffer -= (size_t)count;
}

void rj_source_init(rj_source *source, rj_errors *errors) {
  source->pub.init_source = do_nothing;
  source->pub.fill_input_buffer = invent_end;
  source->pub.skip_input_data = skip_bytes;
  source->pub.resync_to_restart = jpeg_resync_to_restart;
  source->pub.term_source = do_nothing;
  source->errors = errors;
  rj_source_set(source, NULL, 0);
}

void rj_source_set(rj_source *source, const uint8_t *data, size_t length) {
  source->pub.next_input_byte = data;
  source->pub.bytes_in_buffer = length;
}

/* Tables. */

static void *alloc_table(j_common_ptr cinfo, int pool, size_t size) {
  rj_tables *tables = (rj_tables *)cinfo->client_data;
  if (pool == JPOOL_PERMANENT && size == sizeof(JHUFF_TBL) && tables->huffman_used < 2 * NUM_HUFF_TBLS)
    return &tables->huffman[tables->huffman_used++];
  if (pool == JPOOL_PERMANENT && size == sizeof(JQUANT_TBL) && tables->quantization_used < NUM_QUANT_TBLS)
    return &tables->quantization[tables->quantization_used++];
  return tables->alloc_small(cinfo, pool, size);
}

void rj_tables_init(rj_tables *tables, j_decompress_ptr cinfo) {
  cinfo->client_data = tables;
  tables->alloc_small = cinfo->mem->alloc_small;
  cinfo->mem->alloc_small = alloc_table;
  rj_tables_forget(cinfo);
}

void rj_tables_forget(j_decompress_ptr cinfo) {
  rj_tables *tables = (rj_tables *)cinfo->client_data;
  jpeg_abort_decompress(cinfo);
  for (int t = 0; t < NUM_HUFF_TBLS; t++) cinfo->dc_huff_tbl_ptrs[t] = cinfo->ac_huff_tbl_ptrs[t] = NULL;
  for (int t = 0; t < NUM_QUANT_TBLS; t++) cinfo->quant_tbl_ptrs[t] = NULL;
  /* Zeros, as in memory that libjpeg has just taken: a table without all its symbols reads the rest as 0. */
  memset(tables->huffman, 0, sizeof(tables->huffman));
  memset(tables->quantization, 0, sizeof(tables->quantization));
  tables->huffman_used = tables->quantization_used = 0;
}

/* Memory destination: grows by doubling, is kept from image to image. */

static void start_output(j_compress_ptr cinfo) {
  rj_output *output = (rj_output *)cinfo->dest;
  if (output->data == NULL) {
    output->data = malloc(1 << 16);
    if (output->data == NULL) ERREXIT1(cinfo, JERR_OUT_OF_MEMORY, 20);
    output->capacity = 1 << 16;
  }
  output->length = 0;
  output->pub.next_output_byte = output->data;
  output->pub.free_in_buffer = output->capacity;
}

static boolean grow_output(j_compress_ptr cinfo) {
  rj_output *output = (rj_output *)cinfo->dest;
  size_t filled = output->capacity; /* libjpeg calls this only when the buffer is full, whatever free_in_buffer says */
  uint8_t *larger = realloc(output->data, output->capacity * 2);
  if (larger == NULL) ERREXIT1(cinfo, JERR_OUT_OF_MEMORY, 21);
  output->data = larger;
  output->capacity *= 2;
  output->pub.next_output_byte = larger + filled;
  output->pub.free_in_buffer = output->capacity - filled;
  return TRUE;
}

static void end_output(j_compress_ptr cinfo) {
  rj_output *output = (rj_output *)cinfo->dest;
  output->length = output->capacity - output->pub.free_in_buffer;
}

void rj_output_init(rj_output *output) {
  memset(output, 0, sizeof(*output));
  output->pub.init_destination = start_output;
  output->pub.empty_output_buffer = grow_output;
  output->pub.term_destination = end_output;
}

/* Bounds. */

static void check_scans(j_common_ptr common) {
  j_decompress_ptr cinfo = (j_decompress_ptr)common;
  const rj_bounds *bounds = (const rj_bounds *)common->progress;
  uint64_t pixels = (uint64_t)cinfo->image_width * cinfo->image_height;
  uint64_t scans;
  if (!common->is_decompressor || cinfo->input_scan_number <= 1) return;
  scans = (uint64_t)cinfo->input_scan_number;
  /* Ordinary progressive files have about ten scans. The second test bounds time: 16 passes over the largest image. */
  if (scans > bounds->max_scans || (scans > 16 && scans * pixels / 16 > bounds->max_pixels)) {
    rj_errors *errors = (rj_errors *)common->err;
    errors->status = RJ_TOO_LARGE;
    snprintf(errors->message, sizeof(errors->message), "%d scans of %u x %u pixels", cinfo->input_scan_number,
             cinfo->image_width, cinfo->image_height);
    longjmp(errors->jump, 1);
  }
}

void rj_bounds_init(rj_bounds *bounds) {
  memset(bounds, 0, sizeof(*bounds));
  bounds->pub.progress_monitor = check_scans;
}

void rj_check_size(j_decompress_ptr cinfo, uint64_t max_pixels) {
  rj_errors *errors = (rj_errors *)cinfo->err;
  if ((uint64_t)cinfo->image_width * cinfo->image_height <= max_pixels) return;
  errors->status = RJ_TOO_LARGE;
  snprintf(errors->message, sizeof(errors->message), "%u x %u pixels", cinfo->image_width, cinfo->image_height);
  longjmp(errors->jump, 1);
}

void rj_fill_header(j_decompress_ptr cinfo, int multiple_scans, rj_header *header) {
  memset(header, 0, sizeof(*header));
  header->width = cinfo->image_width;
  header->height = cinfo->image_height;
  header->components = (uint32_t)cinfo->num_components;
  header->color_space = (uint32_t)cinfo->jpeg_color_space;
  header->precision = (uint32_t)cinfo->data_precision;
  header->progressive = (uint32_t)cinfo->progressive_mode;
  header->arithmetic = (uint32_t)cinfo->arith_code;
  header->multiple_scans = (uint32_t)multiple_scans;
  header->restart_interval = cinfo->restart_interval;
  header->adobe = (uint32_t)cinfo->saw_Adobe_marker;
  header->adobe_transform = cinfo->Adobe_transform;
  for (int c = 0; c < cinfo->num_components && c < 4; c++) {
    header->h_samp[c] = (uint32_t)cinfo->comp_info[c].h_samp_factor;
    header->v_samp[c] = (uint32_t)cinfo->comp_info[c].v_samp_factor;
  }
}
