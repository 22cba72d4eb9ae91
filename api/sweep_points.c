#include "sweep_points.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spec_tree.h"
#include "spec_value.h"
#include "submit.h"

int sweep_points_open(struct sweep_points *out, const struct api *api,
                      const struct sweep_grid *grid, cJSON *base, struct err *err)
{
    size_t n = (size_t)grid->n_points;

    *out = (struct sweep_points){.api = api, .grid = grid, .base = base, .n = grid->n_points};
    out->asked = calloc(n, api->service->job_bytes);
    out->jobs = calloc(n, api->service->job_bytes);
    out->specs = calloc(n, sizeof *out->specs);
    out->digests = calloc(n, sizeof *out->digests);
    out->submissions = calloc(n, sizeof *out->submissions);
    out->found = calloc(1, sizeof *out->found);
    out->off = calloc(1, sizeof *out->off);
    out->silent = calloc(1, sizeof *out->silent);
    if (out->asked && out->jobs && out->specs && out->digests && out->submissions && out->found &&
        out->off && out->silent)
        return 0;
    sweep_points_close(out);
    return err_no_memory(err);
}

void sweep_points_close(struct sweep_points *points)
{
    for (int i = 0; points->specs && i < points->n; i++)
        free(points->specs[i]);
    free(points->asked);
    free(points->jobs);
    free(points->specs);
    free(points->digests);
    free(points->submissions);
    free(points->found);
    free(points->off);
    free(points->silent);
    *points = (struct sweep_points){0};
}

static void *job_at(const struct sweep_points *points, char *jobs, int i)
{
    return jobs + (size_t)i * points->api->service->job_bytes;
}

/* ---- Problems ---- */

/* What is wrong with the base job is wrong with every point: it is told once, of the first. */
static bool is_told(const struct spec_problems *problems, const char *pointer, const char *message)
{
    for (int i = 0; i < problems->n; i++) {
        const char *told = strstr(problems->item[i].message, ": ");

        if (strcmp(problems->item[i].pointer, pointer) == 0 && told &&
            strncmp(told + 2, message, strlen(told + 2)) == 0)
            return true;
    }
    return false;
}

static void tell(struct sweep_points *points, int point, const char *pointer, const char *message,
                 struct spec_problems *problems)
{
    struct spec_problem problem;

    sweep_grid_blame(points->grid, point, pointer, problem.pointer, sizeof problem.pointer);
    if (is_told(problems, problem.pointer, message))
        return;
    if (problems->n == SPEC_PROBLEMS_MAX) {
        problems->more++;
        return;
    }
    snprintf(problem.message, sizeof problem.message, "point %d: %.230s", point, message);
    problems->item[problems->n++] = problem;
}

static void tell_all(struct sweep_points *points, int point, const struct spec_problems *found,
                     struct spec_problems *problems)
{
    for (int i = 0; i < found->n; i++)
        tell(points, point, found->item[i].pointer, found->item[i].message, problems);
    problems->more += found->more;
}

static bool has_pointer(const struct spec_problems *problems, const char *pointer)
{
    for (int i = 0; i < problems->n; i++)
        if (strcmp(problems->item[i].pointer, pointer) == 0)
            return true;
    return false;
}

/* What says nothing in one point may say something in another one, for which it was set. */
static void note_silent(struct sweep_points *points, int point, const void *job)
{
    struct spec_problems *off = points->off, *silent = points->silent, *found = points->found;
    int n = 0;

    *found = (struct spec_problems){0};
    submit_check_silent(points->api, job, true, found);
    if (point == 1)
        *off = *found;
    for (int i = 0; i < off->n; i++)
        if (has_pointer(found, off->item[i].pointer))
            off->item[n++] = off->item[i];
    off->n = n;
    *found = (struct spec_problems){0};
    submit_check_silent(points->api, job, false, found);
    for (int i = 0; i < found->n; i++)
        if (silent->n < SPEC_PROBLEMS_MAX && !has_pointer(silent, found->item[i].pointer)) {
            points->silent_at[silent->n] = point;
            silent->item[silent->n++] = found->item[i];
        }
}

static void tell_silent(struct sweep_points *points, struct spec_problems *problems)
{
    const struct spec_problems *silent = points->silent;

    for (int i = 0; i < silent->n; i++)
        if (has_pointer(points->off, silent->item[i].pointer))
            tell(points, points->silent_at[i], silent->item[i].pointer, silent->item[i].message,
                 problems);
}

/* ---- Making ---- */

static int make_one(struct sweep_points *points, int point, struct err *err)
{
    const struct spec_object *spec = points->api->service->job_spec;
    void *job = job_at(points, points->asked, point - 1);
    struct spec_problems *found = points->found;
    char *json = NULL;
    int axis = 0, rc = 0;

    *found = (struct spec_problems){0};
    switch (sweep_grid_set(points->grid, point, spec, points->base, &axis)) {
    case SWEEP_NO_MEMORY:
        return err_no_memory(err);
    case SWEEP_NO_PLACE:
        found->n = 1;
        snprintf(found->item[0].pointer, sizeof found->item[0].pointer, "%s",
                 points->grid->axis[axis].pointer);
        snprintf(found->item[0].message, sizeof found->item[0].message,
                 "the pointer leads through something that has no such member");
        return 0;
    case SWEEP_SET:
        break;
    }
    spec_tree_parse(spec, points->base, job, found);
    submit_check_job(points->api, job, found);
    if (found->n == 0)
        rc = spec_json_write(spec, job, &json, err);
    if (json)
        submit_fingerprint(json, points->digests[point - 1]);
    free(json);
    return rc;
}

/* Two points with the same job would be trained twice, and count twice in a mean. */
static void find_equal(struct sweep_points *points, struct spec_problems *problems)
{
    for (int i = 1; i < points->n; i++)
        for (int j = 0; j < i; j++)
            if (memcmp(points->digests[i], points->digests[j], sizeof *points->digests) == 0) {
                struct spec_problem *problem = &problems->item[problems->n++];

                snprintf(problem->pointer, sizeof problem->pointer, "/grid");
                snprintf(problem->message, sizeof problem->message,
                         "points %d and %d are the same job", j + 1, i + 1);
                return;
            }
}

int sweep_points_make(struct sweep_points *points, struct spec_problems *problems, struct err *err)
{
    int rc = 0;

    for (int point = 1; !rc && point <= points->n && problems->n < SPEC_PROBLEMS_MAX; point++) {
        rc = make_one(points, point, err);
        if (rc)
            break;
        tell_all(points, point, points->found, problems);
        note_silent(points, point, job_at(points, points->asked, point - 1));
    }
    if (!rc)
        tell_silent(points, problems);
    if (!rc && problems->n == 0)
        find_equal(points, problems);
    return rc;
}

/* ---- Names ---- */

static bool has_name(const struct sweep_points *points)
{
    return cJSON_GetObjectItemCaseSensitive(points->base, "name"); /* the grid has set its own */
}

void sweep_points_name(struct sweep_points *points, const char *name)
{
    const struct spec_object *spec = points->api->service->job_spec;
    int index = spec_field_find(spec, "name");
    size_t used, size;

    if (index < 0 || spec->fields[index].type != SPEC_STRING || has_name(points))
        return;
    size = spec->fields[index].max_length + 1;
    for (int i = 0; i < points->n; i++) {
        char *out = (char *)job_at(points, points->asked, i) + spec->fields[index].offset;

        used = *name ? (size_t)snprintf(out, size, "%s: ", name) : 0;
        if (used < size)
            sweep_grid_label(points->grid, i + 1, true, out + used, size - used);
    }
}

/* ---- Preparing ---- */

int sweep_points_prepare(struct sweep_points *points, struct spec_problems *problems,
                         struct err *err)
{
    const struct api_service *service = points->api->service;
    int rc = 0;

    memcpy(points->jobs, points->asked, (size_t)points->n * service->job_bytes);
    for (int i = 0; !rc && i < points->n && problems->n < SPEC_PROBLEMS_MAX; i++) {
        void *job = job_at(points, points->jobs, i);

        *points->found = (struct spec_problems){0};
        rc = submit_prepare_job(points->api, job, points->found, err);
        tell_all(points, i + 1, points->found, problems);
        free(points->specs[i]);
        points->specs[i] = NULL;
        if (!rc)
            rc = spec_json_write(service->job_spec, job, &points->specs[i], err);
        points->submissions[i] = (struct api_submission){.job = job, .spec = points->specs[i]};
    }
    return rc;
}
