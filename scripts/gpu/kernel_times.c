// A library that CUDA's driver loads into a program (CUDA_INJECTION64_PATH): it records every kernel
// that runs.
//
// For machines where ncu may not read the GPU's counters: CUPTI's activity records need no
// permission, and torch brings CUPTI. One line per kernel goes to the file that RECTIFY_KERNEL_TIMES
// names: start and duration in nanoseconds, registers and bytes of local memory a thread, name.

#define _GNU_SOURCE
#include <cupti.h>
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { BUFFER_BYTES = 8 << 20 };

static FILE *file;
// Of the C++ library that the program has; null without one.
static char *(*demangle)(const char *, char *, size_t *, int *);

static void give_buffer(uint8_t **buffer, size_t *size, size_t *most_records) {
  *buffer = aligned_alloc(8, BUFFER_BYTES);
  *size = *buffer ? BUFFER_BYTES : 0;
  *most_records = 0;  // as many as fit
}

static void take_buffer(CUcontext context, uint32_t stream, uint8_t *buffer, size_t size, size_t valid) {
  (void)context, (void)stream, (void)size;
  CUpti_Activity *record = NULL;
  while (cuptiActivityGetNextRecord(buffer, valid, &record) == CUPTI_SUCCESS) {
    if (record->kind != CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL && record->kind != CUPTI_ACTIVITY_KIND_KERNEL) continue;
    const CUpti_ActivityKernel10 *kernel = (const CUpti_ActivityKernel10 *)record;
    const char *name = kernel->name ? kernel->name : "?";
    int status = 0;
    char *readable = demangle ? demangle(name, NULL, NULL, &status) : NULL;
    fprintf(file, "%llu,%llu,%u,%u,%s\n", (unsigned long long)kernel->start,
            (unsigned long long)(kernel->end - kernel->start), (unsigned)kernel->registersPerThread,
            (unsigned)kernel->localMemoryPerThread, readable ? readable : name);
    free(readable);
  }
  free(buffer);
}

static void finish(void) {
  cuptiActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED);
  fflush(file);
}

// The driver calls this once it has loaded the library.
int InitializeInjection(void) {
  const char *path = getenv("RECTIFY_KERNEL_TIMES");
  if (!path || !(file = fopen(path, "w"))) return 0;
  *(void **)&demangle = dlsym(RTLD_DEFAULT, "__cxa_demangle");
  if (cuptiActivityRegisterCallbacks(give_buffer, take_buffer) != CUPTI_SUCCESS ||
      cuptiActivityEnable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) != CUPTI_SUCCESS) {
    fprintf(stderr, "kernel_times: CUPTI refuses\n");
    return 0;
  }
  atexit(finish);
  return 1;
}
