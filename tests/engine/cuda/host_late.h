/* What streams were given and have not done, for a device that is as late as it may be: it does
 * nothing before the host waits for it. */
#ifndef TESTS_ENGINE_CUDA_HOST_LATE_H
#define TESTS_ENGINE_CUDA_HOST_LATE_H

#include "backend/cuda/runtime.h"

struct late {
    enum {
        LATE_UPLOAD,
        LATE_DOWNLOAD,
        LATE_COPY,
        LATE_CLEAR,
        LATE_LAUNCH,
        LATE_RECORD,
        LATE_FOLLOW,
        LATE_REPLAY
    } kind;
    struct CUstream_st *stream;
    void *to;
    const void *from;
    size_t bytes;
    const struct launch *launch;
    struct CUevent_st *event;
    struct CUgraphExec_st *graph;
};

/* Whether from now on what is given is kept for later; nothing may be kept when it ends. */
void late_begin(bool lazy);
/* Keeps it, if that is so. What a launch points to is copied. */
bool late_keep(const struct late *late);
/* The next that is kept, in the order in which it was given, until `late_next` is called again;
 * NULL: nothing is left before `end`. */
const struct late *late_next(int end);
/* The places behind all that is kept, and behind the last record of an event, or 0. */
int late_end(void);
int late_end_of(const struct CUevent_st *event);
bool late_has(const struct CUgraphExec_st *graph);

#endif
