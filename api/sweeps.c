/* Sweeps: the list, one with its table, and what can be done to one. */
#include "sweeps.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "job_json.h"
#include "jobs.h"
#include "json_write.h"
#include "negotiate.h"
#include "routes.h"
#include "sweep_table.h"

/* What its jobs make of it: it runs from the first start of a job until none waits any more. */
static const char *state_of(const struct db_sweep *sweep)
{
    const int64_t *jobs = sweep->jobs;

    if (jobs[JOB_RUNNING] || (jobs[JOB_QUEUED] && sweep->begun))
        return "running";
    if (jobs[JOB_QUEUED])
        return "queued";
    if (jobs[JOB_PAUSED])
        return "paused";
    if (jobs[JOB_FAILED])
        return "failed";
    return jobs[JOB_CANCELLED] ? "cancelled" : "succeeded";
}

static void put_members(struct text *out, const struct db_sweep *sweep)
{
    json_put_int(out, "id", sweep->id);
    json_put_string(out, "name", sweep->name);
    json_put_string(out, "state", state_of(sweep));
    json_put_int(out, "max_running", sweep->max_running);
    json_put_int(out, "points", sweep->points);
    json_key(out, "jobs");
    job_counts_json(out, sweep->jobs);
    json_put_real(out, "progress", sweep->updates > 0 ? sweep->updates_done / sweep->updates : 0);
    json_put_time(out, "created_at", sweep->created_ms);
    json_put_time(out, "finished_at", sweep->finished_ms);
    json_put_real(out, "seconds", sweep->seconds);
    json_put_int(out, "gradient_evaluations", sweep->gradient_evaluations);
    json_key(out, "links");
    json_open(out, '{');
    json_key(out, "self");
    text_append(out, "\"/v1/sweeps/%lld\"", (long long)sweep->id);
    json_key(out, "jobs");
    text_append(out, "\"/v1/jobs?sweep=%lld\"", (long long)sweep->id);
    json_close(out, '}');
}

/* ---- One ---- */

/* The grid that was stored; it was good then. */
static int read_grid(const struct db_sweep *sweep, cJSON **tree, struct sweep_grid *grid,
                     struct err *err)
{
    struct problems ignored = {0};

    *tree = cJSON_Parse(sweep->spec);
    if (!*tree)
        return err_no_memory(err);
    if (sweep_grid_read(cJSON_GetObjectItemCaseSensitive(*tree, "grid"), grid, &ignored) &&
        grid->n_points == sweep->points)
        return 0;
    return err_set(err, ERR_CORRUPT, "the grid of sweep %lld is not what it was made from",
                   (long long)sweep->id);
}

static void put_sweep(struct text *out, const struct db_sweep *sweep,
                      const struct sweep_table *table)
{
    json_open(out, '{');
    put_members(out, sweep);
    json_key(out, "probes");
    json_open(out, '{');
    for (int state = 0; state < PROBE_STATES; state++)
        json_put_int(out, probe_state_name((enum probe_state)state), sweep->probes[state]);
    json_close(out, '}');
    json_key(out, "spec");
    json_raw(out, sweep->spec);
    json_key(out, "rows");
    sweep_table_json(out, table);
    json_close(out, '}');
}

static int put_one(struct request *request, struct text *out, bool csv, struct err *err)
{
    struct db_sweep sweep = {0};
    struct sweep_table *table = NULL;
    struct db_reader *reader;
    struct sweep_grid grid;
    cJSON *tree = NULL;
    int rc = sweep_table_open(&table, request->api->service, err);

    if (rc)
        return rc;
    table->grid = &grid;
    rc = readers_take(request->api->readers, &reader, err);
    if (!rc) {
        rc = db_sweep_read(reader, request->id, &sweep, sweep_table_add, sweep_table_add_probe,
                           table, err);
        readers_give(request->api->readers, reader);
    }
    if (!rc)
        rc = read_grid(&sweep, &tree, &grid, err);
    if (!rc && csv)
        sweep_table_csv(out, table);
    else if (!rc)
        put_sweep(out, &sweep, table);
    cJSON_Delete(tree);
    db_sweep_free(&sweep);
    sweep_table_close(table);
    return rc;
}

int sweep_reply(struct request *request, struct reply *reply, struct err *err)
{
    int rc = put_one(request, &reply->body, false, err);

    text_append(&reply->body, "\n");
    return rc;
}

int sweep_get(struct request *request, struct reply *reply, struct err *err)
{
    static const char *const types[] = {"application/json", "text/csv", NULL};
    const struct query_value *format = &request->value[SWEEP_FORMAT];
    bool csv = format->given ? format->number == 1 : negotiate(request->accept, types) == 1;

    reply_header(reply, "Vary", "Accept");
    if (!csv)
        return sweep_reply(request, reply, err);
    reply->type = "text/csv; charset=utf-8";
    return put_one(request, &reply->body, true, err);
}

/* ---- The list ---- */

/* A page under way. */
struct page {
    struct text *out;
    int n, limit;
    int64_t last;
    bool more;
};

static int add_sweep(void *context, const struct db_sweep *sweep)
{
    struct page *page = context;

    if (page->n == page->limit) {
        page->more = true;
        return 1;
    }
    json_open(page->out, '{');
    put_members(page->out, sweep);
    json_close(page->out, '}');
    page->n++;
    page->last = sweep->id;
    return 0;
}

/* As that of jobs, so that nobody computes with it. */
#define CURSOR_MASK UINT64_C(0x5bee9c0de5a17c0d)

static bool read_cursor(const char *text, int64_t *before)
{
    uint64_t value;
    char end;

    if (strlen(text) != 17 || text[0] != 's' || strspn(text + 1, "0123456789abcdef") != 16 ||
        sscanf(text + 1, "%16" SCNx64 "%c", &value, &end) != 1)
        return false;
    *before = (int64_t)(value ^ CURSOR_MASK);
    return *before > 0;
}

static void put_next(struct reply *reply, const struct page *page)
{
    char url[80];

    json_key(&reply->body, "next");
    if (!page->more) {
        json_null(&reply->body);
        return;
    }
    snprintf(url, sizeof url, "/v1/sweeps?limit=%d&cursor=s%016" PRIx64, page->limit,
             (uint64_t)page->last ^ CURSOR_MASK);
    json_string(&reply->body, url);
    reply_header(reply, "Link", "<%s>; rel=\"next\"", url);
}

int sweep_list(struct request *request, struct reply *reply, struct err *err)
{
    struct page page = {.out = &reply->body};
    struct db_reader *reader;
    int64_t before = 0;
    int rc;

    page.limit = (int)request->value[SWEEPS_LIMIT].number;
    if (request->value[SWEEPS_CURSOR].given &&
        !read_cursor(request->value[SWEEPS_CURSOR].text, &before)) {
        reply_error(reply, "parameter", "cursor", "is not a cursor of this server");
        problem_set(reply, 422, "invalid", "the query is not valid");
        return 0;
    }
    rc = readers_take(request->api->readers, &reader, err);
    if (rc)
        return rc;
    json_open(&reply->body, '{');
    json_key(&reply->body, "sweeps");
    json_open(&reply->body, '[');
    rc = db_sweeps_each(reader, before, page.limit + 1, add_sweep, &page, err);
    readers_give(request->api->readers, reader);
    json_close(&reply->body, ']');
    put_next(reply, &page);
    json_close(&reply->body, '}');
    text_append(&reply->body, "\n");
    return rc;
}

/* ---- Control ---- */

static int ask(const struct request *request, enum api_action action, const char **what,
               struct err *err)
{
    const struct api_service *service = request->api->service;

    return service->control_sweep(service->context, request->id, action, what, err);
}

static const struct controlled the_sweep = {"sweep", ask, sweep_reply};

int sweep_cancel(struct request *request, struct reply *reply, struct err *err)
{
    return control_reply(request, reply, &the_sweep, API_CANCEL, err);
}

int sweep_pause(struct request *request, struct reply *reply, struct err *err)
{
    return control_reply(request, reply, &the_sweep, API_PAUSE, err);
}

int sweep_resume(struct request *request, struct reply *reply, struct err *err)
{
    return control_reply(request, reply, &the_sweep, API_RESUME, err);
}

int sweep_delete(struct request *request, struct reply *reply, struct err *err)
{
    const struct api_service *service = request->api->service;

    reply->status = 204;
    reply->type = NULL; /* there is no body */
    return service->delete_sweep(service->context, request->id, err);
}
