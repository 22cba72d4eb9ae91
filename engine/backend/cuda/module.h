/* The CUDA backend as the engine sees it: a module that is loaded at run time, so that one build
 * serves machines with and without a GPU. The program itself links nothing of CUDA. */
#ifndef ENGINE_BACKEND_CUDA_MODULE_H
#define ENGINE_BACKEND_CUDA_MODULE_H

#include "backend/backend.h"
#include "base/device.h"

#define CUDA_MODULE_SYMBOL "rwpd_cuda_module"
#define CUDA_DEVICES_MAX   8

struct cuda_device {
    char name[96];
    char uuid[48]; /* "GPU-…", as the driver and nvidia-smi write it */
    int64_t memory_bytes;
    int64_t reserve_bytes; /* of it, that the driver and the libraries take for themselves */
    int multiprocessors;
    int capability; /* 90: Hopper */
};

struct cuda_module {
    const char *build; /* RWPD_VERSION of the build that it belongs to */
    size_t class_bytes;
    const struct backend_class *class;
    /* The devices of this process in CUDA's order, *n of `max` at most. ERR_DEVICE when the driver
     * or runtime says no. */
    int (*devices)(struct cuda_device *out, int max, int *n, struct err *err);
    /* cuDNN's version, and what it knows of a device, as JSON that the caller frees: with it plans
     * can be found where the device is not (dnn.h). NULL: not of this module. */
    size_t (*library_version)(void);
    int (*properties)(int device, char **json, struct err *err);
};

/* Loads the module once: from $RWPD_CUDA_MODULE, else from where it is installed. NULL, with *err
 * saying why, when there is no NVIDIA driver ($RWPD_CUDA_DRIVER or libcuda.so.1) or no module that
 * can be loaded. */
const struct cuda_module *cuda_module(struct err *err);

/* The devices that it found, found once; 0 with *err saying why there is none. */
int cuda_devices(const struct cuda_device **out, struct err *err);

/* Where what was found out about devices is kept: $RWPD_CUDA_CACHE, $CACHE_DIRECTORY (systemd's),
 * else rwpd in $XDG_CACHE_HOME or $HOME/.cache. NULL: nowhere. */
const char *cuda_cache_folder(void);

/* What a device is doing now, by NVML ($RWPD_NVML or libnvidia-ml.so.1). False where NVML is not
 * there or does not know the device. Any thread may call it. */
bool cuda_load_of(const char *uuid, struct device_load *out);

#endif
