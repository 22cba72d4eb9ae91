/* Compiles the job's model for each batch size that occurs, for training once for each term that
 * runs at the same time. */
#include "run/state.h"

static int program_open(struct engine_run *run, const struct model_input *input, bool training,
                        struct program **out, struct err *err)
{
    struct program_options options = {.side_by_side = training ? recipe_width(&run->recipe) : 1};
    struct graph *graph;
    int rc = model_graph(&graph, &run->job.model, input, training, err);

    if (rc)
        return rc;
    rc = run->class->program_open(run->backend, graph, run->params, run->states_layout, &options,
                                  out, err);
    graph_free(graph);
    return rc;
}

static int set_open(struct engine_run *run, struct program_set *set, int64_t samples, int64_t batch,
                    bool training, struct err *err)
{
    const struct dataset *dataset = run->dataset;
    struct model_input input = {.batch = batch,
                                .channels = dataset->channels,
                                .height = dataset->height,
                                .width = dataset->width,
                                .classes = dataset->classes,
                                .label_smoothing = training ? run->job.label_smoothing : 0};
    int rc = program_open(run, &input, training, &set->full, err);

    set->batch = batch;
    if (rc || samples % batch == 0)
        return rc;
    input.batch = samples % batch;
    return program_open(run, &input, training, &set->tail, err);
}

int run_programs_open(struct engine_run *run, struct err *err)
{
    int64_t train = run->dataset->split[SPLIT_TRAIN].n, test = run->dataset->split[SPLIT_TEST].n;
    int rc = 0;

    for (int i = 0; i < recipe_width(&run->recipe) && !rc; i++)
        rc = set_open(run, &run->training[i], train, run->job.batch_size, true, err);
    return rc ? rc : set_open(run, &run->evaluation, test, run->evaluation.batch, false, err);
}

static void set_close(struct engine_run *run, struct program_set *set)
{
    if (set->full)
        run->class->program_close(set->full);
    if (set->tail)
        run->class->program_close(set->tail);
    *set = (struct program_set){0};
}

void run_programs_close(struct engine_run *run)
{
    for (int i = 0; i < RECIPE_TERMS_MAX; i++)
        set_close(run, &run->training[i]);
    set_close(run, &run->evaluation);
}
