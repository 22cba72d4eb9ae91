/* What NVIDIA's management library says of a device. It is loaded where it is there; its functions
 * are declared here after its reference, since its header comes with other packages than CUDA's. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>

#include "backend/cuda/module.h"

typedef struct nvml_device *nvml_device; /* nvmlDevice_t */

struct nvml_memory { /* nvmlMemory_t */
    unsigned long long total, free, used;
};

struct nvml_utilisation { /* nvmlUtilization_t, in percent */
    unsigned gpu, memory;
};

enum { NVML_SUCCESS = 0, NVML_INSUFFICIENT_SIZE = 7, NVML_TEMPERATURE_GPU = 0 };

static struct nvml {
    int (*init)(void);
    int (*by_uuid)(const char *uuid, nvml_device *out);
    int (*memory)(nvml_device device, struct nvml_memory *out);
    int (*utilisation)(nvml_device device, struct nvml_utilisation *out);
    int (*temperature)(nvml_device device, unsigned sensor, unsigned *out);
    int (*processes)(nvml_device device, unsigned *n, void *out);
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

bool cuda_load_of(const char *uuid, struct cuda_load *out)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct nvml_utilisation utilisation;
    struct nvml_memory memory;
    unsigned temperature, processes = 0;
    nvml_device device;
    int code;

    pthread_once(&once, find_nvml);
    if (!nvml.there || nvml.by_uuid(uuid, &device) || nvml.memory(device, &memory) ||
        nvml.utilisation(device, &utilisation) ||
        nvml.temperature(device, NVML_TEMPERATURE_GPU, &temperature))
        return false;
    code = nvml.processes(device, &processes, NULL); /* asked for their number alone */
    if (code != NVML_SUCCESS && code != NVML_INSUFFICIENT_SIZE)
        return false;
    *out = (struct cuda_load){.memory_used_bytes = (int64_t)memory.used,
                              .utilisation = utilisation.gpu / 100.0,
                              .temperature_celsius = (int)temperature,
                              .processes = (int)processes};
    return true;
}
