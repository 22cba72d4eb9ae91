/* What a job's settings come to on this machine. */
#ifndef ENGINE_JOB_RESOLVE_H
#define ENGINE_JOB_RESOLVE_H

#include "backend/backend.h"
#include "data/dataset.h"
#include "engine/job.h"
#include "model/model.h"

/* The backend that a job runs on; NULL when its device lacks its precision. */
const struct backend_class *job_backend(const struct engine_job *job);

const char *job_precision_name(enum real_type real); /* "fp32", "fp64" */

/* Training samples after train_limit. */
int64_t job_train_samples(const struct engine_job *job, const struct dataset_info *info);

/* Updates of an epoch and of the whole run. */
int64_t job_updates_per_epoch(const struct engine_job *job, int64_t samples);
int64_t job_updates(const struct engine_job *job, int64_t samples);

/* A batch of this job's dataset. */
struct model_input job_model_input(const struct dataset_info *info, int64_t batch);

/* `engine_job_check` of the job's list of probes. */
int job_check_probes(const struct engine_job *job, int64_t samples,
                     void (*problem)(void *context, const char *pointer, const char *message),
                     void *context);

/* `engine_job_check` for those who have described the dataset already; says nothing of it. */
int job_check_with(const struct engine_job *job, const struct dataset_info *info,
                   void (*problem)(void *context, const char *pointer, const char *message),
                   void *context);

#endif
