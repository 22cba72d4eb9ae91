/* A job as JSON: what is known of it, null for what is not known yet. */
#include "job_json.h"

#include "json_write.h"

static void put_optional(struct text *out, const char *key, bool known, double value)
{
    json_key(out, key);
    if (known)
        json_real(out, value);
    else
        json_null(out);
}

static void put_state(struct text *out, const struct db_job *job)
{
    static const char *const wishes[] = {NULL, "pause", "cancel"};

    json_put_int(out, "id", job->id);
    json_put_string(out, "name", job->name);
    json_put_string(out, "state", job_state_name(job->state));
    json_put_string(out, "wish", wishes[job->wish]);
    json_put_string(out, "reason", job->reason);
    json_put_int(out, "priority", job->priority);
}

static void put_sweep(struct text *out, const struct db_job *job)
{
    json_key(out, "sweep");
    if (!job->sweep) {
        json_null(out);
        return;
    }
    json_open(out, '{');
    json_put_int(out, "id", job->sweep);
    json_put_int(out, "point", job->point);
    json_close(out, '}');
}

static void put_progress(struct text *out, const struct api *api, const struct db_job *job)
{
    const struct api_service *service = api->service;
    struct api_live live = {.eta_seconds = -1};

    if (job->state == JOB_RUNNING && !service->live(service->context, job->id, &live))
        live = (struct api_live){.eta_seconds = -1};
    json_put_real(out, "progress",
                  job->updates ? (double)job->updates_done / (double)job->updates : 0);
    json_put_int(out, "updates", (int64_t)job->updates);
    json_put_int(out, "updates_done", (int64_t)job->updates_done);
    put_optional(out, "updates_per_second", live.updates_per_second > 0, live.updates_per_second);
    put_optional(out, "eta_seconds", live.eta_seconds >= 0, live.eta_seconds);
    json_put_time(out, "created_at", job->created_ms);
    json_put_time(out, "started_at", job->started_ms);
    json_put_time(out, "finished_at", job->finished_ms);
    json_put_real(out, "seconds", job->seconds);
    json_put_int(out, "gradient_evaluations", job->gradient_evaluations);
    json_put_int(out, "threads", job->threads);
    json_put_int(out, "starts", job->starts);
}

static void put_results(struct text *out, const struct db_job *job)
{
    put_optional(out, "loss", job->has_loss, job->loss);
    put_optional(out, "perturbed_loss", job->has_perturbed, job->perturbed_loss);
    json_put_int(out, "epoch", job->epoch);
    put_optional(out, "train_loss", job->epoch > 0, job->train_loss);
    put_optional(out, "train_top1", job->epoch > 0, job->train_top1);
    put_optional(out, "test_loss", job->has_test, job->test_loss);
    put_optional(out, "test_top1", job->has_test, job->test_top1);
    put_optional(out, "test_top5", job->has_test, job->test_top5);
    put_optional(out, "best_top1", job->has_test, job->best_top1);
    json_key(out, "best_epoch");
    if (job->has_test)
        json_int(out, job->best_epoch);
    else
        json_null(out);
    json_key(out, "checkpoint_update");
    if (job->checkpoint_update)
        json_int(out, (int64_t)job->checkpoint_update);
    else
        json_null(out);
    json_put_int(out, "parameters", job->parameters);
}

/* 0: not known, or none. */
static void put_bytes(struct text *out, const char *key, int64_t bytes)
{
    if (bytes)
        json_put_int(out, key, bytes);
    else
        json_put_null(out, key);
}

/* What the job was forecast to take, and what its runs took. */
static void put_estimate(struct text *out, const struct db_estimate *estimate)
{
    bool timed = estimate->update_seconds > 0;
    const char *basis = estimate->earlier ? "an earlier run" : "timed";

    json_key(out, "estimate");
    json_open(out, '{');
    json_put_int(out, "memory_bytes", estimate->bytes);
    put_bytes(out, "device_memory_bytes", estimate->device_bytes);
    put_optional(out, "seconds_per_update", timed, estimate->update_seconds);
    put_optional(out, "evaluation_seconds", estimate->evaluation_seconds > 0,
                 estimate->evaluation_seconds);
    put_optional(out, "seconds", estimate->run_seconds > 0, estimate->run_seconds);
    json_put_string(out, "basis", timed ? basis : NULL);
    json_close(out, '}');
}

static void put_measured(struct text *out, const struct db_job *job)
{
    double updates = (double)job->updates_done;

    json_key(out, "measured");
    json_open(out, '{');
    json_put_string(out, "device", job->taken.device[0] ? job->taken.device : NULL);
    json_put_string(out, "precision", job->taken.precision[0] ? job->taken.precision : NULL);
    put_bytes(out, "memory_bytes", job->taken.bytes);
    put_bytes(out, "device_memory_bytes", job->taken.device_bytes);
    put_optional(out, "seconds_per_update", updates > 0, updates > 0 ? job->seconds / updates : 0);
    json_close(out, '}');
}

static void put_facts(struct text *out, const struct api_facts *facts)
{
    json_key(out, "facts");
    json_open(out, '{');
    json_put_int(out, "parameters", facts->parameters);
    json_put_int(out, "train_samples", facts->train_samples);
    json_put_int(out, "test_samples", facts->test_samples);
    json_put_int(out, "classes", facts->classes);
    json_put_int(out, "updates_per_epoch", facts->updates_per_epoch);
    json_put_int(out, "updates", facts->updates);
    json_put_int(out, "gradients_per_update", facts->gradients_per_update);
    json_put_string(out, "device", facts->device);
    json_put_string(out, "precision", facts->precision);
    json_close(out, '}');
}

static void put_links(struct text *out, int64_t id)
{
    static const char *const names[] = {"losses",   "epochs",      "telemetry", "events",
                                        "messages", "checkpoints", "probes"};

    json_key(out, "links");
    json_open(out, '{');
    json_key(out, "self");
    text_append(out, "\"/v1/jobs/%lld\"", (long long)id);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        json_key(out, names[i]);
        text_append(out, "\"/v1/jobs/%lld/%s\"", (long long)id, names[i]);
    }
    json_close(out, '}');
}

void job_json_write(struct text *out, const struct api *api, const struct db_job *job,
                    const struct api_facts *facts)
{
    json_open(out, '{');
    put_state(out, job);
    put_sweep(out, job);
    put_progress(out, api, job);
    put_results(out, job);
    if (job->estimate.bytes)
        put_estimate(out, &job->estimate);
    put_measured(out, job);
    if (facts)
        put_facts(out, facts);
    json_key(out, "spec");
    json_raw(out, job->spec);
    put_links(out, job->id);
    json_close(out, '}');
}

void job_counts_json(struct text *out, const int64_t counts[JOB_STATES])
{
    json_open(out, '{');
    for (int state = 0; state < JOB_STATES; state++)
        json_put_int(out, job_state_name((enum job_state)state), counts[state]);
    json_close(out, '}');
}
