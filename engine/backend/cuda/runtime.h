/* What this backend asks of CUDA beside the work itself: memory, copies, streams, their order, and
 * graphs of captured work. A struct of functions, so that a test can put the host in its place and
 * write down what would have been done, without a device.
 *
 * Copies and clears are done in the order of their stream. Host memory of a copy stays as it is
 * until the stream was waited for. */
#ifndef ENGINE_BACKEND_CUDA_RUNTIME_H
#define ENGINE_BACKEND_CUDA_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* CUDA's own: cudaStream_t, cudaEvent_t and cudaGraphExec_t are pointers to them. */
struct CUstream_st;
struct CUevent_st;
struct CUgraphExec_st;

/* A stretch of device memory that a launch reads or writes. */
struct use {
    const void *at;
    size_t bytes;
    bool written;
};

enum { USES_MAX = 24 };

/* Something that a stream is given to do: `go` enqueues it, given `work`, which is copied where
 * it is done later. */
struct launch {
    const char *what; /* "conv", "batch_norm_statistics", … */
    int n;
    struct use use[USES_MAX];
    int (*go)(const void *work, struct CUstream_st *stream, struct err *err);
    const void *work;
    size_t work_bytes;
};

struct runtime {
    int (*choose)(int device, struct err *err); /* for what this thread does from now on */

    int (*memory_open)(void **out, size_t bytes, struct err *err);
    void (*memory_close)(void *memory);
    int (*memory_left)(size_t *out, struct err *err); /* bytes of the device that nobody has */
    int (*host_open)(void **out, size_t bytes, struct err *err); /* where kernels read and write
                                                                    it, and copies are fastest */
    void (*host_close)(void *memory);

    int (*upload)(void *to, const void *from, size_t bytes, struct CUstream_st *stream,
                  struct err *err);
    int (*download)(void *to, const void *from, size_t bytes, struct CUstream_st *stream,
                    struct err *err);
    int (*copy)(void *to, const void *from, size_t bytes, struct CUstream_st *stream,
                struct err *err);
    int (*clear)(void *at, size_t bytes, struct CUstream_st *stream, struct err *err);

    int (*stream_open)(struct CUstream_st **out, struct err *err);
    void (*stream_close)(struct CUstream_st *stream);
    int (*event_open)(struct CUevent_st **out, struct err *err);
    void (*event_close)(struct CUevent_st *event);
    /* The event is what the stream was given so far; `follow`: the stream goes on after it. */
    int (*record)(struct CUevent_st *event, struct CUstream_st *stream, struct err *err);
    int (*follow)(struct CUstream_st *stream, struct CUevent_st *event, struct err *err);
    /* The host sleeps until the stream has done all, or the event has come to pass; an event that
     * was never recorded has. */
    int (*wait)(struct CUstream_st *stream, struct err *err);
    int (*await)(struct CUevent_st *event, struct err *err);

    /* What the stream, and those that follow it, are given between the two is not done but kept;
     * each replay does it once. */
    int (*capture_begin)(struct CUstream_st *stream, struct err *err);
    int (*capture_end)(struct CUstream_st *stream, struct CUgraphExec_st **out, struct err *err);
    int (*replay)(struct CUgraphExec_st *graph, struct CUstream_st *stream, struct err *err);
    void (*graph_close)(struct CUgraphExec_st *graph);

    int (*launch)(const struct launch *launch, struct CUstream_st *stream, struct err *err);
};

extern const struct runtime runtime_cuda;

/* 0, or *err from a cudaError_t: ERR_NO_MEMORY where the device's memory is at its end, else
 * ERR_DEVICE with CUDA's words. */
int cuda_failed(int code, const char *what, struct err *err);

#endif
