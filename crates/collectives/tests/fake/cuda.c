// A driver of CUDA for tests: four devices whose memory is the host's, and streams that do everything at once.
//
// FAKE_STUCK=end     events on the streams made here do not pass before NCCL is aborted
// FAKE_STUCK=ready   those on the default stream do not
// FAKE_CAPTURING=1   every stream is being captured, and events recorded then must not be asked for

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_VALUE = 1, INVALID_CONTEXT = 201, NOT_READY = 600, CAPTURED_EVENT = 907 };

int fake_aborted[8]; // by device; set by the other half, which is NCCL

typedef struct { int made_here; } Stream;
typedef struct { int recorded, captured, stuck, device; } Event;

static __thread int depth = 0; // contexts pushed on this thread
static __thread int current;   // device of the last one; the tests never push two different ones

static int is_set(const char *name, const char *value) {
    const char *set = getenv(name);
    return set && strcmp(set, value) == 0;
}

// Ends the test where whoever calls could not be told by a result, which is not looked at.
static void need_context(void) {
    if (depth == 0) abort();
}

// The current device; -1 for none.
int fake_device(void) { return depth > 0 ? current : -1; }

int cuInit(unsigned flags) { return flags ? INVALID_VALUE : SUCCESS; }
int cuDeviceGetCount(int *count) { return *count = 4, SUCCESS; }
int cuDeviceGet(int *device, int ordinal) { return *device = ordinal, SUCCESS; }
int cuDevicePrimaryCtxRetain(void **context, int device) { return *context = (void *)(intptr_t)(device + 1), SUCCESS; }
int cuDevicePrimaryCtxRelease_v2(int device) { return (void)device, SUCCESS; }
int cuThreadExchangeStreamCaptureMode(int *mode) { return *mode = 0, SUCCESS; }

int cuGetErrorString(int code, const char **text) {
    *text = code == INVALID_CONTEXT ? "invalid device context" : code == CAPTURED_EVENT ? "a captured event" : NULL;
    return SUCCESS;
}

int cuDeviceGetUuid_v2(char *uuid, int device) {
    memset(uuid, 0, 16);
    uuid[15] = (char)device;
    return SUCCESS;
}

int cuCtxPushCurrent_v2(void *context) {
    depth++;
    current = (int)(intptr_t)context - 1;
    return context ? SUCCESS : INVALID_CONTEXT;
}

int cuCtxPopCurrent_v2(void **context) {
    *context = NULL;
    return depth-- > 0 ? SUCCESS : INVALID_CONTEXT;
}

int cuStreamCreate(Stream **stream, unsigned flags) {
    if (depth == 0 || flags != 1) return INVALID_CONTEXT;
    *stream = calloc(1, sizeof(Stream));
    (*stream)->made_here = 1;
    return SUCCESS;
}

int cuStreamDestroy_v2(Stream *stream) {
    need_context();
    return free(stream), SUCCESS;
}

int cuStreamIsCapturing(Stream *stream, int *status) {
    (void)stream;
    *status = is_set("FAKE_CAPTURING", "1");
    return depth ? SUCCESS : INVALID_CONTEXT;
}

int cuStreamWaitEvent(Stream *stream, Event *event, unsigned flags) {
    (void)stream;
    if (depth == 0) return INVALID_CONTEXT;
    return flags || !event->recorded ? INVALID_VALUE : SUCCESS;
}

int cuEventCreate(Event **event, unsigned flags) {
    if (depth == 0 || flags != 2) return INVALID_CONTEXT;
    *event = calloc(1, sizeof(Event));
    return SUCCESS;
}

int cuEventDestroy_v2(Event *event) {
    need_context();
    return free(event), SUCCESS;
}

int cuEventRecord(Event *event, Stream *stream) {
    event->recorded = 1;
    event->device = current;
    event->captured = is_set("FAKE_CAPTURING", "1");
    event->stuck = is_set("FAKE_STUCK", stream ? "end" : "ready");
    return depth ? SUCCESS : INVALID_CONTEXT;
}

int cuEventQuery(Event *event) {
    if (depth == 0) return INVALID_CONTEXT;
    if (event->captured) {
        fprintf(stderr, "fake: a captured event was asked for\n");
        return CAPTURED_EVENT;
    }
    // What comes behind a stuck place is stuck too.
    int stuck = event->stuck || is_set("FAKE_STUCK", "ready");
    return stuck && !__atomic_load_n(&fake_aborted[event->device], __ATOMIC_SEQ_CST) ? NOT_READY : SUCCESS;
}

int cuMemAlloc_v2(uint64_t *address, size_t bytes) {
    *address = (uint64_t)(uintptr_t)malloc(bytes);
    fprintf(stderr, "fake: allocated %zu bytes\n", bytes);
    return depth ? SUCCESS : INVALID_CONTEXT;
}

int cuMemFree_v2(uint64_t address) {
    need_context();
    return free((void *)(uintptr_t)address), SUCCESS;
}

int cuModuleLoadData(void **module, const char *ptx) {
    *module = (void *)ptx;
    return depth && strstr(ptx, ".version") ? SUCCESS : INVALID_VALUE;
}

int cuModuleUnload(void *module) { return (void)module, SUCCESS; }

int cuModuleGetFunction(void **function, void *module, const char *name) {
    *function = (void *)(intptr_t)(strcmp(name, "rectify_narrow") == 0 ? 1 : 2);
    return strstr(module, name) ? SUCCESS : INVALID_VALUE;
}

static uint16_t narrow(float number) {
    uint32_t bits;
    memcpy(&bits, &number, 4);
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16); // the tests have no NaN
}

int cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned ty, unsigned tz,
                   unsigned shared, Stream *stream, void **arguments, void **extra) {
    if (depth == 0 || !stream || !stream->made_here) return INVALID_CONTEXT;
    if (x == 0 || threads == 0 || y * z * ty * tz != 1 || shared || extra) return INVALID_VALUE;
    void *from = *(void **)arguments[0], *to = *(void **)arguments[1];
    uint64_t count = *(uint64_t *)arguments[2];
    for (uint64_t i = 0; i < count; i++) {
        if (function == (void *)1) {
            ((uint16_t *)to)[i] = narrow(((float *)from)[i] * *(float *)arguments[3]);
        } else {
            ((uint32_t *)to)[i] = (uint32_t)((uint16_t *)from)[i] << 16;
        }
    }
    return SUCCESS;
}
