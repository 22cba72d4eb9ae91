/* A GPU for a real daemon: the whole CUDA backend on the host, of a size that the environment
 * gives, with faults on demand, and NVML for it. RWPD_TEST_GPU names a folder, in which there may
 * be
 *
 *   taken    bytes of its memory that others hold
 *   broken   while it is there, whatever the device is given fails
 *   fault    "KIND N [again]": after N further launches, copies and waits from when this process
 * has first seen the file, one fails: KIND "passing" or "memory", once, or "lost", from then on for
 * this process. The file is removed, but for "again".
 *
 * RWPD_TEST_GPU_BYTES is its memory, of which RESERVE is the driver's; RWPD_TEST_GPUS: so many of
 * them, each of which a thread has for itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/cuda/cuda.h"
#include "backend/cuda/module.h"
#include "host_device.h"

#define SHOWN   __attribute__((visibility("default")))
#define RESERVE ((int64_t)8 << 20)
#define UUID    "GPU-00000000-0000-0000-0000-00000000000f"

enum { PASSING = 46 /* cudaErrorDevicesUnavailable */, UNKNOWN = 999 };

static _Thread_local size_t held;
static struct {
    bool counting, lost;
    long left;
} gpu;

static FILE *open_file(const char *name)
{
    const char *folder = getenv("RWPD_TEST_GPU");
    char path[4096];

    if (!folder)
        return NULL;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return fopen(path, "re");
}

static void remove_fault(void)
{
    char path[4096];

    snprintf(path, sizeof path, "%s/fault", getenv("RWPD_TEST_GPU"));
    unlink(path);
    gpu.counting = false;
}

static int64_t total(void)
{
    const char *bytes = getenv("RWPD_TEST_GPU_BYTES");

    return bytes ? atoll(bytes) : (int64_t)64 << 20;
}

static int64_t taken(void)
{
    FILE *file = open_file("taken");
    long long bytes = 0;

    if (!file)
        return 0;
    if (fscanf(file, "%lld", &bytes) != 1)
        bytes = 0;
    fclose(file);
    return bytes;
}

/* The code of a fault that is due; 0: none. */
static int due(void)
{
    char kind[16] = "", again[16] = "";
    FILE *file = open_file("fault");
    long n = 0;

    if (!file)
        return 0;
    if (fscanf(file, "%15s %ld %15s", kind, &n, again) < 2)
        kind[0] = 0; /* it is being written */
    fclose(file);
    if (!kind[0])
        return 0;
    if (!gpu.counting)
        gpu.left = n;
    gpu.counting = true;
    if (gpu.left-- > 0)
        return 0;
    if (!again[0])
        remove_fault();
    gpu.lost = !strcmp(kind, "lost");
    return gpu.lost ? CUDA_ILLEGAL_ADDRESS : !strcmp(kind, "memory") ? CUDA_OUT_OF_MEMORY : PASSING;
}

static int work(struct err *err)
{
    FILE *broken = open_file("broken");
    int code = 0;

    if (broken)
        fclose(broken);
    if (gpu.lost)
        code = CUDA_ILLEGAL_ADDRESS;
    else
        code = broken ? UNKNOWN : due();
    return cuda_failed(code, "emulated work", err);
}

static int memory(size_t bytes, struct err *err)
{
    size_t whole = cuda_whole_bytes(bytes);

    if (gpu.lost)
        return cuda_failed(CUDA_ILLEGAL_ADDRESS, "emulated memory", err);
    if ((int64_t)(held + whole) > total() - RESERVE - taken())
        return err_set(err, ERR_NO_MEMORY, "the GPU's memory is at its end");
    held += whole;
    host_device_left((size_t)(total() - RESERVE - taken()) - held);
    return 0;
}

static void closed(size_t bytes)
{
    held -= cuda_whole_bytes(bytes);
}

static int devices(struct cuda_device *out, int max, int *n, struct err *err)
{
    const char *gpus = getenv("RWPD_TEST_GPUS");

    (void)err;
    for (*n = 0; *n < max && *n < (gpus ? atoi(gpus) : 1); ++*n) {
        out[*n] = (struct cuda_device){"Emulated GPU", UUID, total(), RESERVE, 1, 90};
        out[*n].uuid[strlen(UUID) - 1] = (char)('f' - *n);
    }
    return 0;
}

/* One that only counts is opened by another thread while a run is under way, and takes nothing. */
static int open_backend(struct backend **out, const struct backend_options *options,
                        struct err *err)
{
    static const struct host_trouble trouble = {.memory = memory, .closed = closed, .work = work};

    host_device_trouble(&trouble);
    if (options->counts_only)
        return backend_cuda.open(out, options, err);
    return host_device(options->compute)->open(out, options, err);
}

SHOWN const struct cuda_module *rwpd_cuda_module(void);

const struct cuda_module *rwpd_cuda_module(void)
{
    static struct backend_class class;
    static const struct cuda_module module = {
        .build = RWPD_VERSION, .class_bytes = sizeof class, .class = &class, .devices = devices};

    class = *host_device(COMPUTE_F32);
    class.open = open_backend;
    return &module;
}

/* ---- NVML, as nvml.c declares it ---- */

struct process {
    unsigned pid;
    unsigned long long used;
    unsigned gpu_instance, compute_instance;
};

SHOWN int nvmlInit_v2(void);
SHOWN int nvmlDeviceGetHandleByUUID(const char *uuid, void **out);
SHOWN int nvmlDeviceGetMemoryInfo(void *device, unsigned long long out[3]);
SHOWN int nvmlDeviceGetUtilizationRates(void *device, unsigned out[2]);
SHOWN int nvmlDeviceGetTemperature(void *device, unsigned sensor, unsigned *out);
SHOWN int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *n, struct process *out);

int nvmlInit_v2(void)
{
    return 0;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, void **out)
{
    *out = &gpu;
    return strcmp(uuid, UUID) ? 6 : 0; /* NOT_FOUND */
}

/* total, free, used */
int nvmlDeviceGetMemoryInfo(void *device, unsigned long long out[3])
{
    (void)device;
    out[0] = (unsigned long long)total();
    out[2] = (unsigned long long)(RESERVE + taken());
    out[1] = out[0] - out[2];
    return 0;
}

int nvmlDeviceGetUtilizationRates(void *device, unsigned out[2])
{
    (void)device;
    out[0] = 37;
    out[1] = 5;
    return 0;
}

/* As of a part of a GPU. */
int nvmlDeviceGetTemperature(void *device, unsigned sensor, unsigned *out)
{
    (void)device;
    (void)sensor;
    *out = 61;
    return getenv("RWPD_TEST_GPU_PART") ? 3 : 0; /* NOT_SUPPORTED */
}

/* This one, and the one that has started it. */
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *n, struct process *out)
{
    (void)device;
    if (*n < 2)
        return 7; /* INSUFFICIENT_SIZE */
    out[0] = (struct process){(unsigned)getpid(), (unsigned long long)RESERVE, 0, 0};
    out[1] = (struct process){(unsigned)getppid(), (unsigned long long)taken(), 0, 0};
    *n = 2;
    return 0;
}
