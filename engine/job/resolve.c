#include "job/resolve.h"

#include "base/cleanup.h"

#include "backend/cuda/module.h"
#include "job/health.h"
#include "job/take.h"

/* `auto` takes the first that is there, can be used and has the precision, where none is asked for
 * the first of its own. */
static const struct candidate {
    enum device_kind device;
    enum precision precision;
    enum compute compute;
    const char *precision_name;
} candidates[] = {
    {DEVICE_CUDA, PRECISION_TF32, COMPUTE_TF32, "tf32"},
    {DEVICE_CUDA, PRECISION_BF16, COMPUTE_BF16, "bf16"},
    {DEVICE_CUDA, PRECISION_FP32, COMPUTE_F32, "fp32"},
    {DEVICE_CPU, PRECISION_FP32, COMPUTE_F32, "fp32"},
    {DEVICE_REFERENCE, PRECISION_FP64, COMPUTE_F32, "fp64"},
};

static const char *const gpu_names[] = {"cuda:0", "cuda:1", "cuda:2", "cuda:3",
                                        "cuda:4", "cuda:5", "cuda:6", "cuda:7"};

bool job_device_is_open(const struct engine_job *job)
{
    return job->device == DEVICE_AUTO || job->device == DEVICE_CUDA;
}

int job_gpu(const struct engine_job *job)
{
    return job->device > DEVICE_CUDA ? job->device - DEVICE_CUDA - 1 : 0;
}

static bool is_meant(const struct engine_job *job, const struct candidate *candidate)
{
    bool device = job->device == DEVICE_AUTO || job->device == (int)candidate->device ||
                  (job->device > DEVICE_CUDA && candidate->device == DEVICE_CUDA);

    return device &&
           (job->precision == PRECISION_AUTO || job->precision == (int)candidate->precision);
}

/* The most jobs that one of these GPUs has; -1: one of them cannot be used. */
static int busiest(int first, int n)
{
    int most = 0;

    for (int gpu = first; gpu < first + n; gpu++) {
        if (!health_usable(gpu))
            return -1;
        if (take_jobs_on(gpu) > most)
            most = take_jobs_on(gpu);
    }
    return most;
}

/* The first of as many GPUs in a row as the job has ranks, where that is left open those with the
 * fewest jobs; -1: there are none that can be used. `any`, or where there never were so many: it is
 * told so of the first. */
static int choose_gpu(const struct engine_job *job, int n, bool any)
{
    int ranks = job->world_size > 1 ? (int)job->world_size : 1, chosen = -1, fewest = 0;

    if (any || !job_device_is_open(job) || ranks > n)
        return job_gpu(job);
    for (int gpu = 0; gpu + ranks <= n; gpu++) {
        int jobs = busiest(gpu, ranks);

        if (jobs >= 0 && (chosen < 0 || jobs < fewest)) {
            chosen = gpu;
            fewest = jobs;
        }
    }
    return chosen;
}

/* The GPU of a job, if it is there. */
static bool place_on_gpu(struct job_place *out, const struct engine_job *job, bool any)
{
    const struct cuda_device *devices;
    int n = cuda_devices(&devices, NULL);

    out->device = n > 0 ? choose_gpu(job, n, any) : 0;
    if (out->device < 0 || out->device >= n)
        return false;
    out->gpu = true;
    out->reserve_bytes = devices[out->device].reserve_bytes;
    out->class = cuda_module(NULL)->class;
    out->name = gpu_names[out->device];
    out->memory_bytes = devices[out->device].memory_bytes;
    return true;
}

int64_t job_host_memory(void)
{
    const struct engine_device *devices;
    int n;

    devices = engine_devices(&n);
    return devices[n - 1].memory_bytes; /* the reference's */
}

static bool place_on(struct job_place *out, const struct engine_job *job, enum device_kind device,
                     bool any)
{
    if (device == DEVICE_CUDA)
        return place_on_gpu(out, job, any);
    out->class = device == DEVICE_CPU ? backend_of_cpu() : &backend_reference;
    if (!out->class)
        return false;
    out->name = out->class->name;
    out->memory_bytes = job_host_memory();
    return true;
}

static bool find_place(struct job_place *out, const struct engine_job *job, bool any)
{
    for (size_t i = 0; i < ARRAY_LENGTH(candidates); i++) {
        const struct candidate *candidate = &candidates[i];

        *out = (struct job_place){.compute = candidate->compute,
                                  .precision = candidate->precision_name};
        out->kind = candidate->device;
        if (is_meant(job, candidate) && place_on(out, job, candidate->device, any))
            return true;
    }
    return false;
}

/* What only a GPU can do waits for one, even if none can be used now. */
bool job_place(struct job_place *out, const struct engine_job *job)
{
    return find_place(out, job, false) || find_place(out, job, true);
}

struct backend_options job_backend_options(const struct engine_job *job,
                                           const struct job_place *place, int threads)
{
    return (struct backend_options){.threads = threads,
                                    .device = place->device,
                                    .compute = place->compute,
                                    .deterministic = job->deterministic,
                                    .cache = cuda_cache_folder()};
}

const struct backend_class *job_backend(const struct engine_job *job)
{
    struct job_place place;

    return job_place(&place, job) ? place.class : NULL;
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
