/* Two GPUs that are none: a driver, a module and NVML in one library, for tests of what the engine
 * does with them. They compute on the processor. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/cuda/module.h"
#include "fake_gpu.h"

#define SHOWN __attribute__((visibility("default")))

static struct fake_gpu_fault fault = {.device = -1};
static struct backend_options opened; /* the first rank's */
static atomic_int opened_ranks;       /* a bit a device that was opened beside it */

static int open_backend(struct backend **out, const struct backend_options *options,
                        struct err *err)
{
    if (options->device == fault.device && fault.code)
        return err_set(err, fault.code, "a fault of the fake");
    if (options->device == 0)
        opened = *options;
    else
        atomic_fetch_or(&opened_ranks, 1 << options->device);
    return backend_cpu.open(out, options, err);
}

/* Wrong by a bit, where that is asked for. */
static int read_wrongly(const struct vector *vector, size_t offset, size_t n, void *to,
                        struct err *err)
{
    int rc = backend_cpu.vector_read(vector, offset, n, to, err);

    if (!rc && fault.wrong && n > 7)
        ((unsigned char *)to)[7 * sizeof(float)] ^= 1;
    return rc;
}

static int devices(struct cuda_device *out, int max, int *n, struct err *err)
{
    static const struct cuda_device fakes[] = {
        {"Fake GPU", "GPU-00000000-0000-0000-0000-000000000000", (int64_t)80 << 30, 0, 132, 90},
        {"Fake GPU", "GPU-00000000-0000-0000-0000-000000000001", (int64_t)1 << 20, 0, 132, 90}};

    (void)max;
    (void)err;
    memcpy(out, fakes, sizeof fakes);
    *n = 2;
    return 0;
}

/* Their vectors are the processor's, but they do not say so. */
static int open_ranks(struct communicator **out, const struct backend_class *class, int ranks,
                      int device, struct err *err)
{
    (void)class;
    return communicator_host.open(out, &backend_cpu, ranks, device, err);
}

SHOWN const struct cuda_module *rwpd_cuda_module(void);
SHOWN const struct backend_options *fake_gpu_opened(void);
SHOWN struct fake_gpu_fault *fake_gpu_fault(void);
SHOWN int fake_gpu_opened_ranks(void);

const struct cuda_module *rwpd_cuda_module(void)
{
    static const struct communicator_class communicator = {.open = open_ranks};
    static struct backend_class class;
    static const struct cuda_module module = {
        .build = RWPD_VERSION, .class_bytes = sizeof class, .class = &class, .devices = devices};

    class = backend_cpu;
    class.name = "cuda";
    class.open = open_backend;
    class.vector_read = read_wrongly;
    class.communicator = &communicator;
    class.vector_data = NULL;
    return &module;
}

/* What the first GPU's backend was opened with last. */
const struct backend_options *fake_gpu_opened(void)
{
    return &opened;
}

struct fake_gpu_fault *fake_gpu_fault(void)
{
    return &fault;
}

int fake_gpu_opened_ranks(void)
{
    return atomic_load(&opened_ranks);
}

/* NVML, as nvml.c declares it. */
SHOWN int nvmlInit_v2(void);
SHOWN int nvmlDeviceGetHandleByUUID(const char *uuid, void **out);
SHOWN int nvmlDeviceGetMemoryInfo(void *device, unsigned long long out[3]);
SHOWN int nvmlDeviceGetUtilizationRates(void *device, unsigned out[2]);
SHOWN int nvmlDeviceGetTemperature(void *device, unsigned sensor, unsigned *out);
struct process { /* nvmlProcessInfo_t */
    unsigned pid;
    unsigned long long used;
    unsigned gpu_instance, compute_instance;
};

SHOWN int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *n, struct process *out);

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

int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *n, struct process *out)
{
    (void)device;
    if (*n < 3)
        return 7; /* INSUFFICIENT_SIZE */
    *n = 3;
    out[0] = (struct process){(unsigned)getppid(), 1 << 20, 0, 0};
    out[1] = (struct process){(unsigned)getpid(), 3 << 20, 0, 0};
    out[2] = (struct process){1u << 30, ~0ull, 0, 0}; /* of another namespace; memory not known */
    return 0;
}
