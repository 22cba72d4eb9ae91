/* Two GPUs that are none: a driver, a module and NVML in one library, for tests of what the engine
 * does with them. They compute on the processor. */
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/module.h"

#define SHOWN __attribute__((visibility("default")))

static struct backend_options opened;

static int open_backend(struct backend **out, const struct backend_options *options,
                        struct err *err)
{
    opened = *options;
    return backend_cpu.open(out, options, err);
}

static int devices(struct cuda_device *out, int max, int *n, struct err *err)
{
    static const struct cuda_device fakes[] = {
        {"Fake GPU", "GPU-00000000-0000-0000-0000-000000000000", (int64_t)80 << 30, 132, 90},
        {"Fake GPU", "GPU-00000000-0000-0000-0000-000000000001", (int64_t)1 << 20, 132, 90}};

    (void)max;
    (void)err;
    memcpy(out, fakes, sizeof fakes);
    *n = 2;
    return 0;
}

SHOWN const struct cuda_module *rwpd_cuda_module(void);
SHOWN const struct backend_options *fake_gpu_opened(void);

const struct cuda_module *rwpd_cuda_module(void)
{
    static struct backend_class class;
    static const struct cuda_module module = {
        .build = RWPD_VERSION, .class_bytes = sizeof class, .class = &class, .devices = devices};

    class = backend_cpu;
    class.name = "cuda";
    class.open = open_backend;
    return &module;
}

/* What the backend was opened with last. */
const struct backend_options *fake_gpu_opened(void)
{
    return &opened;
}

/* NVML, as nvml.c declares it. */
SHOWN int nvmlInit_v2(void);
SHOWN int nvmlDeviceGetHandleByUUID(const char *uuid, void **out);
SHOWN int nvmlDeviceGetMemoryInfo(void *device, unsigned long long out[3]);
SHOWN int nvmlDeviceGetUtilizationRates(void *device, unsigned out[2]);
SHOWN int nvmlDeviceGetTemperature(void *device, unsigned sensor, unsigned *out);
SHOWN int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *n, void *out);

int nvmlInit_v2(void)
{
    return 0;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, void **out)
{
    static char known;

    *out = &known;
    return strcmp(uuid, "GPU-00000000-0000-0000-0000-000000000000") ? 6 : 0; /* NOT_FOUND */
}

/* total, free, used */
int nvmlDeviceGetMemoryInfo(void *device, unsigned long long out[3])
{
    (void)device;
    out[0] = 80ull << 30;
    out[1] = 77ull << 30;
    out[2] = 3ull << 30;
    return 0;
}

/* of the GPU, of its memory; percent */
int nvmlDeviceGetUtilizationRates(void *device, unsigned out[2])
{
    (void)device;
    out[0] = 42;
    out[1] = 7;
    return 0;
}

int nvmlDeviceGetTemperature(void *device, unsigned sensor, unsigned *out)
{
    (void)device;
    *out = 55;
    return sensor == 0 ? 0 : 2;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *n, void *out)
{
    (void)device;
    (void)out;
    *n = 2;
    return 7; /* INSUFFICIENT_SIZE: that many there are */
}
