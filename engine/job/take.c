/* Which device each of the jobs that run at the same time is given. */
#include "job/take.h"

#include <pthread.h>
#include <stdatomic.h>

#include "backend/cuda/module.h"
#include "base/err.h"
#include "engine/job.h"
#include "job/health.h"
#include "job/resolve.h"

static pthread_mutex_t taking = PTHREAD_MUTEX_INITIALIZER;
static atomic_int jobs_on[CUDA_DEVICES_MAX]; /* written under `taking` */

int take_jobs_on(int gpu)
{
    return jobs_on[gpu];
}

static void count(int first, int ranks, int change)
{
    for (int gpu = first; gpu < first + ranks && gpu < CUDA_DEVICES_MAX; gpu++)
        jobs_on[gpu] += change;
}

/* Of all GPUs that the job computes on. */
static int place_ready(const struct engine_job *job, const struct job_place *place, struct err *err)
{
    const struct cuda_device *devices;
    int n = cuda_devices(&devices, NULL), rc = 0;

    if (place->device + job->world_size > n)
        return err_set(err, ERR_DEVICE, "the job's %d GPUs from %s on are not there",
                       (int)job->world_size, place->name);
    for (int rank = 0; rank < job->world_size && !rc; rank++)
        rc = health_ready(place->device + rank, err);
    return rc;
}

int engine_device_ready(const struct engine_job *job, struct err *err)
{
    struct job_place place;

    if (!job_place(&place, job))
        return err_set(err, ERR_DEVICE, "the job's device is gone");
    return place.gpu ? place_ready(job, &place, err) : 0;
}

/* One that is set aside is not chosen again, so that the others have their turn. */
static int find_ready(struct job_place *place, const struct engine_job *job, struct err *err)
{
    int tried = -1, rc = 0;

    for (;;) {
        if (!job_place(place, job))
            return err_set(err, ERR_DEVICE, "the job's device is gone");
        if (!place->gpu)
            return 0;
        if (place->device == tried) /* there is no other one */
            return rc;
        rc = place_ready(job, place, err);
        if (rc != ERR_DEVICE || !job_device_is_open(job))
            return rc;
        tried = place->device;
    }
}

int engine_device_take(struct engine_job *job, struct err *err)
{
    struct job_place place;
    int rc;

    pthread_mutex_lock(&taking);
    rc = find_ready(&place, job, err);
    if (!rc && place.gpu)
        count(place.device, (int)job->world_size, 1);
    pthread_mutex_unlock(&taking);
    if (!rc)
        job->device = (int)place.kind + (place.gpu ? 1 + place.device : 0);
    return rc;
}

void engine_device_release(const struct engine_job *job)
{
    if (job->device <= DEVICE_CUDA)
        return;
    pthread_mutex_lock(&taking);
    count(job_gpu(job), (int)job->world_size, -1);
    pthread_mutex_unlock(&taking);
}
