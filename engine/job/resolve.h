/* What a job's settings come to on this machine. */
#ifndef ENGINE_JOB_RESOLVE_H
#define ENGINE_JOB_RESOLVE_H

#include "backend/backend.h"
#include "data/dataset.h"
#include "engine/job.h"
#include "model/model.h"

/* Where a job runs. */
struct job_place {
    const struct backend_class *class;
    int device;           /* number of the GPU; 0 for others */
    enum compute compute; /* of GPUs */
    const char *name;     /* "cpu", "reference", "cuda:0"; static */
    const char *precision;
    int64_t memory_bytes; /* of the device */
    bool gpu;
    enum device_kind kind;
    int64_t reserve_bytes; /* of a GPU's memory, that a job cannot have */
};

/* Of several GPUs that will do, the one with the fewest jobs now. False when there is no such
 * device here, or it lacks the job's precision. */
bool job_place(struct job_place *out, const struct engine_job *job);

/* How the backend of a place is opened for a job. */
struct backend_options job_backend_options(const struct engine_job *job,
                                           const struct job_place *place, int threads);

/* Bytes of the machine's memory, whatever devices it has. */
int64_t job_host_memory(void);

/* Whether the job leaves it to the engine which GPU it computes on. */
bool job_device_is_open(const struct engine_job *job);

/* The number of the GPU that a job asks for, whether it is there or not. */
int job_gpu(const struct engine_job *job);

/* The backend that a job runs on; NULL as above. */
const struct backend_class *job_backend(const struct engine_job *job);

/* Training samples after train_limit. */
int64_t job_train_samples(const struct engine_job *job, const struct dataset_info *info);

/* Updates of an epoch and of the whole run. */
int64_t job_updates_per_epoch(const struct engine_job *job, int64_t samples);
int64_t job_updates(const struct engine_job *job, int64_t samples);

/* A batch of this job's dataset. */
struct model_input job_model_input(const struct dataset_info *info, int64_t batch);

/* `engine_job_check` of the job's list of probes. */
void job_check_probes(const struct engine_job *job, int64_t samples, struct problems *problems);

/* `engine_job_check` of a job that was taken before, for those who have described the dataset
 * already; says nothing of it, and nothing of members that say nothing. */
void job_check_with(const struct engine_job *job, const struct dataset_info *info,
                    struct problems *problems);

/* `engine_probe_check` of one that was taken before: it may have members that say nothing. */
void probe_check_stored(const struct engine_job *job, const struct engine_probe *probe,
                        struct problems *problems);

/* Tells a struct first_problem, for those who can tell of one only: the first one becomes *err. */
struct first_problem {
    struct err *err;
    bool seen;
};
void job_first_problem(void *first, const char *pointer, const char *message);

#endif
