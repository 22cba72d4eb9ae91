#include "job/resolve.h"

#include "base/cleanup.h"

/* Best first: `auto` takes the first that has the precision. */
static const struct candidate {
    enum device_kind device;
    enum precision precision;
    const struct backend_class *class;
} candidates[] = {
    {DEVICE_CPU, PRECISION_FP32, &backend_cpu},
    {DEVICE_REFERENCE, PRECISION_FP64, &backend_reference},
};

const struct backend_class *job_backend(const struct engine_job *job)
{
    for (size_t i = 0; i < ARRAY_LENGTH(candidates); i++) {
        const struct candidate *candidate = &candidates[i];

        if ((job->device == DEVICE_AUTO || job->device == (int)candidate->device) &&
            (job->precision == PRECISION_AUTO || job->precision == (int)candidate->precision))
            return candidate->class;
    }
    return NULL;
}

const char *job_precision_name(enum real_type real)
{
    return real == REAL_F32 ? "fp32" : "fp64";
}

int64_t job_train_samples(const struct engine_job *job, const struct dataset_info *info)
{
    int64_t limit = job->dataset.train_limit;

    return limit > 0 && limit < info->n[SPLIT_TRAIN] ? limit : info->n[SPLIT_TRAIN];
}

int64_t job_updates_per_epoch(const struct engine_job *job, int64_t samples)
{
    return (samples + job->batch_size - 1) / job->batch_size;
}

int64_t job_updates(const struct engine_job *job, int64_t samples)
{
    return job->updates ? job->updates : job->epochs * job_updates_per_epoch(job, samples);
}

struct model_input job_model_input(const struct dataset_info *info, int64_t batch)
{
    return (struct model_input){.batch = batch,
                                .channels = info->channels,
                                .height = info->height,
                                .width = info->width,
                                .classes = info->classes};
}
