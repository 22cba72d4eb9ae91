/* Forecasts, remembered by what the work of a run depends on. */
#include "engine/estimate.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "job/resolve.h"
#include "run/timing.h"

/* Raised when the same job comes to do other work: what was measured before is another's then. */
#define SIGNATURE_VERSION 2

#define REMEMBERED 64

static struct {
    pthread_mutex_t lock;   /* over what is remembered */
    pthread_mutex_t timing; /* held while a job is timed */
    int next;
    struct engine_estimate known[REMEMBERED]; /* a ring */
} memory = {.lock = PTHREAD_MUTEX_INITIALIZER, .timing = PTHREAD_MUTEX_INITIALIZER};

/* ---- Signature: FNV-1a, 64 bits ---- */

static void add_bytes(uint64_t *hash, const void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        *hash = (*hash ^ ((const unsigned char *)bytes)[i]) * UINT64_C(0x100000001b3);
}

static void add_numbers(uint64_t *hash, const int64_t *numbers, size_t n)
{
    add_bytes(hash, numbers, n * sizeof *numbers);
}

static void add_model(uint64_t *hash, const struct job_model *model)
{
    const int64_t numbers[] = {model->kind,
                               model->width,
                               model->blocks.n,
                               model->stem,
                               model->depth,
                               model->widen,
                               model->patch,
                               model->heads,
                               model->mlp,
                               model->dropout > 0,
                               model->embedding_dropout > 0};

    add_numbers(hash, numbers, ARRAY_LENGTH(numbers));
    add_numbers(hash, model->blocks.item, (size_t)model->blocks.n);
}

static void add_data(uint64_t *hash, const struct engine_job *job, const struct dataset_info *info)
{
    const struct job_augment *augment = &job->dataset.augment;
    const int64_t numbers[] = {job->dataset.kind,    info->classes,
                               info->channels,       info->height,
                               info->width,          info->n[SPLIT_TRAIN],
                               info->n[SPLIT_TEST],  job_train_samples(job, info),
                               job->dataset.resize,  augment->crop,
                               augment->flip,        augment->crop_padding,
                               augment->randaugment, augment->cutout};

    add_numbers(hash, numbers, ARRAY_LENGTH(numbers));
    add_bytes(hash, job->dataset.path, strlen(job->dataset.path));
}

static void add_work(uint64_t *hash, const struct engine_job *job, int threads)
{
    const int64_t numbers[] = {job->method.kind,
                               job->method.samples,
                               job->method.statistics,
                               job->optimizer.kind,
                               job->optimizer.clip_norm > 0,
                               job->batch_size,
                               job->device,
                               job->precision,
                               job->deterministic,
                               threads,
                               job->world_size,
                               job->telemetry.every_updates};

    add_numbers(hash, numbers, ARRAY_LENGTH(numbers));
}

/* The model name of what the job runs on. */
static const char *device_of(const struct engine_job *job)
{
    const struct engine_device *devices;
    struct job_place place;
    int n, i = 0;

    devices = engine_devices(&n);
    if (job_place(&place, job))
        while (i < n - 1 && strcmp(devices[i].name, place.name) != 0)
            i++;
    return devices[i].description;
}

static int64_t signature_of(const struct engine_job *job, const struct dataset_info *info,
                            int threads)
{
    static const char version[] = RWPD_VERSION;
    const int64_t own = SIGNATURE_VERSION;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    const char *device = device_of(job);

    add_numbers(&hash, &own, 1);
    add_bytes(&hash, version, sizeof version);
    add_bytes(&hash, device, strlen(device));
    add_model(&hash, &job->model);
    add_data(&hash, job, info);
    add_work(&hash, job, threads);
    hash >>= 1; /* SQLite's and JSON's integers have a sign */
    return hash ? (int64_t)hash : 1;
}

/* ---- What is remembered ---- */

static bool recall(int64_t signature, struct engine_estimate *out)
{
    bool found = false;

    pthread_mutex_lock(&memory.lock);
    for (int i = 0; i < REMEMBERED && !found; i++) {
        found = memory.known[i].signature == signature;
        if (found)
            *out = memory.known[i];
    }
    pthread_mutex_unlock(&memory.lock);
    return found;
}

static void remember(const struct engine_estimate *estimate)
{
    int place = -1;

    pthread_mutex_lock(&memory.lock);
    for (int i = 0; i < REMEMBERED; i++)
        if (memory.known[i].signature == estimate->signature)
            place = i;
    if (place < 0)
        place = memory.next++ % REMEMBERED;
    memory.known[place] = *estimate;
    pthread_mutex_unlock(&memory.lock);
}

/* ---- What timing may cost: many jobs at once are timed, but not for ever ---- */

struct budget {
    pthread_mutex_t lock;
    double most, share;  /* seconds at a time, and of all time */
    double spared, seen; /* seconds that may be spent, and as of when */
};

static struct budget timing = {.lock = PTHREAD_MUTEX_INITIALIZER, .most = 10, .share = 0.1};
/* Looking whether jobs fit, which are a thousand in a large sweep. */
static struct budget checking = {.lock = PTHREAD_MUTEX_INITIALIZER, .most = 60, .share = 0.25};

/* Spends `seconds`. Whether there is anything left. */
static bool spend(struct budget *budget, double seconds)
{
    double now = clock_seconds();
    bool left;

    pthread_mutex_lock(&budget->lock);
    budget->spared += budget->share * (now - budget->seen);
    if (budget->seen == 0 || budget->spared > budget->most)
        budget->spared = budget->most;
    budget->seen = now;
    budget->spared -= seconds;
    left = budget->spared > 0;
    pthread_mutex_unlock(&budget->lock);
    return left;
}

/* ---- Forecasts ---- */

static int count_memory(const struct engine_job *job, const struct dataset_info *info, int threads,
                        struct engine_estimate *out, struct err *err)
{
    const struct engine_sink sink = {0};
    struct engine_run *run = NULL;
    int rc = run_open(&run, job, threads, &sink, info, RUN_COUNT, err);

    if (!rc)
        rc = run_count(run, err);
    if (!rc) {
        out->memory_bytes = engine_run_memory(run);
        out->device_bytes = engine_run_device_memory(run);
    }
    engine_run_close(run);
    return rc;
}

int engine_estimate_memory(const struct engine_job *job, int threads, struct engine_estimate *out,
                           struct err *err)
{
    struct engine_estimate made = {0};
    struct dataset_info info;
    int rc = dataset_describe(&info, &job->dataset, err);

    if (rc)
        return rc;
    made.signature = signature_of(job, &info, threads);
    if (recall(made.signature, out))
        return 0;
    rc = count_memory(job, &info, threads, &made, err);
    if (rc)
        return rc;
    remember(&made);
    *out = made;
    return 0;
}

/* Bytes that a job can have where it runs, whatever others have of them now. */
static int64_t room_at(const struct job_place *place)
{
    struct sysinfo machine;

    if (place->gpu)
        return place->memory_bytes - place->reserve_bytes;
    if (sysinfo(&machine))
        return INT64_MAX;
    return place->memory_bytes + (int64_t)machine.totalswap * (int64_t)machine.mem_unit;
}

static void add_need(struct problems *problems, const struct engine_job *job,
                     const struct job_place *place, int64_t needed)
{
    const char *narrower = job->model.width > 0 ? ", a smaller model.width" : "";
    double gib = 0x1p30;

    if (place->gpu)
        problems_add(problems, "/batch_size",
                     "the job needs %.2f GiB of memory on %s, and CUDA itself %.2f more, but it "
                     "has %.2f. What helps: a smaller batch_size%s%s",
                     (double)needed / gib, place->name, (double)place->reserve_bytes / gib,
                     (double)place->memory_bytes / gib, narrower,
                     place->compute == COMPUTE_BF16 ? "" : ", precision bf16");
    else
        problems_add(problems, "/batch_size",
                     "the job needs %.2f GiB of memory, but this machine has %.2f with its swap. "
                     "What helps: a smaller batch_size%s",
                     (double)needed / gib, (double)room_at(place) / gib, narrower);
}

void engine_estimate_check(const struct engine_job *job, int threads, struct problems *problems)
{
    struct engine_estimate estimate;
    struct job_place place;
    double start = clock_seconds();
    int64_t needed;
    int rc;

    if (!job_place(&place, job) || !spend(&checking, 0))
        return;
    rc = engine_estimate_memory(job, threads, &estimate, NULL);
    spend(&checking, clock_seconds() - start);
    needed = place.gpu ? estimate.device_bytes : estimate.memory_bytes;
    if (!rc && needed > room_at(&place))
        add_need(problems, job, &place, needed);
}

int engine_estimate_time(const struct engine_job *job, int threads, struct engine_estimate *out,
                         struct err *err)
{
    struct dataset_info info;
    struct job_place place;
    double start;
    int rc;

    if (job_place(&place, job) && !place.class->time_pass)
        return 0; /* nor is anything tried: the device may have no room beside the job it runs */
    if (out->timed || (recall(out->signature, out) && out->timed))
        return 0;
    rc = dataset_describe(&info, &job->dataset, err);
    if (rc || pthread_mutex_trylock(&memory.timing))
        return rc;
    start = clock_seconds();
    if (spend(&timing, 0))
        rc = run_time(job, &info, threads, out, err);
    spend(&timing, clock_seconds() - start);
    pthread_mutex_unlock(&memory.timing);
    if (!rc && out->timed)
        remember(out);
    return rc;
}
