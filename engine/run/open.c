/* Opens a run: everything it will ever allocate. `engine_run_close` takes half-open ones. */
#include <stdlib.h>

#include "job/resolve.h"
#include "run/state.h"

/* Evaluation has no gradients to keep, so small training batches need not make it slow. */
#define EVALUATION_BATCH_MIN 64

static int check_job(const struct engine_job *job, struct dataset_info *info, struct err *err)
{
    struct first_problem first = {.err = err};
    struct problems problems = {.tell = job_first_problem, .to = &first};
    int rc = dataset_describe(info, &job->dataset, err);

    if (rc)
        return rc;
    job_check_with(job, info, &problems);
    return problems.n ? ERR_INVALID : 0;
}

static int open_dataset(struct engine_run *run, struct err *err)
{
    const struct engine_job *job = &run->job;
    int rc;

    if (run->purpose != RUN_TRAIN)
        return dataset_outline(&run->dataset, &job->dataset, &run->info, err);
    rc = dataset_open(&run->dataset, &job->dataset, (uint64_t)job->seed, err);
    if (!rc)
        rc = dataset_digest(run->dataset, &run->snapshot.dataset, err);
    return rc ? rc
              : sampler_open(&run->sampler, (uint64_t)job->seed, run->dataset->split[SPLIT_TRAIN].n,
                             job->batch_size, err);
}

static int open_data(struct engine_run *run, struct err *err)
{
    const struct engine_job *job = &run->job;
    int rc = open_dataset(run, err);
    int64_t train, test;

    if (rc)
        return rc;
    run->image_bytes = (size_t)dataset_image_bytes(run->dataset) * real_bytes(run->class->real);
    train = run->dataset->split[SPLIT_TRAIN].n;
    recipe_of(&run->recipe, &job->method);
    run->total = (uint64_t)job_updates(job, train);
    run->span =
        (struct schedule_span){.total = run->total,
                               .updates_per_epoch = (uint64_t)job_updates_per_epoch(job, train),
                               .batches_per_update = (uint64_t)run->recipe.n_batches};
    test = run->dataset->split[SPLIT_TEST].n;
    run->evaluation_batch =
        job->batch_size > EVALUATION_BATCH_MIN ? job->batch_size : EVALUATION_BATCH_MIN;
    if (run->evaluation_batch > test)
        run->evaluation_batch = test;
    return 0;
}

static int open_model(struct engine_run *run, struct err *err)
{
    const struct dataset *dataset = run->dataset;
    struct model_input input = {.batch = run->job.batch_size,
                                .channels = dataset->channels,
                                .height = dataset->height,
                                .width = dataset->width,
                                .classes = dataset->classes};
    int rc = model_forward_graph(&run->graph, &run->job.model, &input, true, err);

    if (rc)
        return rc;
    rc = layout_open(&run->params, run->graph->params, run->graph->n_params, err);
    if (rc)
        return rc;
    return layout_open(&run->states_layout, run->graph->states, run->graph->n_states, err);
}

int run_vectors_open(struct engine_run *run, struct err *err)
{
    const struct backend_class *class = run->class;
    size_t size = run->params->size;
    int rc = class->vector_open(run->backend, size, &run->weights, err);

    if (!rc)
        rc = class->vector_open(run->backend, size, &run->momentum, err);
    if (!rc && step_has_squares(run_step_rule(run)))
        rc = class->vector_open(run->backend, size, &run->squares, err);
    if (!rc)
        rc = class->vector_open(run->backend, run->states_layout->size, &run->states, err);
    if (!rc && run->recipe.has_fisher)
        rc = class->vector_open(run->backend, run->params->fisher_size, &run->fisher, err);
    for (int t = 0; t < run->recipe.n_terms && !rc; t++)
        if (!run->recipe.term[t].forward_only)
            rc = class->vector_open(run->backend, size, &run->gradient[t], err);
    return rc;
}

/* What only training needs. */
static int open_rest(struct engine_run *run, struct err *err)
{
    int rc = snapshot_open(run, err);

    return rc ? rc : run_initialise(run, err);
}

/* What each rank has of its own. */
static int open_device(struct engine_run *run, const void *context, struct err *err)
{
    struct backend_options options =
        job_backend_options(&run->job, &run->place, run_rank_threads(run));
    int rc;

    (void)context;
    options.counts_only = run->purpose == RUN_COUNT;
    options.device += run->rank.rank;
    rc = run->class->open(&run->backend, &options, err);
    if (!rc)
        rc = run_vectors_open(run, err);
    if (!rc && run->rank.rank == 0)
        rc = telemetry_open(run, err);
    return rc ? rc : run_programs_open(run, err);
}

static int open_all(struct engine_run *run, struct err *err)
{
    int rc = open_data(run, err);

    if (!rc)
        rc = open_model(run, err);
    if (!rc)
        rc = run_ranks_open(run, err);
    if (!rc)
        rc = run_each(run, open_device, NULL, err);
    if (!rc)
        rc = run_batches_open(run, err);
    return rc || run->purpose != RUN_TRAIN ? rc : open_rest(run, err);
}

int run_open(struct engine_run **out, const struct engine_job *job, int threads,
             const struct engine_sink *sink, const struct dataset_info *info,
             enum run_purpose purpose, struct err *err)
{
    struct engine_run *run = calloc(1, sizeof *run);
    int rc;

    if (!run)
        return err_no_memory(err);
    run->purpose = purpose;
    run->info = *info;
    run->job = *job;
    run->sink = *sink;
    run->threads = threads;
    run->rank.ranks = job->world_size > 1 ? (int)job->world_size : 1;
    if (!job_place(&run->place, job)) {
        free(run);
        return err_set(err, ERR_DEVICE, "the job's device is gone");
    }
    run->class = run->place.class;
    rc = open_all(run, err);
    if (rc) {
        engine_run_close(run);
        return rc;
    }
    *out = run;
    return 0;
}

int engine_run_open(struct engine_run **out, const struct engine_job *job, int threads,
                    const struct engine_sink *sink, struct err *err)
{
    struct dataset_info info;
    int rc = check_job(job, &info, err);

    return rc ? rc : run_open(out, job, threads, sink, &info, RUN_TRAIN, err);
}

void run_vectors_close(struct engine_run *run)
{
    struct vector *vectors[] = {run->weights, run->momentum, run->squares, run->states,
                                run->fisher};

    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        if (vectors[i])
            run->class->vector_close(vectors[i]);
    for (int t = 0; t < RECIPE_TERMS_MAX; t++)
        if (run->gradient[t])
            run->class->vector_close(run->gradient[t]);
}

void run_device_close(struct engine_run *run)
{
    run_programs_close(run);
    for (int s = 0; s < SPLITS; s++)
        if (run->data[s])
            run->class->data_close(run->data[s]);
    run_vectors_close(run);
    if (run->backend)
        run->class->close(run->backend);
}

/* The communicator outlives what was captured with it. */
void engine_run_close(struct engine_run *run)
{
    if (!run)
        return;
    run_ranks_close(run);
    telemetry_close(run);
    run_batches_close(run);
    run_device_close(run);
    if (run->communicator)
        run->communicator->class->close(run->communicator);
    snapshot_close(run);
    layout_close(run->params);
    layout_close(run->states_layout);
    graph_free(run->graph);
    sampler_close(run->sampler);
    dataset_close(run->dataset);
    free(run);
}
