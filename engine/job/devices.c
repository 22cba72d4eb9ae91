/* What this machine has, found out once. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "backend/cuda/module.h"
#include "engine/job.h"
#include "job/cores.h"

static char processor[160];

enum { HOST_DEVICES = 2 };

static struct engine_device devices[CUDA_DEVICES_MAX + HOST_DEVICES];
static int n_devices;

static const struct engine_device host_devices[HOST_DEVICES] = {
    {.name = "cpu",
     .doc = "oneDNN on the processor, in single precision.",
     .description = processor,
     .precisions = {"fp32"}},
    {.name = "reference",
     .doc = "Plain loops in double precision: slow, and what the others are checked against.",
     .description = processor,
     .precisions = {"fp64"}},
};

/* "model name : …" of /proc/cpuinfo; the machine's architecture where there is none. */
static void find_processor(void)
{
    FILE *file = fopen("/proc/cpuinfo", "re");
    struct utsname system;
    char line[256];

    while (file && !processor[0] && fgets(line, sizeof line, file)) {
        const char *value = strchr(line, ':');

        if (!value || strncmp(line, "model name", strlen("model name")))
            continue;
        value += 1 + strspn(value + 1, " ");
        snprintf(processor, sizeof processor, "%.*s", (int)strcspn(value, "\n"), value);
    }
    if (file)
        fclose(file);
    if (!processor[0] && !uname(&system))
        snprintf(processor, sizeof processor, "%s", system.machine);
}

static void add_gpus(int cores)
{
    static const char *const names[CUDA_DEVICES_MAX] = {"cuda:0", "cuda:1", "cuda:2", "cuda:3",
                                                        "cuda:4", "cuda:5", "cuda:6", "cuda:7"};
    const struct cuda_device *gpus;
    int n = cuda_devices(&gpus, NULL);

    for (int i = 0; i < n; i++)
        devices[n_devices++] =
            (struct engine_device){.name = names[i],
                                   .doc = "cuDNN, cuBLAS and kernels of our own on a GPU.",
                                   .description = gpus[i].name,
                                   .cores = cores,
                                   .memory_bytes = gpus[i].memory_bytes,
                                   .precisions = {"tf32", "bf16", "fp32"},
                                   .uuid = gpus[i].uuid};
}

static void find_devices(void)
{
    int64_t memory = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    int cores = cores_usable();

    find_processor();
    add_gpus(cores);
    for (int i = 0; i < HOST_DEVICES; i++) {
        devices[n_devices] = host_devices[i];
        devices[n_devices].cores = cores;
        devices[n_devices++].memory_bytes = memory;
    }
}

const struct engine_device *engine_devices(int *n)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, find_devices);
    *n = n_devices;
    return devices;
}

int engine_gpus(struct err *err)
{
    const struct cuda_device *gpus;

    return cuda_devices(&gpus, err);
}

bool engine_device_load(const struct engine_device *device, struct device_load *out)
{
    return device->uuid && cuda_load_of(device->uuid, out);
}
