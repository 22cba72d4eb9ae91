/* POST /v1/sweeps: every point's job is made and checked as one of POST /v1/jobs is, before
 * anything is stored. What is wrong is told with a pointer into the request and the point that it
 * is of. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "db/sweep.h"
#include "json_scan.h"
#include "json_tree.h"
#include "json_write.h"
#include "routes.h"
#include "spec_tree.h"
#include "submit.h"
#include "sweep_points.h"
#include "sweeps.h"

struct said {
    char name[201];
    int64_t max_running;
};

static const struct spec_field said_fields[] = {
    {.name = "name", .type = SPEC_STRING, .offset = offsetof(struct said, name), .max_length = 200},
    {.name = "max_running",
     .type = SPEC_INT,
     .offset = offsetof(struct said, max_running),
     .min = 0,
     .max = DB_SWEEP_JOBS_MAX},
};
static const struct spec_object said_spec = {
    .name = "sweep", .fields = said_fields, .n_fields = ARRAY_LENGTH(said_fields)};

/* A request under way. */
struct post {
    struct request *request;
    struct reply *reply;
    struct said said;
    cJSON *body, *job, *grid_json; /* owned */
    struct sweep_grid grid;
    char *spec; /* the base job and the grid */
    char digest[65];
};

static void post_clear(struct post *post)
{
    cJSON_Delete(post->body);
    cJSON_Delete(post->job);
    cJSON_Delete(post->grid_json);
    free(post->spec);
}

static void add_problem(struct spec_problems *to, const char *pointer, const char *message)
{
    struct submit_problems problems = {.problems = to};

    submit_add_problem(&problems, pointer, message);
}

static void add_grid_problem(void *to, const char *pointer, const char *message)
{
    char whole[sizeof((struct spec_problem *)NULL)->pointer];

    snprintf(whole, sizeof whole, "/grid%s", pointer);
    add_problem(to, whole, message);
}

/* False: there are problems, and the reply tells them. */
static bool is_good(const struct post *post)
{
    submit_tell_problems(post->reply, "sweep");
    return post->reply->problems->n == 0;
}

/* What the sweep is said to be, but for the base job and the grid. */
static void read_said(struct post *post)
{
    struct spec_problems *problems = post->reply->problems;
    struct problems of_grid = {.tell = add_grid_problem, .to = problems};

    if (cJSON_IsObject(post->body)) {
        post->job = cJSON_DetachItemFromObjectCaseSensitive(post->body, "job");
        post->grid_json = cJSON_DetachItemFromObjectCaseSensitive(post->body, "grid");
    }
    spec_tree_parse(&said_spec, post->body, &post->said, problems);
    if (!cJSON_IsObject(post->body))
        return;
    if (!cJSON_IsObject(post->job))
        add_problem(problems, "/job", post->job ? "must be an object" : "is missing");
    if (!post->grid_json)
        add_problem(problems, "/grid", "is missing");
    else
        sweep_grid_read(post->grid_json, &post->grid, &of_grid);
}

/* Before points are set in the base job. */
static int keep_spec(struct post *post, struct err *err)
{
    struct text out = {0};

    json_open(&out, '{');
    json_key(&out, "job");
    json_tree(&out, post->job);
    json_key(&out, "grid");
    json_tree(&out, post->grid_json);
    json_close(&out, '}');
    post->spec = text_take(&out);
    return post->spec ? 0 : err_no_memory(err);
}

/* 0, and the reply says if something is wrong. */
static int read_body(struct post *post, struct err *err)
{
    struct request *request = post->request;
    const char *json = request->body.data ? request->body.data : "";
    struct err wrong = {0};

    post->reply->problems = calloc(1, sizeof *post->reply->problems);
    if (!post->reply->problems)
        return err_no_memory(err);
    if (json_scan(json, request->body.length, &wrong)) {
        problem_set(post->reply, 400, "json", "%s", wrong.message);
        return 0;
    }
    post->body = cJSON_ParseWithLength(json, request->body.length);
    if (!post->body)
        return err_no_memory(err);
    read_said(post);
    return is_good(post) ? keep_spec(post, err) : 0;
}

/* Of what was asked: what is filled in may differ the next time. */
static int make_digest(struct post *post, const struct sweep_points *points, struct err *err)
{
    struct text all = {0};

    text_append(&all, "%lld %s\n", (long long)post->said.max_running, post->said.name);
    for (int i = 0; i < post->grid.n_axes; i++)
        text_append(&all, "%d %s\n", post->grid.axis[i].n, post->grid.axis[i].pointer);
    for (int i = 0; i < points->n; i++)
        text_append(&all, "%s\n", points->digests[i]);
    if (!all.failed)
        submit_fingerprint(all.data, post->digest);
    text_free(&all);
    return *post->digest ? 0 : err_no_memory(err);
}

/* What a job begins with may be replaced between the look at it and the submission: then both are
 * done again. */
static int submit(struct post *post, struct sweep_points *points, bool *existing, struct err *err)
{
    struct request *request = post->request;
    const struct api_service *service = request->api->service;
    const struct api_sweep sweep = {.name = post->said.name,
                                    .spec = post->spec,
                                    .max_running = post->said.max_running,
                                    .idempotency_key = request->idempotency_key,
                                    .fingerprint = request->idempotency_key ? post->digest : NULL,
                                    .n = points->n,
                                    .jobs = points->submissions};
    int rc = ERR_CONFLICT;

    for (int tries = 0; tries < SUBMIT_TRIES && rc == ERR_CONFLICT; tries++) {
        rc = sweep_points_prepare(points, post->reply->problems, err);
        if (!rc && post->reply->problems->n == 0)
            rc = service->submit_sweep(service->context, &sweep, &request->id, existing, err);
    }
    return rc;
}

/* With a grid that is good. */
static int post_points(struct post *post, struct err *err)
{
    struct request *request = post->request;
    struct reply *reply = post->reply;
    struct sweep_points points;
    struct db_key key = {.of = DB_KEY_SWEEP, .fingerprint = post->digest};
    bool existing = false;
    int rc = sweep_points_open(&points, request->api, &post->grid, post->job, err);

    if (rc)
        return rc;
    rc = sweep_points_make(&points, reply->problems, err);
    if (!rc && is_good(post)) {
        rc = make_digest(post, &points, err);
        sweep_points_name(&points, post->said.name);
        if (!rc)
            rc = submit_known(request, &key, &request->id, &existing, err);
        if (!rc && !existing)
            rc = submit(post, &points, &existing, err);
        if (!rc && is_good(post)) {
            rc = sweep_reply(request, reply, err);
            reply->status = existing ? 200 : 201;
            reply_header(reply, "Location", "/v1/sweeps/%lld", (long long)request->id);
        }
    }
    sweep_points_close(&points);
    return rc;
}

static int post_sweep(struct request *request, struct reply *reply, struct err *err)
{
    struct post post = {.request = request, .reply = reply};
    int rc;

    if (!submit_check_key(request, reply))
        return 0;
    rc = read_body(&post, err);
    if (!rc && post.spec)
        rc = post_points(&post, err);
    post_clear(&post);
    return rc;
}

int sweep_post(struct request *request, struct reply *reply, struct err *err)
{
    return submit_looking(request, reply, post_sweep, err);
}
