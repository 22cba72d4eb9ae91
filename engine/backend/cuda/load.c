/* Finds and loads the module. A machine without a driver is told apart first, since loading the
 * module brings in hundreds of megabytes of libraries. */
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/module.h"

static char cache_folder[PATH_MAX];

static struct found {
    const struct cuda_module *module;
    struct err module_err;
    struct cuda_device devices[CUDA_DEVICES_MAX];
    int n_devices;
    struct err devices_err;
} found;

static const char *setting(const char *variable, const char *otherwise)
{
    const char *value = getenv(variable);

    return value && value[0] ? value : otherwise;
}

/* POSIX lets a function's address pass through a pointer to data; ISO C does not. */
static const struct cuda_module *module_of(void *library)
{
    union {
        void *symbol;
        const struct cuda_module *(*function)(void);
    } u = {.symbol = dlsym(library, CUDA_MODULE_SYMBOL)};

    return u.symbol ? u.function() : NULL;
}

/* The module stays for good: it may have threads and memory of the driver's. */
static void find_module(void)
{
    const char *driver = setting("RWPD_CUDA_DRIVER", "libcuda.so.1");
    const char *path = setting("RWPD_CUDA_MODULE", RWPD_MODULE_FOLDER "/librwpd_cuda.so");
    const struct cuda_module *module;
    void *library;

    if (!dlopen(driver, RTLD_LAZY | RTLD_LOCAL)) {
        err_set(&found.module_err, ERR_DEVICE, "no NVIDIA driver: %s", dlerror());
        return;
    }
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        err_set(&found.module_err, ERR_DEVICE, "no CUDA module: %s", dlerror());
        return;
    }
    module = module_of(library);
    if (!module || strcmp(module->build, RWPD_VERSION) != 0 ||
        module->class_bytes != sizeof *module->class)
        err_set(&found.module_err, ERR_DEVICE, "%s is not the module of rwpd %s", path,
                RWPD_VERSION);
    else
        found.module = module;
}

static void find_devices(void)
{
    find_module();
    if (!found.module) {
        found.devices_err = found.module_err;
        return;
    }
    if (found.module->devices(found.devices, CUDA_DEVICES_MAX, &found.n_devices,
                              &found.devices_err))
        found.n_devices = 0;
    else if (found.n_devices == 0)
        err_set(&found.devices_err, ERR_DEVICE, "the driver knows no GPU");
}

static void find_cache_folder(void)
{
    static const struct {
        const char *variable, *below;
    } places[] = {{"RWPD_CUDA_CACHE", ""},
                  {"CACHE_DIRECTORY", ""},
                  {"XDG_CACHE_HOME", "/rwpd"},
                  {"HOME", "/.cache/rwpd"}};

    for (size_t i = 0; i < sizeof places / sizeof *places && !cache_folder[0]; i++) {
        const char *value = getenv(places[i].variable);

        if (value && value[0] == '/')
            snprintf(cache_folder, sizeof cache_folder, "%s%s", value, places[i].below);
    }
}

const char *cuda_cache_folder(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, find_cache_folder);
    return cache_folder[0] ? cache_folder : NULL;
}

static void find(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, find_devices);
}

const struct cuda_module *cuda_module(struct err *err)
{
    find();
    if (!found.module && err)
        *err = found.module_err;
    return found.module;
}

int cuda_devices(const struct cuda_device **out, struct err *err)
{
    find();
    *out = found.devices;
    if (found.n_devices == 0 && err)
        *err = found.devices_err;
    return found.n_devices;
}
