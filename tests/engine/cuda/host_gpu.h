/* What the module of host_gpu.c lets a test see: the functions of host_device.h. */
#ifndef TESTS_ENGINE_CUDA_HOST_GPU_H
#define TESTS_ENGINE_CUDA_HOST_GPU_H

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "host_device.h"

struct host_gpu {
    void (*reset)(void);
    int (*launches)(const struct host_launch **out);
    int (*launches_of)(const char *what);
    int (*captures)(void);
    int (*replays)(void);
    int (*waits)(void);
    int (*calls)(void);
    int (*open_things)(void);
    void (*watch_opening)(bool forbidden);
    void (*fail_after)(int n);
    void (*left)(size_t bytes);
    /* Whatever the device is given after n further things fails; n < 0: no longer. */
    void (*break_after)(long n);
    void (*lazy)(bool lazy);
    /* Whether updates are done in parts, wave by wave, as for evaluation and telemetry. */
    void (*in_parts)(bool in_parts);
};

/* Of the module that RWPD_CUDA_MODULE names, for tests, which link it not; NULL, and why on stderr.
 */
static inline const struct host_gpu *host_gpu_open(void)
{
    union {
        void *symbol;
        const struct host_gpu *(*function)(void);
    } u = {NULL};
    void *library = dlopen(getenv("RWPD_CUDA_MODULE"), RTLD_NOW);

    if (library)
        u.symbol = dlsym(library, "host_gpu");
    if (!u.symbol)
        fprintf(stderr, "%s\n", dlerror());
    return u.symbol ? u.function() : NULL;
}

#endif
