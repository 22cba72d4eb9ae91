#include "service.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "engine/probe.h"
#include "probe.h"

#define DEVICES_MAX 16

static struct api_device devices[DEVICES_MAX];
static int n_devices;

static void describe_devices(void)
{
    int n;
    const struct engine_device *found = engine_devices(&n);

    for (n_devices = 0; n_devices < n && n_devices < DEVICES_MAX; n_devices++) {
        const struct engine_device *device = &found[n_devices];

        devices[n_devices] = (struct api_device){.name = device->name,
                                                 .doc = device->doc,
                                                 .description = device->description,
                                                 .cores = device->cores,
                                                 .memory_bytes = device->memory_bytes,
                                                 .precisions = device->precisions,
                                                 .uuid = device->uuid};
    }
}

static void check(void *context, const void *job, struct problems *problems)
{
    (void)context;
    engine_job_check(job, problems);
}

static void check_silent(void *context, const void *job, bool plain_too, struct problems *problems)
{
    (void)context;
    engine_job_check_silent(job, plain_too, problems);
}

static int prepare(void *context, void *job, struct problems *problems, struct err *err)
{
    return queue_prepare(context, job, problems, err);
}

static int facts(void *context, const void *job, struct api_facts *out, struct err *err)
{
    struct engine_job_facts found;
    int rc = engine_job_facts(job, &found, err);

    (void)context;
    if (!rc)
        *out = (struct api_facts){.train_samples = found.train_samples,
                                  .test_samples = found.test_samples,
                                  .classes = found.classes,
                                  .updates_per_epoch = found.updates_per_epoch,
                                  .updates = found.updates,
                                  .parameters = found.parameters,
                                  .gradients_per_update = found.gradients_per_update,
                                  .device = found.device,
                                  .precision = found.precision};
    return rc;
}

static int submit(void *context, const struct api_submission *submission, int64_t *id,
                  bool *existing, struct err *err)
{
    return queue_submit(context, submission->job, submission->spec, submission->idempotency_key,
                        submission->fingerprint, id, existing, err);
}

static void look_begin(void *context)
{
    (void)context;
    engine_look_begin();
}

static void look_end(void *context)
{
    (void)context;
    engine_look_end();
}

static int submit_sweep(void *context, const struct api_sweep *sweep, int64_t *id, bool *existing,
                        struct err *err)
{
    size_t n = (size_t)sweep->n;
    cleanup_free const struct engine_job **jobs = calloc(n, sizeof *jobs);
    cleanup_free const char **specs = calloc(n, sizeof *specs);
    struct queue_sweep made = {.name = sweep->name,
                               .spec = sweep->spec,
                               .max_running = sweep->max_running,
                               .idempotency_key = sweep->idempotency_key,
                               .fingerprint = sweep->fingerprint,
                               .n = sweep->n,
                               .jobs = jobs,
                               .specs = specs};

    if (!jobs || !specs)
        return err_no_memory(err);
    for (size_t i = 0; i < n; i++) {
        jobs[i] = sweep->jobs[i].job;
        specs[i] = sweep->jobs[i].spec;
    }
    return queue_sweep_submit(context, &made, id, existing, err);
}

static const enum queue_action actions[] = {
    [API_CANCEL] = QUEUE_CANCEL, [API_PAUSE] = QUEUE_PAUSE, [API_RESUME] = QUEUE_RESUME};

static int control_sweep(void *context, int64_t id, enum api_action action, const char **what,
                         struct err *err)
{
    return queue_sweep_control(context, id, actions[action], what, err);
}

static int control(void *context, int64_t id, enum api_action action, const char **what,
                   struct err *err)
{
    return queue_control(context, id, actions[action], what, err);
}

static int delete_job(void *context, int64_t id, struct err *err)
{
    return queue_delete(context, id, err);
}

static int delete_sweep(void *context, int64_t id, struct err *err)
{
    return queue_sweep_delete(context, id, err);
}

static bool live(void *context, int64_t id, struct api_live *out)
{
    return queue_live(context, id, &out->updates_per_second, &out->eta_seconds);
}

static int prepare_probe(void *context, int64_t job, void *probe, struct problems *problems,
                         struct err *err)
{
    return queue_prepare_probe(context, job, probe, problems, err);
}

static int submit_probe(void *context, const struct api_probe_submission *submission,
                        int64_t *number, bool *existing, struct err *err)
{
    return queue_submit_probe(context, submission->job, submission->probe, submission->request,
                              submission->idempotency_key, submission->fingerprint, number,
                              existing, err);
}

static int cancel_probe(void *context, int64_t job, int64_t number, const char **what,
                        struct err *err)
{
    return queue_cancel_probe(context, job, number, what, err);
}

static int add_upload(void *context, const struct db_upload *upload,
                      const struct checkpoint *tensors, int64_t *id, bool *existing,
                      struct err *err)
{
    return queue_add_upload(context, upload, tensors, id, existing, err);
}

static int delete_upload(void *context, int64_t id, struct err *err)
{
    return queue_delete_upload(context, id, err);
}

static bool device_load(void *context, int i, struct device_load *out)
{
    int n;

    (void)context;
    return engine_device_load(&engine_devices(&n)[i], out);
}

static void device_health(void *context, int i, struct device_health *out)
{
    (void)context;
    engine_device_health(devices[i].name, out);
}

void service_fill(struct api_service *out, struct queue *queue, int workers)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, describe_devices);
    *out = (struct api_service){.context = queue,
                                .job_spec = engine_job_spec(),
                                .job_bytes = sizeof(struct engine_job),
                                .check = check,
                                .check_silent = check_silent,
                                .prepare = prepare,
                                .facts = facts,
                                .submit = submit,
                                .control = control,
                                .look_begin = look_begin,
                                .look_end = look_end,
                                .submit_sweep = submit_sweep,
                                .control_sweep = control_sweep,
                                .delete_job = delete_job,
                                .delete_sweep = delete_sweep,
                                .live = live,
                                .n_devices = n_devices,
                                .devices = devices,
                                .device_load = device_load,
                                .device_health = device_health,
                                .workers = workers,
                                .probe_spec = probe_field(),
                                .probe_bytes = sizeof(struct engine_probe),
                                .probe_tables = engine_probe_tables,
                                .prepare_probe = prepare_probe,
                                .submit_probe = submit_probe,
                                .cancel_probe = cancel_probe,
                                .add_upload = add_upload,
                                .delete_upload = delete_upload};
}
