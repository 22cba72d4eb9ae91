/* Opens and closes a probe, and leads it through its kind's measurement. */
#include <math.h>
#include <stdlib.h>

#include "data/digest.h"
#include "probe/start.h"
#include "probe/state.h"

static void to_reals(struct engine_probe_run *run, const double *from, size_t n)
{
    float *f32 = run->room;
    double *f64 = run->room;

    for (size_t i = 0; i < n; i++)
        if (run->class->real == REAL_F32)
            f32[i] = (float)from[i];
        else
            f64[i] = from[i];
}

int probe_write(struct engine_probe_run *run, struct vector *to, const double *from, size_t n,
                struct err *err)
{
    to_reals(run, from, n);
    return run->class->vector_write(to, 0, n, run->room, err);
}

int probe_write_f32(struct engine_probe_run *run, struct vector *to, const float *from,
                    struct err *err)
{
    size_t n = run->params->size;
    double *f64 = run->room;

    if (run->class->real == REAL_F32)
        return run->class->vector_write(to, 0, n, from, err);
    for (size_t i = 0; i < n; i++)
        f64[i] = (double)from[i];
    return run->class->vector_write(to, 0, n, f64, err);
}

int probe_read(struct engine_probe_run *run, const struct vector *from, double *to, struct err *err)
{
    size_t n = run->params->size;
    int rc = run->class->vector_read(from, 0, n, run->room, err);

    for (size_t i = 0; i < n && !rc; i++)
        to[i] = run->class->real == REAL_F32 ? (double)((const float *)run->room)[i]
                                             : ((const double *)run->room)[i];
    return rc;
}

static int open_model(struct engine_probe_run *run, struct err *err)
{
    struct model_input input = {.batch = 2, /* of which any model's batch norm has a variance */
                                .channels = run->dataset->channels,
                                .height = run->dataset->height,
                                .width = run->dataset->width,
                                .classes = run->dataset->classes};
    int rc = model_forward_graph(&run->graph, &run->job.model, &input, true, err);

    if (!rc)
        rc = layout_open(&run->params, run->graph->params, run->graph->n_params, err);
    if (!rc)
        rc = layout_open(&run->states_layout, run->graph->states, run->graph->n_states, err);
    return rc;
}

static int open_vectors(struct engine_probe_run *run, struct err *err)
{
    size_t size = run->params->size, states = run->states_layout->size;
    struct {
        struct vector **vector;
        size_t n;
    } all[] = {
        {&run->weights, size},        {&run->states, states}, {&run->moved, size},
        {&run->moved_states, states}, {&run->slope, size},    {&run->direction, size},
        {&run->product, size},
    };
    size_t room = size > states ? size : states;
    int rc = 0;

    if (run->params->fisher_size > room)
        room = run->params->fisher_size;
    for (size_t i = 0; i < sizeof all / sizeof *all && !rc; i++)
        rc = run->class->vector_open(run->backend, all[i].n, all[i].vector, err);
    if (rc)
        return rc;
    run->room = calloc(room, real_bytes(run->class->real));
    run->sum = calloc(size, sizeof *run->sum);
    run->gradient = calloc(size, sizeof *run->gradient);
    return run->room && run->sum && run->gradient ? 0 : err_no_memory(err);
}

static int open_all(struct engine_probe_run *run, const struct engine_probe_start *start,
                    struct err *err)
{
    struct backend_options options = job_backend_options(&run->job, &run->place, run->threads);
    const struct engine_probe *probe = &run->probe;
    struct dataset_digest digest;
    int rc = dataset_open(&run->dataset, &run->job.dataset, (uint64_t)run->job.seed, err);

    if (!rc)
        rc = dataset_digest(run->dataset, &digest, err);
    if (!rc)
        rc = dataset_digest_check(&digest, start->weights, err);
    /* Programs are asked to be exact, whatever a GPU trains with. */
    options.compute = COMPUTE_F32;
    if (!rc)
        rc = rows_open(&run->rows, err);
    if (!rc)
        rc = open_model(run, err);
    if (!rc)
        rc = run->class->open(&run->backend, &options, err);
    if (!rc)
        rc = open_vectors(run, err);
    if (!rc)
        rc = probe_take_start(run, start, err);
    if (!rc)
        rc = probe_write(run, run->weights, run->w, run->params->size, err);
    if (!rc)
        rc = probe_write(run, run->states, run->s, run->states_layout->size, err);
    if (!rc)
        rc = probe_set_open(run, &run->set, probe->split == PROBE_TEST ? SPLIT_TEST : SPLIT_TRAIN,
                            probe->batch_norm == PROBE_BATCH_NORM_TRAINING, err);
    return rc;
}

int engine_probe_open(struct engine_probe_run **out, const struct engine_job *job,
                      const struct engine_probe *probe, int threads,
                      const struct engine_probe_start *start, const struct engine_probe_sink *sink,
                      struct err *err)
{
    struct first_problem first = {.err = err};
    struct problems problems = {.tell = job_first_problem, .to = &first};
    struct engine_probe_run *run;
    struct job_place place;
    int rc;

    probe_check_stored(job, probe, &problems);
    if (problems.n)
        return ERR_INVALID;
    if (!job_place(&place, job))
        return err_set(err, ERR_DEVICE, "the job's device is gone");
    run = calloc(1, sizeof *run);
    if (!run)
        return err_no_memory(err);
    run->job = *job;
    run->place = place;
    run->probe = *probe;
    engine_probe_resolve(&run->probe);
    run->sink = *sink;
    run->threads = threads;
    run->class = place.class;
    rc = open_all(run, start, err);
    if (rc) {
        engine_probe_close(run);
        return rc;
    }
    *out = run;
    return 0;
}

static void close_vectors(struct engine_probe_run *run)
{
    struct vector *all[] = {run->weights,      run->states, run->fisher,    run->moved,
                            run->moved_states, run->slope,  run->direction, run->product};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i])
            run->class->vector_close(all[i]);
}

static void free_arrays(struct engine_probe_run *run)
{
    void *all[] = {run->w,        run->s,   run->other_w, run->other_s, run->given[0],
                   run->given[1], run->sum, run->room,    run->gradient};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

void engine_probe_close(struct engine_probe_run *run)
{
    if (!run)
        return;
    curvature_close(run);
    probe_set_close(run, &run->set);
    close_vectors(run);
    if (run->backend)
        run->class->close(run->backend);
    free_arrays(run);
    layout_close(run->params);
    layout_close(run->states_layout);
    graph_free(run->graph);
    rows_close(run->rows);
    dataset_close(run->dataset);
    free(run);
}

int engine_probe_measure(struct engine_probe_run *run, const atomic_int *request,
                         enum engine_outcome *outcome, struct err *err)
{
    static int (*const measure[PROBE_KINDS])(struct engine_probe_run *, struct err *) = {
        [PROBE_SPECTRUM] = spectrum_measure,
        [PROBE_LANDSCAPE] = landscape_measure,
        [PROBE_RADIUS] = radius_measure,
        [PROBE_SHARPNESS] = sharpness_measure,
    };
    int rc;

    run->request = request;
    run->cost = 0;
    for (int i = 0; i < PROBE_COLUMNS_MAX; i++)
        run->summary[i] = NAN;
    if (run->set.batch_statistics && run->graph->n_states > 0)
        probe_message(run,
                      "batch norm in training mode: each batch of %lld samples with its own "
                      "statistics, not the running ones",
                      (long long)run->set.batch_size);
    rc = measure[run->probe.kind](run, err);
    if (!rc) /* what was not needed is done as well */
        rc = probe_progress(run, run->total_cost - run->cost, err);
    if (rc == PROBE_STOPPED) {
        *outcome = atomic_load(request) == ENGINE_ABANDON ? ENGINE_ABANDONED : ENGINE_STOPPED;
        return 0;
    }
    *outcome = ENGINE_FINISHED;
    return rc;
}
