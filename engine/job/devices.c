/* What this machine has, found out once. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "engine/job.h"
#include "job/cores.h"

static char processor[160];

static struct engine_device devices[] = {
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

static void find_devices(void)
{
    int64_t memory = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    int cores = cores_usable();

    find_processor();
    for (size_t i = 0; i < ARRAY_LENGTH(devices); i++) {
        devices[i].cores = cores;
        devices[i].memory_bytes = memory;
    }
}

const struct engine_device *engine_devices(int *n)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, find_devices);
    *n = (int)ARRAY_LENGTH(devices);
    return devices;
}
