/* A device's health changes under its lock alone; its test is made under another one, so that
 * whoever only asks never waits for a device. */
#include "job/health.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/module.h"
#include "base/err.h"
#include "engine/job.h"
#include "job/device_test.h"
#include "job/resolve.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t testing = PTHREAD_MUTEX_INITIALIZER;
static struct device_health health[CUDA_DEVICES_MAX];
static bool was_ready[CUDA_DEVICES_MAX]; /* in this process; under `testing` */

/* "cuda:1" → 1; -1: no GPU. */
static int gpu_of(const char *name)
{
    int number = -1;

    if (sscanf(name, "cuda:%d", &number) != 1 || number < 0 || number >= CUDA_DEVICES_MAX)
        return -1;
    return number;
}

static struct device_health look(int gpu)
{
    struct device_health now;

    pthread_mutex_lock(&lock);
    now = health[gpu];
    pthread_mutex_unlock(&lock);
    return now;
}

/* What is lost stays so. */
static void change(int gpu, enum device_state state, const char *reason)
{
    pthread_mutex_lock(&lock);
    if (health[gpu].state != DEVICE_STATE_LOST) {
        health[gpu].state = state;
        snprintf(health[gpu].reason, sizeof health[gpu].reason, "%s", reason);
    }
    pthread_mutex_unlock(&lock);
}

bool health_usable(int gpu)
{
    enum device_state state = look(gpu).state;

    return state == DEVICE_STATE_READY || state == DEVICE_STATE_UNTESTED;
}

void engine_device_health(const char *name, struct device_health *out)
{
    int gpu = gpu_of(name);

    *out = gpu < 0 ? (struct device_health){.state = DEVICE_STATE_READY} : look(gpu);
}

void health_failed(int gpu, const struct err *err)
{
    if (err->code == ERR_DEVICE_LOST)
        change(gpu, DEVICE_STATE_LOST, err->message);
    else if (err->code == ERR_DEVICE && look(gpu).state == DEVICE_STATE_READY)
        change(gpu, DEVICE_STATE_UNTESTED, "");
}

/* What it computes is looked at once in a process. */
static int test_device(const struct backend_class *class, int gpu, struct err *err)
{
    int rc = device_test(class, gpu, err);

    return rc || was_ready[gpu] ? rc : device_gradient_test(class, gpu, err);
}

/* Under `testing`. A device that was never ready in this process is not to be had by another one
 * either: it is set aside, so that one that is broken does not end the process again and again. */
static int test(int gpu, struct err *err)
{
    const struct cuda_module *module = cuda_module(err);
    struct err found = {0};
    int rc;

    if (!module)
        return ERR_DEVICE;
    rc = test_device(module->class, gpu, &found);
    if (rc == ERR_NO_MEMORY) /* full of others' work, it can still compute */
        return 0;
    if (rc == 0) {
        was_ready[gpu] = true;
        change(gpu, DEVICE_STATE_READY, "");
        return 0;
    }
    if (rc == ERR_DEVICE_LOST && was_ready[gpu]) {
        change(gpu, DEVICE_STATE_LOST, found.message);
        return err_set(err, rc, "cuda:%d is lost: %s", gpu, found.message);
    }
    if (rc == ERR_DEVICE_LOST)
        snprintf(found.message + strlen(found.message),
                 sizeof found.message - strlen(found.message),
                 " (for another try the daemon has to be started again)");
    change(gpu, DEVICE_STATE_ASIDE, found.message);
    return err_set(err, ERR_DEVICE, "cuda:%d is set aside: %s", gpu, found.message);
}

int health_ready(int gpu, struct err *err)
{
    struct device_health now;
    int rc = 0;

    pthread_mutex_lock(&testing);
    now = look(gpu);
    if (now.state == DEVICE_STATE_LOST)
        rc = err_set(err, ERR_DEVICE_LOST, "cuda:%d is lost: %s", gpu, now.reason);
    else if (now.state != DEVICE_STATE_READY)
        rc = test(gpu, err);
    pthread_mutex_unlock(&testing);
    return rc;
}

/* Which of several devices it was that is lost, their tests tell. */
void engine_device_failed(const struct engine_job *job, const struct err *err)
{
    struct err failed = *err;
    struct job_place place;

    if (!job_place(&place, job) || !place.gpu)
        return;
    if (job->world_size > 1 && failed.code == ERR_DEVICE_LOST)
        failed.code = ERR_DEVICE;
    for (int rank = 0; rank < job->world_size && place.device + rank < CUDA_DEVICES_MAX; rank++)
        health_failed(place.device + rank, &failed);
}
