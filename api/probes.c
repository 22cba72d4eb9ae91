/* Probes: asked for, listed, shown, cancelled. Their tables are in probe_table.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/spec_json.h"
#include "base/cleanup.h"
#include "jobs.h"
#include "json_write.h"
#include "probe_json.h"
#include "routes.h"
#include "submit.h"

/* Appends the probe of request->id and request->number. */
static int probe_reply(struct request *request, struct reply *reply, struct err *err)
{
    struct db_reader *reader;
    struct db_probe probe;
    int rc = readers_take(request->api->readers, &reader, err);

    if (rc)
        return rc;
    rc = db_probe_get(reader, request->id, request->number, &probe, err);
    if (!rc) {
        rc = probe_json_write(&reply->body, request->api, reader, &probe, err);
        text_append(&reply->body, "\n");
        db_probe_free(&probe);
    }
    readers_give(request->api->readers, reader);
    return rc;
}

int probe_get(struct request *request, struct reply *reply, struct err *err)
{
    return probe_reply(request, reply, err);
}

/* ---- Asking for one ---- */

static int check_job(struct request *request, struct err *err)
{
    struct db_reader *reader;
    struct db_job job;
    int rc = readers_take(request->api->readers, &reader, err);

    if (rc)
        return rc;
    rc = db_job_get(reader, request->id, &job, err);
    readers_give(request->api->readers, reader);
    if (!rc)
        db_job_free(&job);
    return rc;
}

/* Adds what is wrong with the combination of values to what is wrong with single ones. */
static void check_rest(struct request *request, struct reply *reply, void *probe)
{
    const struct api_service *service = request->api->service;
    struct submit_problems combination = {reply->problems, reply->problems->n};
    struct problems found = {.tell = submit_add_problem, .to = &combination};
    struct err ignored;

    for (int i = 0; i < reply->problems->n; i++)
        if (!reply->problems->item[i].pointer[0] ||
            strcmp(reply->problems->item[i].pointer, "/kind") == 0)
            return; /* nothing is known to be looked at */
    (void)service->prepare_probe(service->context, request->id, probe, &found, &ignored);
}

/* False: the reply says what is wrong. */
static bool read_probe(struct request *request, struct reply *reply, void *probe)
{
    struct err err = {0};
    int rc;

    reply->problems = calloc(1, sizeof *reply->problems);
    if (!reply->problems) {
        problem_set(reply, 503, "no_memory", "out of memory");
        return false;
    }
    rc = spec_json_parse_variant(request->api->service->probe_spec,
                                 request->body.data ? request->body.data : "", request->body.length,
                                 probe, reply->problems, &err);
    if (rc && reply->problems->n == 0)
        problem_set(reply, rc == ERR_INVALID ? 400 : 503, "json", "%s", err.message);
    else if (rc)
        check_rest(request, reply, probe);
    submit_tell_problems(reply, "probe");
    return rc == 0;
}

/* The probe with all that the service fills in, and its JSON. What is wrong is told in the reply.
 */
static int prepare(struct request *request, struct reply *reply, void *probe, char **json,
                   struct err *err)
{
    const struct api_service *service = request->api->service;
    struct submit_problems combination = {reply->problems, 0};
    struct problems found = {.tell = submit_add_problem, .to = &combination};
    int rc = service->prepare_probe(service->context, request->id, probe, &found, err);

    if (rc)
        return rc;
    submit_tell_problems(reply, "probe");
    free(*json);
    *json = NULL;
    return reply->problems->n ? 0 : spec_json_write_variant(service->probe_spec, probe, json, err);
}

/* The newest checkpoint may be replaced between the look at it and the submission: then both are
 * done again. */
static int submit(struct request *request, struct reply *reply, const void *asked,
                  struct api_probe_submission *submission, bool *existing, struct err *err)
{
    const struct api_service *service = request->api->service;
    cleanup_free void *probe = malloc(service->probe_bytes);
    cleanup_free char *json = NULL;
    int rc = ERR_CONFLICT;

    if (!probe)
        return err_no_memory(err);
    for (int tries = 0; tries < SUBMIT_TRIES && rc == ERR_CONFLICT; tries++) {
        memcpy(probe, asked, service->probe_bytes);
        rc = prepare(request, reply, probe, &json, err);
        if (rc || reply->problems->n)
            return rc;
        submission->probe = probe;
        submission->request = json;
        rc = service->submit_probe(service->context, submission, &request->number, existing, err);
    }
    return rc;
}

static int post(struct request *request, struct reply *reply, struct err *err)
{
    const struct api_service *service = request->api->service;
    cleanup_free void *asked = calloc(1, service->probe_bytes);
    cleanup_free char *json = NULL;
    struct api_probe_submission submission = {.job = request->id,
                                              .idempotency_key = request->idempotency_key};
    char digest[65];
    bool existing = false;
    struct db_key key = {.of = DB_KEY_PROBE, .fingerprint = digest, .job = request->id};
    int rc;

    if (!asked)
        return err_no_memory(err);
    if (!submit_check_key(request, reply))
        return 0;
    rc = check_job(request, err);
    if (rc || !read_probe(request, reply, asked))
        return rc;
    rc = spec_json_write_variant(service->probe_spec, asked, &json, err);
    if (rc)
        return rc;
    submit_fingerprint(json, digest); /* of what was asked */
    submission.fingerprint = request->idempotency_key ? digest : NULL;
    rc = submit_known(request, &key, &request->number, &existing, err);
    if (!rc && !existing)
        rc = submit(request, reply, asked, &submission, &existing, err);
    if (rc || reply->problems->n)
        return rc;
    rc = probe_reply(request, reply, err);
    reply->status = existing ? 200 : 201;
    reply_header(reply, "Location", "/v1/jobs/%lld/probes/%lld", (long long)request->id,
                 (long long)request->number);
    return rc;
}

int probe_post(struct request *request, struct reply *reply, struct err *err)
{
    return submit_looking(request, reply, post, err);
}

/* ---- The list ---- */

struct page {
    const struct api *api;
    struct text *out;
    struct db_reader *reader; /* another one than the list's */
    int n, limit, rc;
    int64_t last;
    bool more;
    struct err *err;
};

static int add_probe(void *context, const struct db_probe *probe)
{
    struct page *page = context;

    if (page->n == page->limit) {
        page->more = true;
        return 1;
    }
    page->rc = probe_json_write(page->out, page->api, page->reader, probe, page->err);
    page->n++;
    page->last = probe->number;
    return page->rc;
}

static void put_next(struct request *request, struct reply *reply, const struct page *page)
{
    const struct query_value *state = &request->value[LIST_STATE];
    char url[160];

    json_key(&reply->body, "next");
    if (!page->more) {
        json_null(&reply->body);
        return;
    }
    snprintf(url, sizeof url, "/v1/jobs/%lld/probes?limit=%d&cursor=p%lld%s%s",
             (long long)request->id, page->limit, (long long)page->last,
             state->given ? "&state=" : "",
             state->given ? probe_state_name((enum probe_state)state->number) : "");
    json_string(&reply->body, url);
    reply_header(reply, "Link", "<%s>; rel=\"next\"", url);
}

static bool read_cursor(const struct query_value *cursor, int64_t *before)
{
    const char *digits;

    *before = 0;
    if (!cursor->given)
        return true;
    digits = cursor->text + (cursor->text[0] == 'p');
    if (digits == cursor->text || strlen(digits) > 18 ||
        strspn(digits, "0123456789") != strlen(digits))
        return false;
    *before = strtoll(digits, NULL, 10);
    return *before > 0;
}

static int list(struct request *request, struct reply *reply, struct page *page,
                struct db_reader *reader, const struct db_probe_query *query, struct err *err)
{
    int rc;

    json_open(&reply->body, '{');
    json_key(&reply->body, "probes");
    json_open(&reply->body, '[');
    rc = db_probes_each(reader, query, add_probe, page, err);
    json_close(&reply->body, ']');
    put_next(request, reply, page);
    json_close(&reply->body, '}');
    text_append(&reply->body, "\n");
    return rc ? rc : page->rc;
}

int probe_list(struct request *request, struct reply *reply, struct err *err)
{
    struct readers *readers = request->api->readers;
    struct db_probe_query query = {.job = request->id,
                                   .state = (int)request->value[LIST_STATE].number};
    struct page page = {.api = request->api, .out = &reply->body, .err = err};
    struct db_reader *reader = NULL;
    int rc = check_job(request, err);

    if (rc)
        return rc;
    page.limit = (int)request->value[LIST_LIMIT].number;
    query.limit = page.limit + 1;
    if (!read_cursor(&request->value[LIST_CURSOR], &query.before)) {
        reply_error(reply, "parameter", "cursor", "is not a cursor of this server");
        problem_set(reply, 422, "invalid", "the query is not valid");
        return 0;
    }
    rc = readers_take(readers, &reader, err);
    if (!rc)
        rc = readers_take(readers, &page.reader, err);
    if (!rc)
        rc = list(request, reply, &page, reader, &query, err);
    readers_give(readers, page.reader);
    readers_give(readers, reader);
    return rc;
}

/* ---- Cancelling ---- */

/* There is no other action. */
static int ask(const struct request *request, enum api_action action, const char **what,
               struct err *err)
{
    const struct api_service *service = request->api->service;

    (void)action;
    return service->cancel_probe(service->context, request->id, request->number, what, err);
}

int probe_cancel(struct request *request, struct reply *reply, struct err *err)
{
    static const struct controlled the_probe = {"probe", ask, probe_reply};

    return control_reply(request, reply, &the_probe, API_CANCEL, err);
}
