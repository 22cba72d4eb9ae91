/* POST /v1/jobs. What is wrong with the text, with single values and with their combination is
 * told in one answer, as far as the combination can be looked at. */
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/spec_json.h"
#include "base/cleanup.h"
#include "facts.h"
#include "jobs.h"
#include "routes.h"
#include "submit.h"

#define KEY_MAX 255

/* Whether one of two pointers is the other or a place within it. */
static bool related(const char *a, const char *b)
{
    size_t n = strlen(a) < strlen(b) ? strlen(a) : strlen(b);

    return strncmp(a, b, n) == 0 && (a[n] == '\0' || a[n] == '/') && (b[n] == '\0' || b[n] == '/');
}

void submit_add_problem(void *to, const char *pointer, const char *message)
{
    struct submit_problems *combination = to;
    struct spec_problems *problems = combination->problems;
    struct spec_problem *problem;

    for (int i = 0; i < combination->n_values; i++)
        if (related(problems->item[i].pointer, pointer))
            return;
    if (problems->n == SPEC_PROBLEMS_MAX) {
        problems->more++;
        return;
    }
    problem = &problems->item[problems->n++];
    snprintf(problem->pointer, sizeof problem->pointer, "%s", pointer);
    snprintf(problem->message, sizeof problem->message, "%s", message);
}

bool submit_check_key(struct request *request, struct reply *reply)
{
    const char *key = request->idempotency_key;
    size_t n = key ? strlen(key) : 1;

    for (size_t i = 0; key && i < n; i++)
        if (key[i] < 0x20 || key[i] == 0x7f)
            n = 0;
    if (n >= 1 && n <= KEY_MAX)
        return true;
    reply_error(reply, "header", "Idempotency-Key", "must be 1 to %d printable ASCII characters",
                KEY_MAX);
    problem_set(reply, 422, "invalid", "the Idempotency-Key is not valid");
    return false;
}

void submit_tell_problems(struct reply *reply, const char *thing)
{
    const struct spec_problems *problems = reply->problems;

    if (problems->n)
        problem_set(reply, 422, "invalid", "%d thing%s about this %s %s wrong",
                    problems->n + problems->more, problems->n > 1 ? "s" : "", thing,
                    problems->n > 1 ? "are" : "is");
}

bool body_parse(struct request *request, struct reply *reply, const struct spec_object *spec,
                void *out)
{
    struct err err = {0};
    int rc;

    reply->problems = calloc(1, sizeof *reply->problems);
    if (!reply->problems) {
        problem_set(reply, 503, "no_memory", "out of memory");
        return false;
    }
    rc = spec_json_parse(spec, request->body.data ? request->body.data : "", request->body.length,
                         out, reply->problems, &err);
    if (rc == 0 || reply->problems->n > 0)
        return true;
    problem_set(reply, rc == ERR_INVALID ? 400 : 503, "json", "%s", err.message);
    return false;
}

/* Whether each thing of the job is of a known kind; else there is nothing to look at. */
static bool kinds_are_known(const struct spec_object *spec, const struct spec_problems *problems)
{
    char place[sizeof problems->item[0].pointer], kind[sizeof place + 5];

    for (int i = 0; i < problems->n; i++) {
        const char *pointer = problems->item[i].pointer;

        if (*pointer == '\0')
            return false;
        for (int f = 0; f < spec->n_fields; f++) {
            snprintf(place, sizeof place, "/%s", spec->fields[f].name);
            snprintf(kind, sizeof kind, "%s/kind", place);
            if (spec->fields[f].type == SPEC_VARIANT &&
                (strcmp(pointer, place) == 0 || strcmp(pointer, kind) == 0))
                return false;
        }
    }
    return true;
}

void submit_check_job(const struct api *api, const void *job, struct spec_problems *problems)
{
    struct submit_problems combination = {problems, problems->n};
    struct problems found = {.tell = submit_add_problem, .to = &combination};

    if (kinds_are_known(api->service->job_spec, problems))
        api->service->check(api->service->context, job, &found);
}

void submit_check_silent(const struct api *api, const void *job, bool plain_too,
                         struct spec_problems *problems)
{
    struct submit_problems combination = {problems, problems->n};
    struct problems found = {.tell = submit_add_problem, .to = &combination};

    if (api->service->check_silent && kinds_are_known(api->service->job_spec, problems))
        api->service->check_silent(api->service->context, job, plain_too, &found);
}

/* False: the reply says what is wrong. */
static bool read_job(struct request *request, struct reply *reply, void *job)
{
    if (!body_parse(request, reply, request->api->service->job_spec, job))
        return false;
    submit_check_job(request->api, job, reply->problems);
    submit_check_silent(request->api, job, false, reply->problems);
    submit_tell_problems(reply, "job");
    return reply->problems->n == 0;
}

void submit_fingerprint(const char *spec, char out[65])
{
    struct sha256_ctx hash;
    uint8_t digest[SHA256_DIGEST_SIZE];

    sha256_init(&hash);
    sha256_update(&hash, strlen(spec), (const uint8_t *)spec);
    sha256_digest(&hash, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

int submit_known(const struct request *request, struct db_key *key, int64_t *id, bool *known,
                 struct err *err)
{
    struct db_reader *reader;
    int64_t found;
    int rc;

    *known = false;
    key->key = request->idempotency_key;
    if (!key->key)
        return 0;
    rc = readers_take(request->api->readers, &reader, err);
    if (rc)
        return rc;
    rc = db_key_known(reader, key, &found, err);
    readers_give(request->api->readers, reader);
    if (!rc && found) {
        *known = true;
        *id = found;
    }
    return rc;
}

int submit_prepare_job(const struct api *api, void *job, struct spec_problems *problems,
                       struct err *err)
{
    const struct api_service *service = api->service;
    struct submit_problems combination = {problems, problems->n};
    struct problems found = {.tell = submit_add_problem, .to = &combination};

    if (!service->prepare)
        return 0;
    return service->prepare(service->context, job, &found, err);
}

/* The job with all that the service fills in, and its JSON anew. What is wrong is told in the
 * reply.
 */
static int prepare(struct request *request, struct reply *reply, void *job, char **spec,
                   struct err *err)
{
    int rc = submit_prepare_job(request->api, job, reply->problems, err);

    if (rc)
        return rc;
    submit_tell_problems(reply, "job");
    if (reply->problems->n)
        return 0;
    free(*spec);
    *spec = NULL;
    return spec_json_write(request->api->service->job_spec, job, spec, err);
}

/* What a job begins with, the newest checkpoint of another one, may be replaced between the look at
 * it and the submission: then both are done again with the job as it was asked for. */
static int submit(struct request *request, struct reply *reply, struct api_submission *submission,
                  bool *existing, struct err *err)
{
    const struct api_service *service = request->api->service;
    cleanup_free void *job = malloc(service->job_bytes);
    cleanup_free char *spec = NULL;
    int rc = ERR_CONFLICT;

    if (!job)
        return err_no_memory(err);
    for (int tries = 0; tries < SUBMIT_TRIES && rc == ERR_CONFLICT; tries++) {
        memcpy(job, submission->job, service->job_bytes);
        rc = prepare(request, reply, job, &spec, err);
        if (!rc && reply->problems->n == 0) {
            struct api_submission prepared = *submission;

            prepared.job = job;
            prepared.spec = spec;
            rc = service->submit(service->context, &prepared, &request->id, existing, err);
        }
    }
    return rc;
}

int submit_looking(struct request *request, struct reply *reply,
                   int (*handler)(struct request *, struct reply *, struct err *), struct err *err)
{
    const struct api_service *service = request->api->service;
    int rc;

    if (service->look_begin)
        service->look_begin(service->context);
    rc = handler(request, reply, err);
    if (service->look_begin)
        service->look_end(service->context);
    return rc;
}

static int post(struct request *request, struct reply *reply, struct err *err)
{
    const struct api_service *service = request->api->service;
    cleanup_free void *job = calloc(1, service->job_bytes);
    cleanup_free char *spec = NULL;
    struct api_submission submission = {.job = job, .idempotency_key = request->idempotency_key};
    struct api_facts facts;
    char digest[65];
    bool existing = false;
    struct db_key key = {.of = DB_KEY_JOB, .fingerprint = digest};
    int rc;

    if (!job)
        return err_no_memory(err);
    if (!submit_check_key(request, reply) || !read_job(request, reply, job))
        return 0;
    rc = spec_json_write(service->job_spec, job, &spec, err);
    if (rc)
        return rc;
    submit_fingerprint(spec,
                       digest); /* of what was asked: what is filled in may differ the next time */
    submission.fingerprint = request->idempotency_key ? digest : NULL;
    rc = submit_known(request, &key, &request->id, &existing, err);
    if (!rc && !existing)
        rc = submit(request, reply, &submission, &existing, err);
    if (reply->problems->n)
        return 0;
    if (rc)
        return rc;
    (void)facts_make(request->api, request->id, job, &facts, NULL);
    rc = job_reply(request, reply, err);
    reply->status = existing ? 200 : 201;
    reply_header(reply, "Location", "/v1/jobs/%lld", (long long)request->id);
    return rc;
}

int job_post(struct request *request, struct reply *reply, struct err *err)
{
    return submit_looking(request, reply, post, err);
}
