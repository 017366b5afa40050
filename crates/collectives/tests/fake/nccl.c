// NCCL for tests: ranks are threads of one process, numbers lie in host memory, and every group of calls runs on a thread
// of its own while the caller polls, as for a communicator that does not block.
//
// FAKE_NCCL_VERSION=22703   says so
// FAKE_NCCL_INIT=fails      joining ends with an error; =never: it does not end
// FAKE_NCCL_ERROR=async     a while after the first exchange the communicator has an error
// FAKE_NCCL_STUCK=call      calls do not return before they are aborted

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifndef VERSION
#define VERSION 22809
#endif

enum { SUCCESS = 0, SYSTEM_ERROR = 2, INVALID_USAGE = 5, REMOTE_ERROR = 6, IN_PROGRESS = 7 };
enum { FLOAT32 = 7, BFLOAT16 = 9, SUM = 0, AVERAGE = 4, RANKS_MAX = 8, CALLS_MAX = 64 };

extern int fake_aborted[8];
int fake_device(void);

typedef struct { char bytes[128]; } Id;
typedef struct { size_t size; unsigned magic, version; int blocking; } Config;
typedef enum { ALL_REDUCE, REDUCE_SCATTER, ALL_GATHER, REDUCE, BROADCAST } Kind;
typedef struct { Kind kind; const void *from; void *to; size_t count; int type, reduction, root; } Call;

typedef struct {
    char id[128];
    int size, joined, arrived, bad;
    long round;
    Call *calls[RANKS_MAX];
} Group;

typedef struct { Group *group; int rank, device, aborted, state; struct timespec fails_at; } Comm;
typedef struct { Comm *comm; Call calls[CALLS_MAX]; int count; } Work;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static Group groups[8];
static __thread Work work;
static __thread int in_group = 0;

static int is_set(const char *name, const char *value) {
    const char *set = getenv(name);
    return set && strcmp(set, value) == 0;
}

static void wait_a_little(void) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 5000000;
    if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
    pthread_cond_timedwait(&moved, &mutex, &until);
}

int ncclGetVersion(int *version) {
    const char *set = getenv("FAKE_NCCL_VERSION");
    return *version = set ? atoi(set) : VERSION, SUCCESS;
}

int ncclGetUniqueId(Id *id) {
    for (int i = 0; i < 128; i++) id->bytes[i] = (char)rand();
    return SUCCESS;
}

const char *ncclGetErrorString(int code) {
    return code == REMOTE_ERROR ? "remote process exited or there was a network error"
         : code == SYSTEM_ERROR ? "unhandled system error" : code == INVALID_USAGE ? "invalid usage" : "unknown";
}

const char *ncclGetLastError(Comm *comm) { return comm ? "a fake cause" : ""; }

static void *join(void *argument) {
    Comm *comm = argument;
    Group *group = comm->group;
    pthread_mutex_lock(&mutex);
    group->joined++;
    pthread_cond_broadcast(&moved);
    while (!comm->aborted && (group->joined < group->size || is_set("FAKE_NCCL_INIT", "never"))) wait_a_little();
    comm->state = is_set("FAKE_NCCL_INIT", "fails") ? SYSTEM_ERROR : SUCCESS;
    pthread_mutex_unlock(&mutex);
    return NULL;
}

static void start(void *(*body)(void *), void *argument) {
    pthread_t thread;
    pthread_create(&thread, NULL, body, argument);
    pthread_detach(thread);
}

int ncclCommInitRankConfig(Comm **out, int size, Id id, int rank, Config *config) {
    if (config->magic != 0xcafebeef || config->size < sizeof(Config) || config->blocking != 0) return INVALID_USAGE;
    if (fake_device() < 0 || rank < 0 || rank >= size || size > RANKS_MAX) return INVALID_USAGE;
    pthread_mutex_lock(&mutex);
    int at = 0;
    while (groups[at].size && memcmp(groups[at].id, id.bytes, 128)) at++;
    memcpy(groups[at].id, id.bytes, 128);
    groups[at].size = size;
    Comm *comm = calloc(1, sizeof(Comm));
    *comm = (Comm){.group = &groups[at], .rank = rank, .device = fake_device(), .state = IN_PROGRESS};
    pthread_mutex_unlock(&mutex);
    *out = comm;
    start(join, comm);
    return IN_PROGRESS;
}

int ncclCommGetAsyncError(Comm *comm, int *state) {
    pthread_mutex_lock(&mutex);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (comm->fails_at.tv_sec && now.tv_sec >= comm->fails_at.tv_sec) comm->state = REMOTE_ERROR;
    *state = comm->state;
    pthread_mutex_unlock(&mutex);
    return SUCCESS;
}

// Communicators stay in memory, for threads that still look at them.
int ncclCommFinalize(Comm *comm) { return fprintf(stderr, "fake: finalize %d\n", comm->rank), SUCCESS; }
int ncclCommDestroy(Comm *comm) { return fprintf(stderr, "fake: destroy %d\n", comm->rank), SUCCESS; }

int ncclCommAbort(Comm *comm) {
    pthread_mutex_lock(&mutex);
    fprintf(stderr, "fake: abort %d\n", comm->rank);
    comm->aborted = 1;
    __atomic_store_n(&fake_aborted[comm->device], 1, __ATOMIC_SEQ_CST);
    pthread_cond_broadcast(&moved);
    pthread_mutex_unlock(&mutex);
    return SUCCESS;
}

static float get(const void *numbers, size_t at, int type) {
    if (type == FLOAT32) return ((const float *)numbers)[at];
    uint32_t bits = (uint32_t)((const uint16_t *)numbers)[at] << 16;
    float number;
    memcpy(&number, &bits, 4);
    return number;
}

static void put(void *numbers, size_t at, int type, float number) {
    uint32_t bits;
    memcpy(&bits, &number, 4);
    if (type == FLOAT32) ((uint32_t *)numbers)[at] = bits;
    else ((uint16_t *)numbers)[at] = (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// All ranks are here, with one call each. Returns whether the calls fit together.
static int perform(Group *group) {
    Call **calls = group->calls, first = *calls[0];
    int size = group->size, width = first.type == FLOAT32 ? 4 : 2;
    for (int rank = 0; rank < size; rank++) {
        Call *one = calls[rank];
        if (one->kind != first.kind || one->count != first.count || one->type != first.type) return 0;
        if (one->reduction != first.reduction || one->root != first.root) return 0;
        // Everything is in place, as NCCL has it.
        const char *from = one->from, *to = one->to;
        if (first.kind == REDUCE_SCATTER) from += rank * first.count * width;
        if (first.kind == ALL_GATHER) to += rank * first.count * width;
        if (from != to) return 0;
    }
    size_t total = first.count * (first.kind == REDUCE_SCATTER || first.kind == ALL_GATHER ? size : 1);
    char *result = calloc(total, width);
    for (size_t i = 0; i < total; i++) {
        float number = 0;
        if (first.kind == ALL_GATHER) number = get(calls[i / first.count]->from, i % first.count, first.type);
        else if (first.kind == BROADCAST) number = get(calls[first.root]->from, i, first.type);
        else for (int rank = 0; rank < size; rank++) {
            float term = get(calls[rank]->from, i, first.type);
            number += first.reduction == AVERAGE ? term * (1.0f / size) : term;
        }
        put(result, i, first.type, number);
    }
    for (int rank = 0; rank < size; rank++) {
        const char *part = first.kind == REDUCE_SCATTER ? result + rank * first.count * width : result;
        size_t count = first.kind == REDUCE_SCATTER ? first.count : total;
        if (first.kind != REDUCE || rank == first.root) memcpy(calls[rank]->to, part, count * width);
    }
    free(result);
    return 1;
}

static void *run(void *argument) {
    Work *own = argument;
    Comm *comm = own->comm;
    Group *group = comm->group;
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < own->count && !comm->aborted; i++) {
        long round = group->round;
        group->calls[comm->rank] = &own->calls[i];
        if (++group->arrived == group->size) {
            group->bad |= !perform(group);
            group->arrived = 0;
            group->round++;
            pthread_cond_broadcast(&moved);
        }
        while (group->round == round && !comm->aborted) wait_a_little();
    }
    comm->state = group->bad ? INVALID_USAGE : SUCCESS;
    if (is_set("FAKE_NCCL_ERROR", "async")) {
        clock_gettime(CLOCK_MONOTONIC, &comm->fails_at);
        comm->fails_at.tv_sec++;
    }
    pthread_mutex_unlock(&mutex);
    free(own);
    return NULL;
}

int ncclGroupStart(void) {
    in_group = 1;
    work.count = 0;
    return SUCCESS;
}

int ncclGroupEnd(void) {
    in_group = 0;
    if (work.count == 0) return SUCCESS;
    pthread_mutex_lock(&mutex);
    while (is_set("FAKE_NCCL_STUCK", "call") && !work.comm->aborted) wait_a_little();
    pthread_mutex_unlock(&mutex);
    Work *own = malloc(sizeof(Work));
    *own = work;
    own->comm->state = IN_PROGRESS;
    start(run, own);
    return IN_PROGRESS;
}

static int add(Comm *comm, Call call, void *stream) {
    if (!in_group || fake_device() < 0 || !stream || work.count == CALLS_MAX || call.count == 0) return INVALID_USAGE;
    work.comm = comm;
    work.calls[work.count++] = call;
    return IN_PROGRESS;
}

int ncclAllReduce(const void *from, void *to, size_t count, int type, int reduction, Comm *comm, void *stream) {
    return add(comm, (Call){ALL_REDUCE, from, to, count, type, reduction, 0}, stream);
}

int ncclReduceScatter(const void *from, void *to, size_t count, int type, int reduction, Comm *comm, void *stream) {
    return add(comm, (Call){REDUCE_SCATTER, from, to, count, type, reduction, 0}, stream);
}

int ncclAllGather(const void *from, void *to, size_t count, int type, Comm *comm, void *stream) {
    return add(comm, (Call){ALL_GATHER, from, to, count, type, SUM, 0}, stream);
}

int ncclReduce(const void *from, void *to, size_t count, int type, int reduction, int root, Comm *comm, void *stream) {
    return add(comm, (Call){REDUCE, from, to, count, type, reduction, root}, stream);
}

int ncclBroadcast(const void *from, void *to, size_t count, int type, int root, Comm *comm, void *stream) {
    return add(comm, (Call){BROADCAST, from, to, count, type, SUM, root}, stream);
}
