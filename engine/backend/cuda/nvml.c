/* What NVIDIA's management library says of a device. It is loaded where it is there; its functions
 * are declared here after its reference, since its header comes with other packages than CUDA's. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/cuda/module.h"

typedef struct nvml_device *nvml_device; /* nvmlDevice_t */

struct nvml_memory { /* nvmlMemory_t */
    unsigned long long total, free, used;
};

struct nvml_utilisation { /* nvmlUtilization_t, in percent */
    unsigned gpu, memory;
};

struct nvml_process { /* nvmlProcessInfo_t of version 3 */
    unsigned pid;
    unsigned long long used; /* NVML_VALUE_NOT_AVAILABLE: not known */
    unsigned gpu_instance, compute_instance;
};

enum { NVML_SUCCESS = 0, NVML_TEMPERATURE_GPU = 0 };
#define NVML_VALUE_NOT_AVAILABLE (~0ull)

/* More than a device has in practice. Where there are more, NVML names none. */
enum { SEEN_MAX = 256 };

static struct nvml {
    int (*init)(void);
    int (*by_uuid)(const char *uuid, nvml_device *out);
    int (*memory)(nvml_device device, struct nvml_memory *out);
    int (*utilisation)(nvml_device device, struct nvml_utilisation *out);
    int (*temperature)(nvml_device device, unsigned sensor, unsigned *out);
    int (*processes)(nvml_device device, unsigned *n, struct nvml_process *out);
    bool there;
} nvml;

static bool find_symbol(void *library, const char *name, void *to)
{
    void **function = to;

    *function = dlsym(library, name);
    return *function != NULL;
}

static void find_nvml(void)
{
    const char *path = getenv("RWPD_NVML");
    void *library = dlopen(path && path[0] ? path : "libnvidia-ml.so.1", RTLD_LAZY | RTLD_LOCAL);

    nvml.there = library && find_symbol(library, "nvmlInit_v2", &nvml.init) &&
                 find_symbol(library, "nvmlDeviceGetHandleByUUID", &nvml.by_uuid) &&
                 find_symbol(library, "nvmlDeviceGetMemoryInfo", &nvml.memory) &&
                 find_symbol(library, "nvmlDeviceGetUtilizationRates", &nvml.utilisation) &&
                 find_symbol(library, "nvmlDeviceGetTemperature", &nvml.temperature) &&
                 find_symbol(library, "nvmlDeviceGetComputeRunningProcesses_v3", &nvml.processes) &&
                 nvml.init() == NVML_SUCCESS;
}

/* Stays "" for one of another namespace, or that has just ended. */
static void find_name(struct device_process *process)
{
    char path[40];
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/comm", process->pid);
    file = fopen(path, "re");
    if (!file)
        return;
    if (!fgets(process->name, sizeof process->name, file))
        process->name[0] = 0;
    process->name[strcspn(process->name, "\n")] = 0;
    fclose(file);
}

static void find_processes(nvml_device device, struct device_load *out)
{
    struct nvml_process seen[SEEN_MAX];
    unsigned n = SEEN_MAX;
    int code = nvml.processes(device, &n, seen);

    out->processes = code == NVML_SUCCESS ? (int)n : -1;
    for (unsigned i = 0; code == NVML_SUCCESS && i < n; i++) {
        struct device_process *process;

        if ((pid_t)seen[i].pid == getpid() || out->n_others++ >= DEVICE_PROCESSES_MAX)
            continue;
        process = &out->others[out->n_others - 1];
        process->pid = (int)seen[i].pid;
        process->memory_bytes =
            seen[i].used == NVML_VALUE_NOT_AVAILABLE ? -1 : (int64_t)seen[i].used;
        find_name(process);
    }
}

bool cuda_load_of(const char *uuid, struct device_load *out)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct nvml_utilisation utilisation;
    struct nvml_memory memory;
    unsigned temperature;
    nvml_device device;

    pthread_once(&once, find_nvml);
    if (!nvml.there || nvml.by_uuid(uuid, &device))
        return false;
    *out = (struct device_load){-1, -1, -1, -1};
    if (nvml.memory(device, &memory) == NVML_SUCCESS)
        out->memory_used_bytes = (int64_t)memory.used;
    if (nvml.utilisation(device, &utilisation) == NVML_SUCCESS)
        out->utilisation = utilisation.gpu / 100.0;
    if (nvml.temperature(device, NVML_TEMPERATURE_GPU, &temperature) == NVML_SUCCESS)
        out->temperature_celsius = (int)temperature;
    find_processes(device, out);
    return true;
}
