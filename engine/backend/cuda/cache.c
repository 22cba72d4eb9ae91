/* Chosen plans on the disk. A file's name says all that the choice depends on: cuDNN's version, the
 * device, how it was chosen, and the problem. A file is written under another name first, so that
 * a half-written one is never read. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/cuda/libraries_inside.h"

enum { PLAN_BYTES_MAX = 1 << 20 };

/* FNV-1a (Fowler, Noll, Vo). */
static uint64_t hash(const char *text)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 0x100000001b3u;
    return h;
}

static bool make_folders(const char *path)
{
    char copy[PLAN_PATH_MAX];

    if (snprintf(copy, sizeof copy, "%s", path) >= (int)sizeof copy)
        return false;
    for (char *at = copy + 1; *at; at++)
        if (*at == '/') {
            *at = 0;
            if (mkdir(copy, 0755) && errno != EEXIST)
                return false;
            *at = '/';
        }
    return !mkdir(copy, 0755) || errno == EEXIST;
}

char *cache_prefix(const char *folder, const struct dnn_device *properties, bool timed)
{
    char prefix[PLAN_PATH_MAX], *json;

    if (!make_folders(folder) || dnn_device_properties(properties, &json, NULL))
        return NULL;
    snprintf(prefix, sizeof prefix, "%s/cudnn%zu-%016llx-%s-", folder, cudnnGetVersion(),
             (unsigned long long)hash(json), timed ? "timed" : "first");
    free(json);
    return strdup(prefix);
}

static bool path_of(const struct libraries *libraries, const char *name, const char *end,
                    char path[PLAN_PATH_MAX])
{
    return libraries->cache &&
           snprintf(path, PLAN_PATH_MAX, "%s%s%s", libraries->cache, name, end) < PLAN_PATH_MAX;
}

struct dnn_plan *cache_read(const struct libraries *libraries, const char *name)
{
    struct dnn_plan *plan = NULL;
    char path[PLAN_PATH_MAX], *json;
    FILE *file;
    size_t n;

    if (!path_of(libraries, name, ".json", path))
        return NULL;
    file = fopen(path, "re");
    if (!file)
        return NULL;
    json = malloc(PLAN_BYTES_MAX);
    n = json ? fread(json, 1, PLAN_BYTES_MAX, file) : 0;
    fclose(file);
    if (n > 0 && n < PLAN_BYTES_MAX) {
        json[n] = 0;
        if (dnn_plan_read(&plan, libraries->properties, json, NULL))
            plan = NULL;
    }
    free(json);
    return plan;
}

void cache_write(const struct libraries *libraries, const char *name, const struct dnn_plan *plan)
{
    char path[PLAN_PATH_MAX], whole[PLAN_PATH_MAX], end[40], *json;
    bool good = false;
    FILE *file;

    /* Ranks write the same plan at the same time. */
    snprintf(end, sizeof end, ".%ld", (long)gettid());
    if (!path_of(libraries, name, end, path) || !path_of(libraries, name, ".json", whole) ||
        dnn_plan_json(plan, &json, NULL))
        return;
    file = fopen(path, "we");
    if (file) {
        good = fputs(json, file) >= 0;
        good = !fclose(file) && good;
    }
    if (!good || rename(path, whole))
        unlink(path);
    free(json);
}
