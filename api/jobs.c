/* Jobs: the list, one, and what can be done to one. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/spec_json.h"
#include "base/log.h"
#include "facts.h"
#include "job_json.h"
#include "jobs.h"
#include "json_write.h"
#include "routes.h"

int job_reply(struct request *request, struct reply *reply, struct err *err)
{
    struct api *api = request->api;
    struct api_facts facts;
    struct db_reader *reader;
    struct db_job job;
    struct err ignored;
    bool known = facts_known(api->facts, request->id, &facts);
    int rc = readers_take(api->readers, &reader, err);

    if (rc)
        return rc;
    rc = db_job_get(reader, request->id, &job, err);
    readers_give(api->readers, reader);
    if (rc)
        return rc;
    if (!known && !request->may_wait) {
        request->defer = true;
    } else {
        known = known || facts_of_spec(api, request->id, job.spec, &facts, &ignored) == 0;
        job_json_write(&reply->body, api, &job, known ? &facts : NULL);
        text_append(&reply->body, "\n");
    }
    db_job_free(&job);
    return 0;
}

int job_get(struct request *request, struct reply *reply, struct err *err)
{
    return job_reply(request, reply, err);
}

int job_list_reply(struct request *request, struct reply *reply, const char *key,
                   int (*put)(struct request *request, struct reply *reply,
                              struct db_reader *reader, struct err *err),
                   struct err *err)
{
    struct db_reader *reader;
    struct db_job job;
    int rc = readers_take(request->api->readers, &reader, err);

    if (rc)
        return rc;
    rc = db_job_get(reader, request->id, &job, err);
    if (rc == 0) {
        db_job_free(&job);
        json_open(&reply->body, '{');
        json_key(&reply->body, key);
        json_open(&reply->body, '[');
        rc = put(request, reply, reader, err);
        json_close(&reply->body, ']');
        json_close(&reply->body, '}');
        text_append(&reply->body, "\n");
    }
    readers_give(request->api->readers, reader);
    return rc;
}

/* A page under way. */
struct page {
    const struct api *api;
    struct text *out;
    int n, limit;
    int64_t last;
    bool more;
};

static int add_job(void *context, const struct db_job *job)
{
    struct page *page = context;

    if (page->n == page->limit) {
        page->more = true;
        return 1;
    }
    job_json_write(page->out, page->api, job, NULL);
    page->n++;
    page->last = job->id;
    return 0;
}

/* The cursor is the id that the page ended with, written so that nobody computes with it. */
static bool read_cursor(const char *text, int64_t *before)
{
    uint64_t value;
    char end;

    if (strlen(text) != 17 || text[0] != 'j' || strspn(text + 1, "0123456789abcdef") != 16 ||
        sscanf(text + 1, "%16" SCNx64 "%c", &value, &end) != 1)
        return false;
    value ^= UINT64_C(0x5a17c0de5a17c0de);
    *before = (int64_t)value;
    return *before > 0;
}

static void put_next(struct request *request, struct reply *reply, const struct page *page)
{
    const struct query_value *state = &request->value[LIST_STATE];
    const struct query_value *sweep = &request->value[LIST_SWEEP];
    char url[200], of_sweep[40] = "";

    json_key(&reply->body, "next");
    if (!page->more) {
        json_null(&reply->body);
        return;
    }
    if (sweep->given)
        snprintf(of_sweep, sizeof of_sweep, "&sweep=%lld", (long long)sweep->number);
    snprintf(url, sizeof url, "/v1/jobs?limit=%d&cursor=j%016" PRIx64 "%s%s%s", page->limit,
             (uint64_t)page->last ^ UINT64_C(0x5a17c0de5a17c0de), state->given ? "&state=" : "",
             state->given ? job_state_name((enum job_state)state->number) : "", of_sweep);
    json_string(&reply->body, url);
    reply_header(reply, "Link", "<%s>; rel=\"next\"", url);
}

int job_list(struct request *request, struct reply *reply, struct err *err)
{
    struct api *api = request->api;
    struct db_job_query query = {.state = (int)request->value[LIST_STATE].number,
                                 .sweep = request->value[LIST_SWEEP].number};
    struct page page = {.api = api, .out = &reply->body};
    struct db_reader *reader;
    int64_t counts[JOB_STATES] = {0};
    int rc;

    page.limit = (int)request->value[LIST_LIMIT].number;
    query.limit = page.limit + 1;
    if (request->value[LIST_CURSOR].given &&
        !read_cursor(request->value[LIST_CURSOR].text, &query.before)) {
        reply_error(reply, "parameter", "cursor", "is not a cursor of this server");
        problem_set(reply, 422, "invalid", "the query is not valid");
        return 0;
    }
    rc = readers_take(api->readers, &reader, err);
    if (rc)
        return rc;
    json_open(&reply->body, '{');
    json_key(&reply->body, "jobs");
    json_open(&reply->body, '[');
    rc = db_jobs_each(reader, &query, add_job, &page, err);
    if (!rc)
        rc = db_jobs_count(reader, counts, err);
    readers_give(api->readers, reader);
    json_close(&reply->body, ']');
    json_key(&reply->body, "counts");
    job_counts_json(&reply->body, counts);
    put_next(request, reply, &page);
    json_close(&reply->body, '}');
    text_append(&reply->body, "\n");
    return rc;
}

/* False: it is not, and the reply says so. */
static bool body_is_empty(struct request *request, struct reply *reply)
{
    static const struct spec_object nothing = {.name = "control"};
    char none;

    if (request->body.length == 0)
        return true;
    if (!body_parse(request, reply, &nothing, &none))
        return false;
    if (reply->problems->n == 0)
        return true;
    problem_set(reply, 422, "invalid", "nothing is taken in the body here");
    return false;
}

int control_reply(struct request *request, struct reply *reply, const struct controlled *of,
                  enum api_action action, struct err *err)
{
    const char *what = NULL;
    int rc;

    if (!body_is_empty(request, reply))
        return 0;
    rc = of->ask(request, action, &what, err);
    if (rc)
        return rc;
    json_open(&reply->body, '{');
    json_put_string(&reply->body, "result", what);
    json_key(&reply->body, of->key);
    rc = of->show(request, reply, err);
    json_close(&reply->body, '}');
    return rc;
}

static int ask(const struct request *request, enum api_action action, const char **what,
               struct err *err)
{
    const struct api_service *service = request->api->service;

    return service->control(service->context, request->id, action, what, err);
}

static const struct controlled the_job = {"job", ask, job_reply};

int job_cancel(struct request *request, struct reply *reply, struct err *err)
{
    return control_reply(request, reply, &the_job, API_CANCEL, err);
}

int job_pause(struct request *request, struct reply *reply, struct err *err)
{
    return control_reply(request, reply, &the_job, API_PAUSE, err);
}

int job_resume(struct request *request, struct reply *reply, struct err *err)
{
    return control_reply(request, reply, &the_job, API_RESUME, err);
}

int job_delete(struct request *request, struct reply *reply, struct err *err)
{
    const struct api_service *service = request->api->service;

    reply->status = 204;
    reply->type = NULL; /* there is no body */
    return service->delete_job(service->context, request->id, err);
}
