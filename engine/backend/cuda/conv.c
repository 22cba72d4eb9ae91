/* Convolutions by cuDNN: which plan, and its run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/libraries_inside.h"

enum { TIMED_MAX = 10 }; /* plans that are compared */

struct convolution {
    struct libraries *libraries;
    struct convolution *next;
    int users;
    char name[PLAN_NAME_MAX];
    struct dnn_plan *plan;
};

/* Keeps the faster of *best and `plan`, and closes the other. A plan that does not run is none;
 * what all of them fail of is told by the last. */
static void keep_faster(struct timing *timing, struct libraries *libraries, struct dnn_plan *plan,
                        struct dnn_plan **best, double *best_ms, struct err *err)
{
    double ms;

    if (!timing_run(timing, libraries, plan, &ms, err) && (!*best || ms < *best_ms)) {
        dnn_plan_close(*best);
        *best = plan;
        *best_ms = ms;
    } else {
        dnn_plan_close(plan);
    }
}

/* Where the device has no room to time them in, the first one is taken, for this time. */
static int find_fastest(struct libraries *libraries, const struct dnn_problem *problem,
                        struct dnn_search *search, struct dnn_plan **out, bool *lasting,
                        struct err *err)
{
    struct timing *timing;
    struct dnn_plan *plan = NULL;
    struct err failure = {0};
    double best_ms = 0;
    int rc = timing_open(&timing, problem, WORKSPACE_MAX, err);

    if (rc == ERR_NO_MEMORY) {
        timing_close(timing);
        *lasting = false;
        return dnn_search_next(search, WORKSPACE_MAX, out, err);
    }
    for (int i = 0; i < TIMED_MAX && !rc; i++) {
        rc = dnn_search_next(search, WORKSPACE_MAX, &plan, err);
        if (rc || !plan)
            break;
        keep_faster(timing, libraries, plan, out, &best_ms, &failure);
    }
    timing_close(timing);
    if (!rc && !*out && failure.code) {
        rc = failure.code;
        if (err)
            *err = failure;
    }
    return rc;
}

static int find_plan(struct libraries *libraries, const struct dnn_problem *problem,
                     const char *name, struct dnn_plan **out, struct err *err)
{
    bool time = libraries->timed && !libraries->counts_only;
    struct dnn_search *search;
    bool lasting = time || !libraries->timed;
    int rc;

    *out = cache_read(libraries, name);
    if (*out)
        return 0;
    rc = dnn_search_open(&search, libraries->properties, problem, err);
    if (rc)
        return rc;
    rc = time ? find_fastest(libraries, problem, search, out, &lasting, err)
              : dnn_search_next(search, WORKSPACE_MAX, out, err);
    dnn_search_close(search);
    if (!rc && !*out)
        rc = err_set(err, ERR_UNSUPPORTED, "cuDNN has no way to compute %s", name);
    if (rc)
        dnn_plan_close(*out);
    else if (lasting)
        cache_write(libraries, name, *out);
    return rc;
}

static struct convolution *find_open(const struct libraries *libraries, const char *name)
{
    struct convolution *at = libraries->convolutions;

    while (at && strcmp(at->name, name))
        at = at->next;
    return at;
}

int convolution_open(struct convolution **out, struct libraries *libraries,
                     enum conv_direction direction, const struct conv_shape *shape, struct err *err)
{
    struct dnn_problem problem = {.direction = direction,
                                  .shape = *shape,
                                  .compute = libraries->compute,
                                  .deterministic = true};
    struct convolution *conv;
    char name[PLAN_NAME_MAX];
    int rc;

    dnn_problem_name(&problem, name, sizeof name);
    conv = find_open(libraries, name);
    if (!conv) {
        conv = calloc(1, sizeof *conv);
        if (!conv)
            return err_no_memory(err);
        rc = find_plan(libraries, &problem, name, &conv->plan, err);
        if (rc) {
            free(conv);
            return rc;
        }
        memcpy(conv->name, name, sizeof name);
        conv->libraries = libraries;
        conv->next = libraries->convolutions;
        libraries->convolutions = conv;
    }
    conv->users++;
    *out = conv;
    return 0;
}

void convolution_close(struct convolution *conv)
{
    struct convolution **at;

    if (!conv || --conv->users > 0)
        return;
    for (at = &conv->libraries->convolutions; *at != conv;)
        at = &(*at)->next;
    *at = conv->next;
    dnn_plan_close(conv->plan);
    free(conv);
}

size_t convolution_workspace_bytes(const struct convolution *conv)
{
    return dnn_plan_workspace_bytes(conv->plan);
}

int convolution_run(const struct convolution *conv, const struct lane *lane, void *x, void *w,
                    void *y, struct err *err)
{
    cudnnHandle_t handle;
    int rc = libraries_dnn(conv->libraries, lane, &handle, err);

    return rc ? rc : dnn_plan_run(conv->plan, handle, x, w, y, lane->workspace, err);
}
