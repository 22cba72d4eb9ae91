/* The HTTP API under /v1 and the dashboard's files. Only reads through `db/`; changes everything
 * through the callbacks of `struct api_service`, so that it knows neither the queue nor the engine.
 *
 * Every refusal is application/problem+json, but for what libmicrohttpd 0.9.75 refuses before it
 * calls us: a broken first line, header line, chunk or Content-Length, HTTP/1.1 without Host (400),
 * lengths beyond 64 bits (413), more than 64 KiB of target and headers (414, 431), other versions
 * of HTTP (505). It answers those with a short page of HTML of its own, which it lets nobody
 * replace, and closes the connection. */
#ifndef API_API_H
#define API_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/device.h"
#include "base/err.h"
#include "base/probe.h"
#include "base/problems.h"
#include "base/spec.h"
#include "db/db.h"

struct api;

enum api_action { API_CANCEL, API_PAUSE, API_RESUME };

struct api_submission {
    const void *job;  /* the parsed struct, of job_bytes */
    const char *spec; /* the same as normalised JSON, every default filled in */
    const char *idempotency_key, *fingerprint; /* NULL: none */
};

struct api_sweep {
    const char *name, *spec;                   /* spec: the base job and the grid, as JSON */
    int64_t max_running;                       /* 0: any number */
    const char *idempotency_key, *fingerprint; /* NULL: none */
    int n;
    const struct api_submission *jobs; /* in the order of points */
};

struct api_probe_submission {
    int64_t job;
    const void *probe;   /* the parsed struct, of probe_bytes */
    const char *request; /* the same as normalised JSON, every default filled in */
    const char *idempotency_key, *fingerprint; /* NULL: none */
};

/* A running job at this moment. */
struct api_live {
    double updates_per_second; /* 0: not known yet */
    double eta_seconds;        /* negative: not known yet */
};

struct api_device {
    const char *name, *doc, *description;
    int cores;
    int64_t memory_bytes;
    const char *const *precisions; /* NULL-terminated */
    const char *uuid;              /* GPUs; NULL */
};

/* What can be said of a job without running it; shown with the job. */
struct api_facts {
    int64_t train_samples, test_samples, updates_per_epoch, updates, parameters;
    int gradients_per_update, classes;
    const char *device, *precision;
};

struct api_service {
    void *context;
    const struct spec_object *job_spec; /* describes a job; has members model, dataset, method, … */
    size_t job_bytes;
    /* Adds to *problems each combination of values that makes no sense. */
    void (*check)(void *context, const void *job, struct problems *problems);
    /* Adds each setting that says nothing because of another one, if it is set or, with
     * `plain_too`, whatever it is. May be NULL. */
    void (*check_silent)(void *context, const void *job, bool plain_too, struct problems *problems);
    /* After a check that found nothing: fills in what only the service knows (the newest
     * checkpoint, say), and adds what is named and not there. May be NULL. */
    int (*prepare)(void *context, void *job, struct problems *problems, struct err *err);
    int (*facts)(void *context, const void *job, struct api_facts *out, struct err *err);
    int (*submit)(void *context, const struct api_submission *submission, int64_t *id,
                  bool *existing, struct err *err);
    /* *what: static text of what happened, "cancelled", "pausing", "queued", … */
    int (*control)(void *context, int64_t id, enum api_action action, const char **what,
                   struct err *err);
    /* Between these two calls the thread asks about what one request submits, a job, a sweep or a
     * probe, so that what takes long to look at can be looked at once. Both may be NULL. */
    void (*look_begin)(void *context);
    void (*look_end)(void *context);
    /* The sweep and all of its jobs, or nothing. */
    int (*submit_sweep)(void *context, const struct api_sweep *sweep, int64_t *id, bool *existing,
                        struct err *err);
    /* Does it to each of the sweep's jobs that allow it; ERR_CONFLICT when none does. */
    int (*control_sweep)(void *context, int64_t id, enum api_action action, const char **what,
                         struct err *err);
    /* A job that has ended, or a sweep whose jobs have, and all that was recorded; ERR_CONFLICT
     * when it has not, or when somebody needs it. */
    int (*delete_job)(void *context, int64_t id, struct err *err);
    int (*delete_sweep)(void *context, int64_t id, struct err *err);
    /* False if the job is not running. */
    bool (*live)(void *context, int64_t id, struct api_live *out);
    int n_devices;
    const struct api_device *devices;
    /* Of devices[i], which is a GPU; false if it is not known. */
    bool (*device_load)(void *context, int i, struct device_load *out);
    void (*device_health)(void *context, int i, struct device_health *out);
    int workers;

    const struct spec_field *probe_spec; /* a VARIANT: describes what a probe can be asked to do */
    size_t probe_bytes;
    /* The tables that a kind of probe (its place in probe_spec->kinds) fills; table 0 is the
     * summary. Static. */
    const struct probe_table *(*probe_tables)(int kind, int *n);
    /* For a job that is there: fills in what only the service knows and adds what makes no sense or
     * is not there. ERR_CONFLICT: the job has no checkpoint. */
    int (*prepare_probe)(void *context, int64_t job, void *probe, struct problems *problems,
                         struct err *err);
    int (*submit_probe)(void *context, const struct api_probe_submission *submission,
                        int64_t *number, bool *existing, struct err *err);
    int (*cancel_probe)(void *context, int64_t job, int64_t number, const char **what,
                        struct err *err);

    /* As db_upload_add and db_upload_delete. */
    int (*add_upload)(void *context, const struct db_upload *upload,
                      const struct checkpoint *tensors, int64_t *id, bool *existing,
                      struct err *err);
    int (*delete_upload)(void *context, int64_t id, struct err *err);
};

struct api_asset {
    const char *path; /* "/", "/app.js", … */
    const char *type; /* "text/html; charset=utf-8" */
    const void *bytes;
    size_t n;
};

struct api_options {
    const char *address;         /* numeric, "127.0.0.1", "::1", "0.0.0.0" */
    int port;                    /* 0: a free one */
    const char *token;           /* NULL: none; required for any address but the loopback */
    size_t body_bytes;           /* most of a request's body; 0: 1 MiB */
    size_t upload_bytes;         /* most of an uploaded file; 0: 512 MiB */
    int connections;             /* at most; 0: 256 */
    int connections_per_address; /* 0: 64; on the loopback as many as there may be */
    int event_streams;   /* at most; 0: 128, or half of the connections if those are fewer */
    int idle_seconds;    /* a connection without a byte either way; 0: 30 */
    int request_seconds; /* a whole request's arrival, or how far a file may fall behind 64 KiB/s;
                          * 0: 30 */
    int beat_seconds;    /* between a silent stream's signs of life; 0: 15 */
    const struct api_asset *assets;
    int n_assets;
};

/* Listens at once. ERR_INVALID (address without token, …), ERR_IO (address in use, …). */
int api_open(struct api **out, const struct api_options *options, const struct api_service *service,
             struct db *db, struct err *err);
int api_port(const struct api *api);
/* Ends event streams, finishes requests under way (for some seconds at most; then what would wait
 * for a disk is answered 503), stops listening. */
void api_close(struct api *api);

#endif
