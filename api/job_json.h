/* A job as JSON. */
#ifndef API_JOB_JSON_H
#define API_JOB_JSON_H

#include "http.h"

/* `facts` NULL: they are left out (in lists) or not known. */
void job_json_write(struct text *out, const struct api *api, const struct db_job *job,
                    const struct api_facts *facts);

/* An object with a member a state. */
void job_counts_json(struct text *out, const int64_t counts[JOB_STATES]);

#endif
