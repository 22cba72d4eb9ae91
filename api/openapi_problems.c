/* Which problems each route may answer with. A test walks the routes with a real daemon and holds
 * each status that it meets against this. */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "http.h"
#include "json_write.h"
#include "openapi.h"

/* What of a route makes a problem possible. */
enum cause {
    CAUSE_ANY = 1,
    CAUSE_TOKEN = 2, /* it needs the token, where there is one */
    CAUSE_POST = 4,  /* it takes a body, and a browser from elsewhere may not send it */
    CAUSE_ONE = 8,   /* it is about one job, sweep or upload */
    CAUSE_DATABASE = 16,
    CAUSE_WRITES = 32, /* it changes something */
    CAUSE_SUBMITS = 64,
    CAUSE_FILE = 128,   /* conditions and ranges */
    CAUSE_ACCEPT = 256, /* its type can be refused */
};

static const struct {
    int status;
    unsigned causes;
    const char *doc;
} problems[] = {
    {400, CAUSE_ANY, "The target or the headers are not valid, or the body is no JSON."},
    {401, CAUSE_TOKEN, "A token is needed."},
    {403, CAUSE_ANY, "A browser sends this from another site's page."},
    {404, CAUSE_ONE, "There is no such job, probe, sweep or upload, or not this of it."},
    {406, CAUSE_ACCEPT, "It is not there as any of the types that Accept names."},
    {408, CAUSE_ANY, "The request did not arrive in time."},
    {409, CAUSE_WRITES,
     "Not possible in the job's present state, the Idempotency-Key came with another job before, "
     "or what the job begins with has just gone; an upload that a job is to begin with; a probe of "
     "a job without a checkpoint, or one that has ended."},
    {412, CAUSE_FILE, "If-Match names another file."},
    {413, CAUSE_POST, "The body is too long."},
    {414, CAUSE_ANY, "The target is too long."},
    {415, CAUSE_POST, "The body is of another type."},
    {416, CAUSE_FILE, "The range lies outside the file."},
    {421, CAUSE_ANY, "Without a token only the loopback is served, by its names."},
    {422, CAUSE_ANY, "Parameters or members are wrong: `errors` names each."},
    {429, CAUSE_SUBMITS, "As many jobs or probes wait as may."},
    {431, CAUSE_ANY, "The headers are too long."},
    {500, CAUSE_DATABASE, "The database is damaged or cannot be read."},
    {503, CAUSE_ANY, "Not at the moment: too much waits, or the disk is not to be had."},
    {507, CAUSE_WRITES, "The disk is full: nothing was changed."},
};

static unsigned causes_of(const struct route *route)
{
    bool post = strcmp(route->method, "POST") == 0, job = strstr(route->pattern, "{id}");
    bool form = route->flags & ROUTE_FORM_BODY, deletes = strcmp(route->method, "DELETE") == 0;
    bool uploads = strstr(route->pattern, "/uploads"), sweeps = strstr(route->pattern, "/sweeps");
    unsigned causes = CAUSE_ANY;

    causes |= route->flags & ROUTE_OPEN ? 0 : CAUSE_TOKEN;
    causes |= post ? CAUSE_POST : 0;
    causes |= deletes || (post && !form) ? CAUSE_WRITES : 0;
    causes |= form ? 0 : CAUSE_ACCEPT;
    causes |= job ? CAUSE_ONE : 0;
    causes |= route->flags & ROUTE_JSON_BODY ? CAUSE_SUBMITS : 0;
    causes |=
        strstr(route->pattern, "{update}") || strstr(route->pattern, "/vectors") ? CAUSE_FILE : 0;
    causes |= job || uploads || sweeps || strstr(route->pattern, "/jobs") ||
                      strstr(route->pattern, "/metrics") || route->flags & ROUTE_STREAM
                  ? CAUSE_DATABASE
                  : 0;
    return causes;
}

static bool is_answer(const struct route *route, int status)
{
    for (int i = 0; i < route->n_answers; i++)
        if (route->answers[i].status == status)
            return true;
    return false;
}

void openapi_problems(struct text *out, const struct route *route)
{
    unsigned causes = causes_of(route);

    for (size_t i = 0; i < ARRAY_LENGTH(problems); i++) {
        char status[8];

        if (!(problems[i].causes & causes) || is_answer(route, problems[i].status))
            continue;
        snprintf(status, sizeof status, "%d", problems[i].status);
        json_key(out, status);
        text_append(out, "{\"$ref\":\"#/components/responses/Problem%d\"}", problems[i].status);
    }
}

void openapi_problem_answers(struct text *out)
{
    for (size_t i = 0; i < ARRAY_LENGTH(problems); i++) {
        char name[16];

        snprintf(name, sizeof name, "Problem%d", problems[i].status);
        json_key(out, name);
        json_open(out, '{');
        json_put_string(out, "description", problems[i].doc);
        json_key(out, "content");
        json_raw(out, "{\"application/problem+json\":{\"schema\":{\"$ref\":"
                      "\"#/components/schemas/Problem\"}}}");
        json_close(out, '}');
    }
}
