/* Compiles the job's model for each batch size that occurs on a rank, for training once for each
 * term that runs at the same time there: place i of a wave has programs of its own. */
#include "run/state.h"

static int program_open(struct engine_run *run, const struct model_input *input, bool training,
                        struct program **out, struct err *err)
{
    struct program_options options = {
        .side_by_side = training ? recipe_rank_width(&run->recipe, run->rank) : 1};
    struct graph *graph;
    int rc = model_graph(&graph, &run->job.model, input, training, err);

    if (rc)
        return rc;
    rc = run->class->program_open(run->backend, graph, run->params, run->states_layout, &options,
                                  out, err);
    graph_free(graph);
    return rc;
}

static int set_add(struct engine_run *run, struct program_set *set, int64_t samples, bool training,
                   struct err *err)
{
    const struct dataset *dataset = run->dataset;
    struct model_input input = {.batch = samples,
                                .channels = dataset->channels,
                                .height = dataset->height,
                                .width = dataset->width,
                                .classes = dataset->classes,
                                .label_smoothing = training ? run->job.label_smoothing : 0};
    int rc;

    if (samples == 0 || program_of(set, samples))
        return 0;
    rc = program_open(run, &input, training, &set->program[set->n], err);
    if (!rc)
        set->samples[set->n++] = samples;
    return rc;
}

/* The sizes that a term's passes have. False in *place: this rank has nothing of it. */
static int set_add_term(struct engine_run *run, struct program_set *set, int term, bool *place,
                        struct err *err)
{
    int64_t full = run->job.batch_size, tail = run->dataset->split[SPLIT_TRAIN].n % full;
    struct recipe_piece piece = {0};
    int rc = 0;

    *place = recipe_piece(&piece, &run->recipe, term, run->rank, full);
    if (*place)
        rc = set_add(run, set, piece.samples, true, err);
    if (*place && !rc && recipe_piece(&piece, &run->recipe, term, run->rank, tail))
        rc = set_add(run, set, piece.samples, true, err);
    return rc;
}

int run_programs_open(struct engine_run *run, struct err *err)
{
    int64_t test = run->dataset->split[SPLIT_TEST].n;
    int lane[RECIPE_TERMS_MAX] = {0}, rc = 0;

    for (int t = 0; t < run->recipe.n_terms && !rc; t++) {
        int *place = &lane[recipe_wave(&run->recipe, t)];
        bool taken;

        rc = set_add_term(run, &run->training[*place], t, &taken, err);
        *place += taken;
    }
    if (run->rank.rank > 0)
        return rc;
    if (!rc)
        rc = set_add(run, &run->evaluation, run->evaluation_batch, false, err);
    return rc ? rc : set_add(run, &run->evaluation, test % run->evaluation_batch, false, err);
}

static void set_close(struct engine_run *run, struct program_set *set)
{
    for (int i = 0; i < set->n; i++)
        run->class->program_close(set->program[i]);
    *set = (struct program_set){0};
}

void run_programs_close(struct engine_run *run)
{
    for (int i = 0; i < RECIPE_TERMS_MAX; i++)
        set_close(run, &run->training[i]);
    set_close(run, &run->evaluation);
}
