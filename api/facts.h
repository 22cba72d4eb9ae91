/* What follows from a job, kept for the jobs that were asked for last: to find out may mean to
 * open a dataset's files. It is what held when it was worked out: a dataset's folder or the GPUs
 * may be others since. What a run used is in the job's row (`device`, `precision`). */
#ifndef API_FACTS_H
#define API_FACTS_H

#include "http.h"

int facts_open(struct facts_cache **out, struct err *err);
void facts_close(struct facts_cache *cache);
/* Whether the job's are known; then *out has them. */
bool facts_known(struct facts_cache *cache, int64_t id, struct api_facts *out);
/* Works them out of a job's parsed struct and keeps them. */
int facts_make(struct api *api, int64_t id, const void *job, struct api_facts *out,
               struct err *err);
/* As facts_make, of the job's JSON. */
int facts_of_spec(struct api *api, int64_t id, const char *spec, struct api_facts *out,
                  struct err *err);

#endif
