/* Owns decoding: whole images and regions, scaled by powers of two, with libjpeg's entropy decoder or ours. */
#include "shim.h"

#include <stdlib.h>
#include <string.h>

#include "jpegint.h"

struct rj_decoder {
  rj_tables tables; /* first: client_data points to it */
  struct jpeg_decompress_struct cinfo;
  rj_errors errors;
  rj_source source;
  rj_bounds bounds;
  const uint8_t *data;
  size_t length;
  /* Our entropy decoder, while it is in use. */
  rj_decode_mcu decode;
  void *decode_state;
};

rj_decoder *rj_decoder_new(void) {
  rj_decoder *volatile decoder = calloc(1, sizeof(*decoder)); /* volatile: used after a jump */
  if (decoder == NULL) return NULL;
  rj_errors_init(&decoder->errors);
  decoder->cinfo.err = &decoder->errors.pub;
  if (setjmp(decoder->errors.jump)) {
    jpeg_destroy_decompress(&decoder->cinfo);
    free(decoder);
    return NULL;
  }
  jpeg_create_decompress(&decoder->cinfo);
  rj_source_init(&decoder->source, &decoder->errors);
  rj_bounds_init(&decoder->bounds);
  decoder->cinfo.src = &decoder->source.pub;
  decoder->cinfo.progress = &decoder->bounds.pub;
  rj_tables_init(&decoder->tables, &decoder->cinfo);
  return decoder;
}

void rj_decoder_free(rj_decoder *decoder) {
  if (decoder == NULL) return;
  jpeg_destroy_decompress(&decoder->cinfo);
  free(decoder);
}

const char *rj_decoder_message(const rj_decoder *decoder) { return decoder->errors.message; }
uint32_t rj_decoder_warnings(const rj_decoder *decoder) { return decoder->errors.warnings; }

void rj_abort(rj_decoder *decoder) {
  rj_tables_forget(&decoder->cinfo);
  rj_source_set(&decoder->source, NULL, 0);
}

int rj_open(rj_decoder *decoder, const uint8_t *data, size_t length, int strict, uint64_t max_pixels,
            uint32_t max_scans, rj_header *header) {
  j_decompress_ptr cinfo = &decoder->cinfo;
  rj_abort(decoder);
  /* Stray bytes between the markers of a header harm nobody: strictness begins with the first scan. */
  rj_errors_reset(&decoder->errors, 0);
  rj_source_set(&decoder->source, data, length);
  decoder->data = data;
  decoder->length = length;
  decoder->bounds.max_pixels = max_pixels;
  decoder->bounds.max_scans = max_scans;
  if (setjmp(decoder->errors.jump)) return decoder->errors.status;
  jpeg_read_header(cinfo, TRUE);
  rj_check_size(cinfo, max_pixels);
  rj_fill_header(cinfo, jpeg_has_multiple_scans(cinfo), header);
  header->scan_offset = (uint64_t)(length - cinfo->src->bytes_in_buffer);
  decoder->errors.strict = strict;
  return RJ_OK;
}

/* The columns that the crop of libjpeg leaves, and the tables of the scan, for our own entropy decoder. */
static void describe_scan(rj_decoder *decoder, rj_scan *scan) {
  j_decompress_ptr cinfo = &decoder->cinfo;
  memset(scan, 0, sizeof(*scan));
  if (cinfo->progressive_mode || cinfo->arith_code || jpeg_has_multiple_scans(cinfo) || cinfo->data_precision != 8 ||
      cinfo->master->lossless || cinfo->comps_in_scan > 4 || cinfo->comps_in_scan != cinfo->num_components ||
      cinfo->Ss != 0 || cinfo->Se != DCTSIZE2 - 1 || cinfo->Ah != 0 || cinfo->Al != 0)
    return;
  scan->blocks_in_mcu = (uint32_t)cinfo->blocks_in_MCU;
  scan->components = (uint32_t)cinfo->comps_in_scan;
  for (int b = 0; b < cinfo->blocks_in_MCU && b < 10; b++) scan->component_of_block[b] = (uint32_t)cinfo->MCU_membership[b];
  for (int c = 0; c < cinfo->comps_in_scan; c++) {
    const jpeg_component_info *component = cinfo->cur_comp_info[c];
    const JHUFF_TBL *dc = cinfo->dc_huff_tbl_ptrs[component->dc_tbl_no];
    const JHUFF_TBL *ac = cinfo->ac_huff_tbl_ptrs[component->ac_tbl_no];
    if (dc == NULL || ac == NULL || !component->component_needed) return;
    scan->dc_bits[c] = dc->bits;
    scan->dc_values[c] = dc->huffval;
    scan->ac_bits[c] = ac->bits;
    scan->ac_values[c] = ac->huffval;
  }
  scan->mcus_per_row = cinfo->MCUs_per_row;
  scan->mcu_rows = cinfo->MCU_rows_in_scan;
  scan->restart_interval = cinfo->restart_interval;
  scan->first_column = cinfo->master->first_iMCU_col;
  scan->last_column = cinfo->master->last_iMCU_col;
  scan->data = cinfo->src->next_input_byte;
  scan->length = cinfo->src->bytes_in_buffer;
  scan->eligible = cinfo->unread_marker == 0 && !cinfo->entropy->insufficient_data;
}

static J_COLOR_SPACE output_space(j_decompress_ptr cinfo, uint32_t format) {
  if (cinfo->jpeg_color_space == JCS_CMYK || cinfo->jpeg_color_space == JCS_YCCK) return JCS_CMYK;
  /* The 12-bit converters and ours know plain RGB only. */
  if (cinfo->data_precision != 8 || format == RJ_RGB) return JCS_RGB;
  return JCS_EXT_RGBX;
}

int rj_start(rj_decoder *decoder, rj_request *request, rj_scan *scan) {
  j_decompress_ptr cinfo = &decoder->cinfo;
  JDIMENSION x = request->x, width = request->width;
  if (setjmp(decoder->errors.jump)) return decoder->errors.status;
  cinfo->scale_num = 1;
  cinfo->scale_denom = request->divisor;
  cinfo->out_color_space = output_space(cinfo, request->format);
  cinfo->dct_method = JDCT_ISLOW;
  cinfo->do_fancy_upsampling = TRUE; /* FALSE together with skipped rows crashes libjpeg-turbo 3.1.0 */
  jpeg_start_decompress(cinfo);
  request->image_width = cinfo->output_width;
  request->image_height = cinfo->output_height;
  if (x >= cinfo->output_width || width == 0 || width > cinfo->output_width - x || request->y >= cinfo->output_height ||
      request->height == 0 || request->height > cinfo->output_height - request->y) {
    snprintf(decoder->errors.message, sizeof(decoder->errors.message), "region outside of the image");
    return RJ_MISUSE;
  }
  if (cinfo->data_precision == 8) {
    jpeg_crop_scanline(cinfo, &x, &width);
  } else {
    jpeg12_crop_scanline(cinfo, &x, &width);
  }
  request->x = x;
  request->width = width;
  describe_scan(decoder, scan);
  return RJ_OK;
}

static boolean decode_mcu_with_ours(j_decompress_ptr cinfo, JBLOCKROW *blocks) {
  rj_decoder *decoder = (rj_decoder *)cinfo->client_data;
  size_t consumed = 0;
  int result = decoder->decode(decoder->decode_state, (int16_t (*const *)[64])blocks, &consumed);
  if (result == 0) return TRUE;
  if (result == 2) {
    cinfo->src->next_input_byte += consumed;
    cinfo->src->bytes_in_buffer -= consumed;
    return TRUE;
  }
  decoder->errors.status = RJ_FALLBACK;
  longjmp(decoder->errors.jump, 1);
}

/* Inverted CMYK, as Adobe writes it and PIL assumes of every CMYK JPEG; the arithmetic is PIL's: x·y/255, rounded. */
static void cmyk_to_rgb(const uint8_t *in, uint8_t *out, uint32_t width, uint32_t format) {
  for (uint32_t i = 0; i < width; i++, in += 4) {
    uint32_t white = in[3];
    for (int c = 0; c < 3; c++) {
      uint32_t product = (255u - in[c]) * white + 128;
      *out++ = (uint8_t)(white - (((product >> 8) + product) >> 8));
    }
    if (format == RJ_RGBX) *out++ = 255;
  }
}

static void narrow_12_bits(const J12SAMPLE *in, uint8_t *out, uint32_t width, uint32_t format) {
  for (uint32_t i = 0; i < width; i++, in += 3) {
    for (int c = 0; c < 3; c++) *out++ = (uint8_t)(in[c] >> 4);
    if (format == RJ_RGBX) *out++ = 255;
  }
}

/* Rows straight into the caller's memory. */
static void read_plain(j_decompress_ptr cinfo, const rj_request *request, uint8_t *out, size_t stride) {
  JSAMPROW rows[16];
  uint32_t done = 0;
  while (done < request->height) {
    uint32_t some = request->height - done < 16 ? request->height - done : 16;
    for (uint32_t i = 0; i < some; i++) rows[i] = out + (size_t)(done + i) * stride;
    done += jpeg_read_scanlines(cinfo, rows, some);
  }
}

static void read_cmyk(j_decompress_ptr cinfo, const rj_request *request, uint8_t *out, size_t stride) {
  JSAMPARRAY row = (*cinfo->mem->alloc_sarray)((j_common_ptr)cinfo, JPOOL_IMAGE, request->width * 4, 1);
  for (uint32_t y = 0; y < request->height; y++) {
    jpeg_read_scanlines(cinfo, row, 1);
    cmyk_to_rgb(row[0], out + (size_t)y * stride, request->width, request->format);
  }
}

static void read_12_bits(j_decompress_ptr cinfo, const rj_request *request, uint8_t *out, size_t stride) {
  J12SAMPARRAY row = (J12SAMPARRAY)(*cinfo->mem->alloc_sarray)(
      (j_common_ptr)cinfo, JPOOL_IMAGE, (JDIMENSION)(request->width * 4 * sizeof(J12SAMPLE)), 1);
  if (request->y > 0) jpeg12_skip_scanlines(cinfo, request->y);
  for (uint32_t y = 0; y < request->height; y++) {
    jpeg12_read_scanlines(cinfo, row, 1);
    narrow_12_bits(row[0], out + (size_t)y * stride, request->width, request->format);
  }
}

int rj_read(rj_decoder *decoder, const rj_request *request, uint8_t *out, size_t stride, rj_decode_mcu decode,
            void *state) {
  j_decompress_ptr cinfo = &decoder->cinfo;
  if (setjmp(decoder->errors.jump)) return decoder->errors.status;
  if (decode != NULL) {
    decoder->decode = decode;
    decoder->decode_state = state;
    cinfo->entropy->decode_mcu = decode_mcu_with_ours;
  }
  if (cinfo->data_precision != 8) {
    if (cinfo->out_color_space != JCS_RGB) ERREXIT(cinfo, JERR_CONVERSION_NOTIMPL);
    read_12_bits(cinfo, request, out, stride);
  } else {
    if (request->y > 0) jpeg_skip_scanlines(cinfo, request->y);
    if (cinfo->out_color_space == JCS_CMYK)
      read_cmyk(cinfo, request, out, stride);
    else
      read_plain(cinfo, request, out, stride);
  }
  /* To the end, so that what follows the last row is judged too; elsewhere the rest is left unread. */
  if (cinfo->output_scanline == cinfo->output_height) jpeg_finish_decompress(cinfo);
  rj_abort(decoder);
  return RJ_OK;
}
