/* The CUDA backend on the host as a module of GPUs, so that whole runs go through it. */
#include "host_gpu.h"

#include <string.h>

#include "backend/cuda/cuda.h"
#include "backend/cuda/module.h"
#include "host_device.h"

#define SHOWN __attribute__((visibility("default")))

static int devices(struct cuda_device *out, int max, int *n, struct err *err)
{
    (void)max;
    (void)err;
    for (int i = 0; i < HOST_DEVICES; i++)
        out[i] = (struct cuda_device){"Host", "GPU-host", (int64_t)PLENTY, 0, 1, 90};
    *n = HOST_DEVICES;
    return 0;
}

/* With the precision that is asked for, and watched. */
static int open_backend(struct backend **out, const struct backend_options *options,
                        struct err *err)
{
    return host_device(options->compute)->open(out, options, err);
}

static long whole; /* things that go well before all fail */

static int work(struct err *err)
{
    enum { UNKNOWN = 999 };

    return whole-- > 0 ? 0 : cuda_failed(UNKNOWN, "emulated work", err);
}

static int memory(size_t bytes, struct err *err)
{
    (void)bytes;
    (void)err;
    return 0;
}

static void closed(size_t bytes)
{
    (void)bytes;
}

static void break_after(long n)
{
    static const struct host_trouble trouble = {.memory = memory, .closed = closed, .work = work};

    whole = n;
    host_device_trouble(n < 0 ? NULL : &trouble);
}

static bool parts;

static void in_parts(bool wanted)
{
    parts = wanted;
}

static int update(struct backend *backend, const struct update *update, struct err *err)
{
    return (parts ? update_at_once : backend->class->update)(backend, update, err);
}

SHOWN const struct cuda_module *rwpd_cuda_module(void);
SHOWN const struct host_gpu *host_gpu(void);

const struct cuda_module *rwpd_cuda_module(void)
{
    static struct backend_class class;
    static const struct cuda_module module = {
        .build = RWPD_VERSION, .class_bytes = sizeof class, .class = &class, .devices = devices};

    class = *host_device(COMPUTE_F32);
    class.open = open_backend;
    class.update = update;
    return &module;
}

const struct host_gpu *host_gpu(void)
{
    static const struct host_gpu functions = {.reset = host_device_reset,
                                              .launches = host_device_launches,
                                              .launches_of = host_device_launches_of,
                                              .captures = host_device_captures,
                                              .replays = host_device_replays,
                                              .waits = host_device_waits,
                                              .calls = host_device_calls,
                                              .open_things = host_device_open_things,
                                              .fail_after = host_device_fail_after,
                                              .left = host_device_left,
                                              .break_after = break_after,
                                              .lazy = host_device_lazy,
                                              .in_parts = in_parts,
                                              .watch_opening = host_device_watch_opening};

    return &functions;
}
