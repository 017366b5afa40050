/* Owns encoding: lossless transcoding, the coefficients themselves, and pixels to JPEG. */
#include "shim.h"

#include <stdlib.h>
#include <string.h>

struct rj_transcoder {
  rj_tables tables; /* of `in` */
  struct jpeg_decompress_struct in;
  struct jpeg_compress_struct out;
  rj_errors errors; /* of both: only one is at work at a time */
  rj_source source;
  rj_bounds bounds;
  rj_output output;
  jvirt_barray_ptr *coefficients;
  int keep_markers;
};

rj_transcoder *rj_transcoder_new(void) {
  rj_transcoder *volatile transcoder = calloc(1, sizeof(*transcoder)); /* volatile: used after a jump */
  if (transcoder == NULL) return NULL;
  rj_errors_init(&transcoder->errors);
  transcoder->in.err = &transcoder->errors.pub;
  transcoder->out.err = &transcoder->errors.pub;
  if (setjmp(transcoder->errors.jump)) {
    rj_transcoder_free(transcoder);
    return NULL;
  }
  jpeg_create_decompress(&transcoder->in);
  jpeg_create_compress(&transcoder->out);
  rj_source_init(&transcoder->source, &transcoder->errors);
  rj_bounds_init(&transcoder->bounds);
  rj_output_init(&transcoder->output);
  transcoder->in.src = &transcoder->source.pub;
  transcoder->in.progress = &transcoder->bounds.pub;
  rj_tables_init(&transcoder->tables, &transcoder->in);
  transcoder->out.dest = &transcoder->output.pub;
  return transcoder;
}

void rj_transcoder_free(rj_transcoder *transcoder) {
  if (transcoder == NULL) return;
  jpeg_destroy_decompress(&transcoder->in);
  jpeg_destroy_compress(&transcoder->out);
  free(transcoder->output.data);
  free(transcoder);
}

const char *rj_transcoder_message(const rj_transcoder *transcoder) { return transcoder->errors.message; }

void rj_transcode_close(rj_transcoder *transcoder) {
  jpeg_abort_compress(&transcoder->out);
  rj_tables_forget(&transcoder->in);
  rj_source_set(&transcoder->source, NULL, 0);
  transcoder->coefficients = NULL;
}

int rj_transcode_open(rj_transcoder *transcoder, const uint8_t *data, size_t length, int strict, int keep_markers,
                      uint64_t max_pixels, uint32_t max_scans, rj_header *header) {
  j_decompress_ptr in = &transcoder->in;
  rj_transcode_close(transcoder);
  rj_errors_reset(&transcoder->errors, 0);
  rj_source_set(&transcoder->source, data, length);
  transcoder->bounds.max_pixels = max_pixels;
  transcoder->bounds.max_scans = max_scans;
  transcoder->keep_markers = keep_markers;
  if (setjmp(transcoder->errors.jump)) return transcoder->errors.status;
  jpeg_save_markers(in, JPEG_COM, keep_markers ? 0xFFFF : 0);
  for (int m = 0; m < 16; m++) jpeg_save_markers(in, JPEG_APP0 + m, keep_markers ? 0xFFFF : 0);
  jpeg_read_header(in, TRUE);
  rj_check_size(in, max_pixels);
  rj_fill_header(in, jpeg_has_multiple_scans(in), header);
  transcoder->errors.strict = strict;
  transcoder->coefficients = jpeg_read_coefficients(in);
  return RJ_OK;
}

static int is_written_by_libjpeg(j_compress_ptr out, jpeg_saved_marker_ptr marker) {
  if (out->write_JFIF_header && marker->marker == JPEG_APP0 && marker->data_length >= 5 &&
      memcmp(marker->data, "JFIF", 5) == 0)
    return 1;
  return out->write_Adobe_marker && marker->marker == JPEG_APP0 + 14 && marker->data_length >= 5 &&
         memcmp(marker->data, "Adobe", 5) == 0;
}

int rj_transcode_write(rj_transcoder *transcoder, uint32_t restart_interval, const uint8_t **data, size_t *length) {
  j_decompress_ptr in = &transcoder->in;
  j_compress_ptr out = &transcoder->out;
  jpeg_abort_compress(out);
  if (setjmp(transcoder->errors.jump)) return transcoder->errors.status;
  if (transcoder->coefficients == NULL) ERREXIT1(in, JERR_BAD_STATE, in->global_state);
  jpeg_copy_critical_parameters(in, out);
  /* CMYK without Adobe's marker must stay without: some decoders invert only where they see it. */
  if (in->jpeg_color_space == JCS_CMYK) out->write_Adobe_marker = in->saw_Adobe_marker;
  out->optimize_coding = TRUE;
  out->arith_code = FALSE;
  out->num_scans = 0;
  out->scan_info = NULL;
  out->restart_in_rows = 0;
  out->restart_interval = restart_interval;
  jpeg_write_coefficients(out, transcoder->coefficients);
  if (transcoder->keep_markers) {
    for (jpeg_saved_marker_ptr marker = in->marker_list; marker != NULL; marker = marker->next)
      if (!is_written_by_libjpeg(out, marker)) jpeg_write_marker(out, marker->marker, marker->data, marker->data_length);
  }
  jpeg_finish_compress(out);
  *data = transcoder->output.data;
  *length = transcoder->output.length;
  return RJ_OK;
}

int rj_transcode_coefficients(rj_transcoder *transcoder, uint32_t component, uint32_t *blocks_wide,
                              uint32_t *blocks_high, int16_t *out) {
  j_decompress_ptr in = &transcoder->in;
  const jpeg_component_info *info;
  if (setjmp(transcoder->errors.jump)) return transcoder->errors.status;
  if (transcoder->coefficients == NULL || component >= (uint32_t)in->num_components)
    ERREXIT1(in, JERR_BAD_STATE, in->global_state);
  info = &in->comp_info[component];
  *blocks_wide = info->width_in_blocks;
  *blocks_high = info->height_in_blocks;
  if (out == NULL) return RJ_OK;
  for (JDIMENSION row = 0; row < info->height_in_blocks; row++) {
    JBLOCKARRAY blocks =
        (*in->mem->access_virt_barray)((j_common_ptr)in, transcoder->coefficients[component], row, 1, FALSE);
    memcpy(out + (size_t)row * info->width_in_blocks * DCTSIZE2, blocks[0],
           (size_t)info->width_in_blocks * sizeof(JBLOCK));
  }
  return RJ_OK;
}

struct rj_encoder {
  struct jpeg_compress_struct cinfo;
  rj_errors errors;
  rj_output output;
};

rj_encoder *rj_encoder_new(void) {
  rj_encoder *volatile encoder = calloc(1, sizeof(*encoder)); /* volatile: used after a jump */
  if (encoder == NULL) return NULL;
  rj_errors_init(&encoder->errors);
  encoder->cinfo.err = &encoder->errors.pub;
  if (setjmp(encoder->errors.jump)) {
    rj_encoder_free(encoder);
    return NULL;
  }
  jpeg_create_compress(&encoder->cinfo);
  rj_output_init(&encoder->output);
  encoder->cinfo.dest = &encoder->output.pub;
  return encoder;
}

void rj_encoder_free(rj_encoder *encoder) {
  if (encoder == NULL) return;
  jpeg_destroy_compress(&encoder->cinfo);
  free(encoder->output.data);
  free(encoder);
}

const char *rj_encoder_message(const rj_encoder *encoder) { return encoder->errors.message; }

static void write_8_bits(j_compress_ptr cinfo, const uint8_t *pixels, size_t stride) {
  while (cinfo->next_scanline < cinfo->image_height) {
    JSAMPROW row = (JSAMPROW)(pixels + (size_t)cinfo->next_scanline * stride);
    jpeg_write_scanlines(cinfo, &row, 1);
  }
}

static void write_12_bits(j_compress_ptr cinfo, const uint8_t *pixels, size_t stride) {
  size_t samples = (size_t)cinfo->image_width * (size_t)cinfo->input_components;
  J12SAMPARRAY row = (J12SAMPARRAY)(*cinfo->mem->alloc_sarray)((j_common_ptr)cinfo, JPOOL_IMAGE,
                                                               (JDIMENSION)(samples * sizeof(J12SAMPLE)), 1);
  while (cinfo->next_scanline < cinfo->image_height) {
    const uint8_t *in = pixels + (size_t)cinfo->next_scanline * stride;
    for (size_t i = 0; i < samples; i++) row[0][i] = (J12SAMPLE)(in[i] << 4 | in[i] >> 4);
    jpeg12_write_scanlines(cinfo, row, 1);
  }
}

int rj_encode(rj_encoder *encoder, const rj_encode_options *options, const uint8_t *pixels, size_t stride,
              const uint8_t **data, size_t *length) {
  static const J_COLOR_SPACE spaces[5] = { JCS_UNKNOWN, JCS_GRAYSCALE, JCS_UNKNOWN, JCS_RGB, JCS_CMYK };
  j_compress_ptr cinfo = &encoder->cinfo;
  jpeg_abort_compress(cinfo);
  rj_errors_reset(&encoder->errors, 0);
  if (setjmp(encoder->errors.jump)) return encoder->errors.status;
  cinfo->image_width = options->width;
  cinfo->image_height = options->height;
  cinfo->input_components = (int)options->components;
  cinfo->in_color_space = spaces[options->components <= 4 ? options->components : 0];
  jpeg_set_defaults(cinfo);
  cinfo->data_precision = (int)options->precision;
  jpeg_set_colorspace(cinfo, (J_COLOR_SPACE)options->color_space);
  jpeg_set_quality(cinfo, (int)options->quality, TRUE);
  cinfo->dct_method = JDCT_ISLOW;
  cinfo->arith_code = options->arithmetic ? TRUE : FALSE;
  cinfo->optimize_coding = options->optimise ? TRUE : FALSE;
  cinfo->restart_interval = options->restart_interval;
  for (int c = 0; c < cinfo->num_components; c++) {
    int full = c == 0 || c == 3;
    cinfo->comp_info[c].h_samp_factor = full ? (int)options->h_samp : 1;
    cinfo->comp_info[c].v_samp_factor = full ? (int)options->v_samp : 1;
  }
  if (options->progressive) jpeg_simple_progression(cinfo);
  jpeg_start_compress(cinfo, TRUE);
  if (cinfo->data_precision == 8)
    write_8_bits(cinfo, pixels, stride);
  else
    write_12_bits(cinfo, pixels, stride);
  jpeg_finish_compress(cinfo);
  *data = encoder->output.data;
  *length = encoder->output.length;
  return RJ_OK;
}
