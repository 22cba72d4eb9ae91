/* Small jobs are timed as they are: updates of a run with made-up weights and images. Of large
 * ones, the backend times a pass by its operations, and the change of the weights is timed on a
 * part of them. Loading is timed by itself, and added. */
#include "run/timing.h"

#include <stdlib.h>

#include "base/clock.h"
#include "job/resolve.h"

/* A run whose update is taken to need no more is timed as it is. */
#define TRIAL_SECONDS 0.25
#define TRIAL_BYTES   ((size_t)512 << 20) /* on the device */

/* Of a large one, for its longest pass. */
#define PASS_SPEND 0.6

/* Operations a second and thread, for nothing but the choice between the two. */
static double supposed_rate(const struct backend_class *class)
{
    return class->real == REAL_F32 ? 120e9 : 2e9;
}

/* ---- What there is to do ---- */

static double node_work(const struct graph *g, const struct node *node)
{
    const struct shape *b = &g->values[node->input[1]].shape;
    const struct shape *y = &g->values[node->output[0]].shape;
    double made = (double)shape_elements(y);

    if (node->op == OP_CONV || node->op == OP_LINEAR)
        return made * (double)(shape_elements(b) / b->dim[0]);
    return node->op == OP_MATMUL ? made * (double)b->dim[b->rank - 1] : 0;
}

/* Operations of an update, roughly: two a multiply-add, three passes' worth a gradient. */
static double work_of(const struct engine_run *run)
{
    double multiply_adds = 0;

    for (int i = 0; i < run->graph->n_nodes; i++)
        if (run->graph->nodes[i].n_inputs > 1)
            multiply_adds += node_work(run->graph, &run->graph->nodes[i]);
    return 6 * multiply_adds * recipe_gradients(&run->recipe);
}

double timing_fullness(const struct engine_run *run)
{
    double samples = (double)run->dataset->split[SPLIT_TRAIN].n;

    return samples / (double)(run->span.updates_per_epoch * (uint64_t)run->job.batch_size);
}

int timing_fill(const struct engine_run *run, struct vector *vector, size_t n, float low,
                float high, struct err *err)
{
    void *room = calloc(n, real_bytes(run->class->real));
    int rc = room ? 0 : err_no_memory(err);

    for (size_t i = 0; i < n && !rc; i++) {
        float value =
            low + (high - low) * (float)((uint32_t)i * UINT32_C(2654435761) >> 8) * 0x1p-24f;

        if (run->class->real == REAL_F32)
            ((float *)room)[i] = value;
        else
            ((double *)room)[i] = (double)value;
    }
    if (!rc)
        rc = run->class->vector_write(vector, 0, n, room, err);
    free(room);
    return rc;
}

/* ---- Large jobs ---- */

static int make_graph(const void *context, int64_t samples, struct graph **out, struct err *err)
{
    const struct engine_run *plan = context;
    struct model_input input = job_model_input(&plan->info, samples);

    input.label_smoothing = plan->job.label_smoothing;
    return model_graph(out, &plan->job.model, &input, true, err);
}

/* Of the first rank: all have as much to do in a wave. */
static int64_t term_samples(const struct engine_run *plan, int term)
{
    struct recipe_piece piece = {0};

    recipe_piece(&piece, &plan->recipe, term, plan->rank, plan->job.batch_size);
    return piece.samples;
}

/* The longest pass of an update; it is always the first of its wave. */
static int time_longest(const struct engine_run *plan, struct backend *backend,
                        struct pass_seconds *out, int64_t *samples, struct err *err)
{
    struct pass_sample sample = {.graph = make_graph, .context = plan, .seconds = PASS_SPEND};

    *samples = 0;
    for (int t = 0; t < plan->recipe.n_terms; t++)
        if (term_samples(plan, t) > *samples)
            *samples = term_samples(plan, t);
    sample.whole = program_of(&plan->training[0], *samples);
    if (!sample.whole)
        return err_set(err, ERR_INTERNAL, "no program for %lld samples", (long long)*samples);
    return plan->class->time_pass(backend, &sample, out, err);
}

/* Those of one wave run side by side or one after the other. */
static double wave_seconds(const struct engine_run *plan, int wave,
                           const struct pass_seconds *longest, int64_t samples)
{
    double sum = 0, most = 0;

    for (int t = 0; t < plan->recipe.n_terms; t++) {
        const struct recipe_term *term = &plan->recipe.term[t];
        double share = (double)term_samples(plan, t) / (double)samples, seconds;

        if (recipe_wave(&plan->recipe, t) != wave)
            continue;
        seconds = share * (term->forward_only ? longest->forward : longest->all);
        sum += seconds;
        most = seconds > most ? seconds : most;
    }
    return longest->beside ? most : sum;
}

/* Elements of all vectors together with which changing the weights is timed. */
#define STEP_ELEMENTS ((size_t)40 << 20)

/* The first tensors of a layout, at least one. */
static struct layout first_tensors(const struct layout *whole, size_t most)
{
    struct layout part = *whole;

    part.n = 1;
    while (part.n < whole->n && whole->tensor[part.n].offset <= most)
        part.n++;
    if (part.n < whole->n) {
        part.size = whole->tensor[part.n].offset;
        part.fisher_size = whole->tensor[part.n].fisher_offset;
    }
    return part;
}

/* `part` is a run with vectors of its own in a part's layout, for what has no passes. */
static int time_change(struct engine_run *part, double *out, struct err *err)
{
    double best = 0;
    int rc = 0;

    for (int b = 0; b < part->recipe.n_batches; b++)
        part->batch[b].n = part->job.batch_size;
    for (int i = 0; i < 3 && !rc; i++) {
        double start = clock_seconds(), took;

        for (int t = 0; t < part->recipe.n_terms && !rc; t++) {
            struct perturbation perturbation = run_perturbation(part, t, 0.01);

            if (perturbation.kind != PERTURB_NONE)
                rc = part->class->materialise(part->backend, part->params, part->weights,
                                              &perturbation, part->perturbed, err);
        }
        if (!rc)
            rc = run_change_weights(part, 0, err);
        took = clock_seconds() - start;
        best = i == 0 || took < best ? took : best;
    }
    *out = best;
    return rc;
}

static int open_part(struct engine_run *part, struct err *err)
{
    size_t n = part->params->size;
    int rc = run_vectors_open(part, err);

    if (!rc)
        rc = part->class->vector_open(part->backend, n, &part->perturbed, err);
    if (!rc)
        rc = timing_fill(part, part->weights, n, -0.1f, 0.1f, err);
    if (!rc)
        rc = timing_fill(part, part->momentum, n, -0.1f, 0.1f, err);
    for (int t = 0; t < part->recipe.n_terms && !rc; t++)
        if (part->gradient[t])
            rc = timing_fill(part, part->gradient[t], n, -0.1f, 0.1f, err);
    return rc;
}

/* Materialising the weights of perturbed passes, and changing the weights. */
static int time_weights(const struct engine_run *plan, struct backend *backend, double *out,
                        struct err *err)
{
    size_t vectors = (size_t)plan->recipe.n_terms + 4;
    struct layout layout = first_tensors(plan->params, STEP_ELEMENTS / vectors);
    struct engine_run *part = calloc(1, sizeof *part);
    int rc;

    if (!part)
        return err_no_memory(err);
    part->job = plan->job;
    part->recipe = plan->recipe;
    part->total = plan->total;
    part->class = plan->class;
    part->backend = backend;
    part->params = &layout;
    part->states_layout = plan->states_layout;
    rc = open_part(part, err);
    if (!rc)
        rc = time_change(part, out, err);
    *out *= (double)plan->params->size / (double)layout.size;
    if (part->perturbed)
        part->class->vector_close(part->perturbed);
    run_vectors_close(part);
    free(part);
    return rc;
}

/* What runs at the same time has the processors that one rank is timed with, and no more than the
 * job's threads of them. */
static double crowding(const struct engine_run *plan)
{
    double wanted = (double)plan->rank.ranks * run_rank_threads(plan);

    return plan->class->vector_data && wanted > plan->threads ? wanted / plan->threads : 1;
}

static int time_by_operations(const struct engine_run *plan, struct engine_estimate *out,
                              struct err *err)
{
    struct backend_options options = {.threads = run_rank_threads(plan)};
    struct pass_seconds longest = {0};
    struct backend *backend;
    int64_t samples = 0;
    double change = 0;
    int rc = plan->class->open(&backend, &options, err);

    if (rc)
        return rc;
    rc = time_longest(plan, backend, &longest, &samples, err);
    if (!rc)
        rc = time_weights(plan, backend, &change, err);
    plan->class->close(backend);
    out->seconds_per_update = change;
    for (int wave = 0; wave < recipe_waves(&plan->recipe); wave++)
        out->seconds_per_update +=
            timing_fullness(plan) * wave_seconds(plan, wave, &longest, samples);
    out->seconds_per_update *= crowding(plan);
    out->evaluation_seconds =
        longest.forward * (double)plan->info.n[SPLIT_TEST] / (double)(samples ? samples : 1);
    return rc;
}

/* ---- All of it ---- */

static bool is_small(const struct engine_run *plan)
{
    int threads = plan->class->real == REAL_F32 ? plan->threads : 1;

    return plan->backend->peak <= TRIAL_BYTES &&
           work_of(plan) <= TRIAL_SECONDS * supposed_rate(plan->class) * threads;
}

int run_time(const struct engine_job *job, const struct dataset_info *info, int threads,
             struct engine_estimate *out, struct err *err)
{
    const struct engine_sink sink = {0};
    struct engine_estimate made = *out;
    struct engine_run *plan;
    int rc = run_open(&plan, job, threads, &sink, info, RUN_COUNT, err);

    if (rc)
        return rc;
    if (is_small(plan))
        rc = timing_trial(plan, &made, err);
    else if (plan->class->time_pass)
        rc = time_by_operations(plan, &made, err);
    if (!rc && made.seconds_per_update > 0)
        rc = timing_add_loading(plan, &made, err);
    engine_run_close(plan);
    if (rc)
        return rc;
    made.timed = made.seconds_per_update > 0;
    *out = made;
    return 0;
}
