/* The host in the place of a GPU. Device memory is the host's; kernels are those of the backend,
 * emulated (emulate.h); convolutions and products are plain loops (host_libraries.c). What is
 * captured is done when it is replayed.
 *
 * It watches what the backend does and fails the running test for what a device would make a wrong
 * result of without a word: memory that is read though nobody wrote it, memory that is used beyond
 * its end or after it was closed, and two accesses to the same memory, one of them a write, that no
 * stream and no event puts in order.
 *
 * All that it knows is known of the calling thread: what one has opened, no other may use. */
#ifndef TESTS_ENGINE_CUDA_HOST_DEVICE_H
#define TESTS_ENGINE_CUDA_HOST_DEVICE_H

#include "backend/backend.h"

enum { HOST_DEVICES = 2 };

/* backend_cuda, opened with this precision. */
const struct backend_class *host_device(enum compute compute);

struct host_launch {
    const char *what;
    int stream; /* 0: the first that was opened */
};

/* Forgets what was seen so far; memory that is open stays known. */
void host_device_reset(void);
/* What was done since then, in the order in which it was done. */
int host_device_launches(const struct host_launch **out);
/* How many of them are called so. */
int host_device_launches_of(const char *what);
/* Graphs captured and replayed since then. */
int host_device_captures(void);
int host_device_replays(void);

/* How often since then the host waited for a stream, and gave one something by itself that no graph
 * has: a copy, a launch. */
int host_device_waits(void);
int host_device_calls(void);

/* From now on nothing is done before the host waits for it (or, `false`, all at once again, as it
 * is at first), so that what the host changes too early makes other numbers. */
void host_device_lazy(bool lazy);

/* As if nobody had written this memory yet; floats there are NaN. */
void host_device_poison(const void *at, size_t bytes);

/* What may go wrong on demand: asked before memory is taken (bytes, else 0) and before whatever
 * else the device is given; an error of it is the device's. `closed` is told of memory that was.
 * With it launches are not kept, so that there may be any number of them. */
struct host_trouble {
    int (*memory)(size_t bytes, struct err *err);
    void (*closed)(size_t bytes);
    int (*work)(struct err *err);
};
void host_device_trouble(const struct host_trouble *trouble);

/* The number of stretches of device and host memory, streams, events and graphs that are open. */
int host_device_open_things(void);
/* From now on, or no longer, the test fails where one is opened. */
void host_device_watch_opening(bool forbidden);
/* After n further ones a `memory_open` fails, once, as on a device that is full. */
void host_device_fail_after(int n);
/* What the device says of its free memory from now on; at first PLENTY. */
#define PLENTY ((size_t)1 << 34)
void host_device_left(size_t bytes);

#endif
