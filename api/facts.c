/* A fixed number of places under one lock; a newer job takes the place of an older one. */
#include "facts.h"

#include <stdlib.h>
#include <string.h>

#include "api/spec_json.h"
#include "base/cleanup.h"

#define PLACES 512 /* a job's place is its id modulo this */

struct facts_cache {
    pthread_mutex_t lock;
    int64_t id[PLACES];
    struct api_facts facts[PLACES];
};

int facts_open(struct facts_cache **out, struct err *err)
{
    struct facts_cache *cache = calloc(1, sizeof *cache);

    if (!cache)
        return err_no_memory(err);
    pthread_mutex_init(&cache->lock, NULL);
    *out = cache;
    return 0;
}

void facts_close(struct facts_cache *cache)
{
    if (cache)
        pthread_mutex_destroy(&cache->lock);
    free(cache);
}

bool facts_known(struct facts_cache *cache, int64_t id, struct api_facts *out)
{
    bool known;

    pthread_mutex_lock(&cache->lock);
    known = cache->id[id % PLACES] == id;
    if (known)
        *out = cache->facts[id % PLACES];
    pthread_mutex_unlock(&cache->lock);
    return known;
}

int facts_make(struct api *api, int64_t id, const void *job, struct api_facts *out, struct err *err)
{
    const struct api_service *service = api->service;
    struct facts_cache *cache = api->facts;
    int rc = service->facts(service->context, job, out, err);

    if (rc)
        return rc;
    pthread_mutex_lock(&cache->lock);
    cache->id[id % PLACES] = id;
    cache->facts[id % PLACES] = *out;
    pthread_mutex_unlock(&cache->lock);
    return 0;
}

int facts_of_spec(struct api *api, int64_t id, const char *spec, struct api_facts *out,
                  struct err *err)
{
    cleanup_free struct spec_problems *problems = malloc(sizeof *problems);
    cleanup_free void *job = calloc(1, api->service->job_bytes);
    int rc;

    if (!problems || !job)
        return err_no_memory(err);
    rc = spec_json_parse(api->service->job_spec, spec, strlen(spec), job, problems, err);
    return rc ? rc : facts_make(api, id, job, out, err);
}
