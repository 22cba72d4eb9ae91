/* How long a plan takes here: two runs to warm up, ten that are timed, their median. Operands are
 * zeros, which take a GPU no less time but less power than others; that is the same for all plans.
 */
#include <cuda_runtime_api.h>
#include <stdlib.h>

#include "backend/cuda/libraries_inside.h"
#include "backend/cuda/runtime.h"

enum { WARM = 2, RUNS = 10 };

struct timing {
    void *x, *w, *y;
    struct lane lane;
    cudaEvent_t begin[RUNS], end[RUNS];
};

static int open_operand(void **out, int64_t elements, struct err *err)
{
    int rc = runtime_cuda.memory_open(out, (size_t)elements * sizeof(float), err);

    return rc ? rc
              : cuda_failed(cudaMemset(*out, 0, (size_t)elements * sizeof(float)), "clearing", err);
}

int timing_open(struct timing **out, const struct dnn_problem *problem, size_t workspace_bytes,
                struct err *err)
{
    const struct conv_shape *s = &problem->shape;
    struct timing *timing = calloc(1, sizeof *timing);
    int rc;

    *out = timing;
    if (!timing)
        return err_no_memory(err);
    rc = open_operand(&timing->x, s->n * s->h * s->w * s->c, err);
    if (!rc)
        rc = open_operand(&timing->w, s->k * s->r * s->s * s->c, err);
    if (!rc)
        rc = open_operand(&timing->y, s->n * s->p * s->q * s->k, err);
    if (!rc)
        rc = runtime_cuda.memory_open(&timing->lane.workspace, workspace_bytes, err);
    if (!rc)
        rc = runtime_cuda.stream_open(&timing->lane.stream, err);
    for (int i = 0; i < RUNS && !rc; i++) {
        rc = cuda_failed(cudaEventCreate(&timing->begin[i]), "an event", err);
        if (!rc)
            rc = cuda_failed(cudaEventCreate(&timing->end[i]), "an event", err);
    }
    return rc;
}

void timing_close(struct timing *timing)
{
    if (!timing)
        return;
    for (int i = 0; i < RUNS; i++) {
        if (timing->begin[i])
            cudaEventDestroy(timing->begin[i]);
        if (timing->end[i])
            cudaEventDestroy(timing->end[i]);
    }
    if (timing->lane.stream)
        cudaStreamDestroy(timing->lane.stream);
    cudaFree(timing->x);
    cudaFree(timing->w);
    cudaFree(timing->y);
    cudaFree(timing->lane.workspace);
    free(timing);
}

static int compare(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

static int median(const struct timing *timing, double *out, struct err *err)
{
    float ms[RUNS];
    int rc = 0;

    for (int i = 0; i < RUNS && !rc; i++)
        rc = cuda_failed(cudaEventElapsedTime(&ms[i], timing->begin[i], timing->end[i]), "timing",
                         err);
    if (!rc) {
        qsort(ms, RUNS, sizeof *ms, compare);
        *out = ((double)ms[RUNS / 2 - 1] + (double)ms[RUNS / 2]) / 2;
    }
    return rc;
}

int timing_run(struct timing *timing, struct libraries *libraries, const struct dnn_plan *plan,
               double *milliseconds, struct err *err)
{
    const struct lane *lane = &timing->lane;
    cudnnHandle_t handle;
    int rc = libraries_dnn(libraries, lane, &handle, err);

    for (int i = -WARM; i < RUNS && !rc; i++) {
        if (i >= 0)
            rc = cuda_failed(cudaEventRecord(timing->begin[i], lane->stream), "timing", err);
        if (!rc)
            rc = dnn_plan_run(plan, handle, timing->x, timing->w, timing->y, lane->workspace, err);
        if (!rc && i >= 0)
            rc = cuda_failed(cudaEventRecord(timing->end[i], lane->stream), "timing", err);
    }
    if (!rc)
        rc = runtime_cuda.wait(lane->stream, err);
    return rc ? rc : median(timing, milliseconds, err);
}
