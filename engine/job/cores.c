/* A container or a unit with CPUQuota= may use each processor of the machine, but only for a part
 * of the time. More threads than that part is worth would only wait for each other. Version 2 of
 * the control groups is read; without it there is no limit. */
#include "job/cores.h"

#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define GROUPS_MOUNT "/sys/fs/cgroup"

/* "150000 100000": microseconds in each period of so many; "max 100000": as many as there are. */
static int quota_of(const char *folder)
{
    char path[2 * PATH_MAX + 16];
    long long quota, period;
    FILE *file;
    int n;

    snprintf(path, sizeof path, "%s/cpu.max", folder);
    file = fopen(path, "re");
    if (!file)
        return 0;
    n = fscanf(file, "%lld %lld", &quota, &period);
    fclose(file);
    if (n != 2 || quota <= 0 || period <= 0 || quota / period >= INT_MAX)
        return 0;
    return (int)((quota + period - 1) / period);
}

/* The line of version 2 is "0::/its/path". */
static bool find_group(const char *membership, char path[PATH_MAX])
{
    FILE *file = fopen(membership, "re");
    bool found = false;

    while (file && !found && fgets(path, PATH_MAX, file))
        found = strncmp(path, "0::/", 4) == 0;
    if (file)
        fclose(file);
    if (!found)
        return false;
    path[strcspn(path, "\n")] = '\0';
    memmove(path, path + 3, strlen(path + 3) + 1);
    return true;
}

int cores_of_groups(const char *membership, const char *mount)
{
    char path[PATH_MAX], folder[2 * PATH_MAX];
    int least = 0;

    if (!find_group(membership, path))
        return 0;
    for (;;) {
        char *slash = strrchr(path, '/');
        int quota;

        snprintf(folder, sizeof folder, "%s%s", mount, path);
        quota = quota_of(folder);
        if (quota && (!least || quota < least))
            least = quota;
        if (!slash)
            return least;
        *slash = '\0';
    }
}

int cores_usable(void)
{
    int quota = cores_of_groups("/proc/self/cgroup", GROUPS_MOUNT);
    int cores = (int)sysconf(_SC_NPROCESSORS_ONLN);
    cpu_set_t set;

    if (!sched_getaffinity(0, sizeof set, &set))
        cores = CPU_COUNT(&set);
    if (quota && quota < cores)
        cores = quota;
    return cores > 0 ? cores : 1;
}
