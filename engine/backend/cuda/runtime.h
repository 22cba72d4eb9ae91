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

/* 0, or *err from a cudaError_t with CUDA's words; its code is cuda_fault's. */
int cuda_failed(int code, const char *what, struct err *err);

/* faults.c: what a cudaError_t means for who runs on the device. ERR_NO_MEMORY: its memory is at
 * its end, and nothing else is wrong. ERR_DEVICE_LOST: all further work of this process on it fails
 * with the same error, and nothing but another process helps. Else ERR_DEVICE. */
int cuda_fault(int code);

/* Numbers of cudaError_t: those that CUDA's reference says end the process ("must be terminated and
 * relaunched"), those of hardware that leave the context in that state, and one that does not. */
enum cuda_number {
    CUDA_OUT_OF_MEMORY = 2,
    CUDA_ECC_UNCORRECTABLE = 214,
    CUDA_NVLINK_UNCORRECTABLE = 220,
    CUDA_CONTAINED = 226, /* an exception that the GPU's error containment has contained */
    CUDA_ILLEGAL_ADDRESS = 700,
    CUDA_LAUNCH_TIMEOUT = 702,
    CUDA_CONTEXT_IS_DESTROYED = 709,
    CUDA_ASSERT = 710,
    CUDA_HARDWARE_STACK = 714,
    CUDA_ILLEGAL_INSTRUCTION = 715,
    CUDA_MISALIGNED_ADDRESS = 716,
    CUDA_INVALID_ADDRESS_SPACE = 717,
    CUDA_INVALID_PC = 718,
    CUDA_LAUNCH_FAILURE = 719,
    CUDA_TENSOR_MEMORY_LEAK = 721,
    CUDA_MPS_CLIENT_TERMINATED = 810,
    CUDA_EXTERNAL_DEVICE = 911
};

/* After a library has failed, whose own codes do not tell: ERR_DEVICE_LOST with *err if the device
 * is lost, else 0 and *err as it was. */
int cuda_lasting(struct err *err);

#endif
