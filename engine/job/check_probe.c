/* Combinations of a probe's values that make no sense, and what its presets say. */
#include <math.h>
#include <stdio.h>

#include "base/err.h"
#include "engine/job.h"
#include "job/resolve.h"
#include "job/silent.h"
#include "method/recipe.h"

#define POINTS_MAX 100000 /* of a grid */
#define ROWS_MAX                                                                                   \
    1000000          /* that one kind of measurement tells: they are kept in memory and on disk */
#define LOOK_BATCH 2 /* of a graph that is looked at: any model's batch norm has a variance */

struct check {
    const struct engine_job *job;
    const struct engine_probe *probe;
    struct problems *problems;
};

static void default_to(int64_t *member, int64_t value)
{
    if (*member == 0)
        *member = value;
}

void engine_probe_resolve(struct engine_probe *probe)
{
    bool preset = probe->preset == PRESET_NAMED;

    if (probe->kind == PROBE_SPECTRUM) {
        default_to(&probe->runs, preset || probe->start == START_GIVEN ? 1 : 4);
        default_to(&probe->steps, preset ? 100 : 60);
        default_to(&probe->bins, preset ? 10000 : 1000);
    }
    if (probe->kind == PROBE_LANDSCAPE) {
        default_to(&probe->x.points, preset ? 51 : 21);
        default_to(&probe->y.points, preset ? 51 : 21);
        if (probe->vectors_1d == VECTORS_1D_AUTO)
            probe->vectors_1d = preset ? VECTORS_1D_ZERO : VECTORS_1D_KEEP;
    }
}

bool engine_probe_needs_vectors(const struct engine_probe *probe)
{
    if (probe->kind == PROBE_SPECTRUM)
        return probe->start == START_GIVEN;
    return probe->kind == PROBE_LANDSCAPE &&
           (probe->x.direction == DIRECTION_GIVEN || probe->y.direction == DIRECTION_GIVEN);
}

bool engine_probe_needs_fisher(const struct engine_probe *probe)
{
    return (probe->kind == PROBE_RADIUS || probe->kind == PROBE_SHARPNESS) && probe->adaptive;
}

static void check_given(struct check *check)
{
    const struct engine_probe *probe = check->probe;
    bool needed = engine_probe_needs_vectors(probe);

    if (needed && probe->upload == 0)
        problems_add(check->problems, "/upload", "a given %s needs an upload",
                     probe->kind == PROBE_SPECTRUM ? "start" : "direction");
    if (!needed && probe->upload > 0)
        problems_add(check->problems, "/upload", "nothing is given: %s",
                     probe->kind == PROBE_SPECTRUM ? "start is not \"given\""
                                                   : "no axis has the direction \"given\"");
}

/* So many vectors are held in the machine's memory, whatever the device, in single precision. */
static void check_vectors(struct check *check, const char *pointer, int64_t vectors)
{
    struct engine_job_facts facts;
    struct err err;

    if (engine_job_facts(check->job, &facts, &err))
        return; /* the job's own check says why */
    if ((double)facts.parameters * (double)vectors * (double)sizeof(float) >
        (double)job_host_memory() / 2)
        problems_add(check->problems, pointer,
                     "%lld vectors as long as the weights take more than half of the memory",
                     (long long)vectors);
}

/* How often a pass holds the results of convolutions and other products at the same time: once for
 * the way back, once more for their tangents; without a way back none of them for long. */
static int held_results(const struct engine_probe *probe)
{
    bool eigen =
        probe->x.direction == DIRECTION_EIGENVECTOR || probe->y.direction == DIRECTION_EIGENVECTOR;
    bool slope =
        probe->x.direction == DIRECTION_GRADIENT || probe->y.direction == DIRECTION_GRADIENT;

    if (probe->kind == PROBE_SPECTRUM)
        return 2;
    return probe->kind != PROBE_LANDSCAPE ? 1 : eigen ? 2 : slope ? 1 : 0;
}

static int64_t set_batch(const struct check *check, const struct engine_job_facts *facts)
{
    const struct engine_probe *probe = check->probe;
    int64_t n = probe->split == PROBE_TEST ? facts->test_samples : facts->train_samples;
    int64_t batch = probe->batch_size ? probe->batch_size : check->job->batch_size;

    if (probe->samples > 0 && probe->samples < n)
        n = probe->samples;
    return batch < n ? batch : n;
}

/* What one convolution or other product reads and writes, the largest of all. */
static double largest_product(const struct graph *graph)
{
    double largest = 0;

    for (int i = 0; i < graph->n_nodes; i++) {
        const struct node *node = &graph->nodes[i];

        if (node->op == OP_CONV || node->op == OP_LINEAR || node->op == OP_MATMUL)
            largest =
                fmax(largest, (double)shape_elements(&graph->values[node->input[0]].shape) +
                                  (double)shape_elements(&graph->values[node->output[0]].shape));
    }
    return largest;
}

/* What a pass over a batch holds at the very least, beside its images. */
static double batch_memory(const struct check *check, const struct job_place *place,
                           const struct engine_job_facts *facts, const struct graph *graph)
{
    double batch = (double)set_batch(check, facts);
    double real = place->compute == COMPUTE_BF16 ? 2 : (double)real_bytes(place->class->real);
    double image = (double)(facts->channels * facts->height * facts->width);
    int held = held_results(check->probe);
    double results = held ? held * model_product_elements(graph) : largest_product(graph);

    return real * batch * (image + results / LOOK_BATCH);
}

static void check_rows(struct check *check, const char *pointer, double rows)
{
    if (rows > ROWS_MAX)
        problems_add(check->problems, pointer, "%.0f rows of results in all; a probe may have %d",
                     rows, ROWS_MAX);
}

/* Of the layers' own measurements. */
static double layer_rows(const struct check *check, const struct graph *graph)
{
    const struct engine_probe *probe = check->probe;
    double rows = 0;

    for (int p = 0; p < graph->n_params; p++) {
        int64_t size = shape_elements(&graph->params[p].shape);

        if (probe->layers == LAYERS_SPECTRUM)
            rows += (double)probe->runs * (double)(probe->steps < size ? probe->steps : size);
        if (probe->layers == LAYERS_TRACE)
            rows += (double)probe->trace_draws;
    }
    return rows;
}

/* A system that has promised more memory than there is would end the whole process. */
static void check_batch(struct check *check)
{
    struct engine_job_facts facts;
    struct job_place place;
    struct graph *graph;
    struct err err;
    double needed, present;

    if (engine_job_facts(check->job, &facts, &err) || !job_place(&place, check->job))
        return; /* the job's own check says why, here and below */
    struct model_input input = {.batch = LOOK_BATCH,
                                .channels = facts.channels,
                                .height = facts.height,
                                .width = facts.width,
                                .classes = facts.classes};
    if (model_forward_graph(&graph, &check->job->model, &input, true, &err))
        return;
    if (check->probe->kind == PROBE_SPECTRUM)
        check_rows(check, "/layers", layer_rows(check, graph));
    needed = batch_memory(check, &place, &facts, graph);
    present = (double)place.memory_bytes;
    graph_free(graph);
    if (needed > present)
        problems_add(check->problems, "/batch_size",
                     "a pass needs more than %.1f GiB of memory; %s has %.1f", needed / 0x1p30,
                     place.gpu ? place.name : "this machine", present / 0x1p30);
}

static void check_spectrum(struct check *check)
{
    const struct engine_probe *probe = check->probe;
    int64_t kept = probe->save_vectors ? probe->top_k : 0;

    if (probe->start == START_GIVEN && probe->runs > 1)
        problems_add(check->problems, "/runs", "a given start makes one run");
    if (probe->top_k > probe->steps)
        problems_add(check->problems, "/top_k", "%lld steps give no more than as many eigenvalues",
                     (long long)probe->steps);
    if (probe->trace == TRACE_HUTCHPP && probe->trace_draws > 0 && probe->trace_draws < 6)
        problems_add(check->problems, "/trace_draws",
                     "hutch++ needs 6 at least: two thirds for the subspace, and two for an error");
    if (probe->layers == LAYERS_TRACE && probe->trace == TRACE_HUTCHPP)
        problems_add(check->problems, "/layers", "the traces of layers are hutchinson's");
    if (probe->layers == LAYERS_TRACE && probe->trace_draws == 0)
        problems_add(check->problems, "/layers", "needs trace_draws above 0");
    if (probe->layers == LAYERS_SPECTRUM && probe->start == START_GIVEN)
        problems_add(check->problems, "/layers",
                     "a given start is of the whole Hessian, not of its blocks");
    check_vectors(check, "/steps", probe->steps + kept);
    if (probe->trace == TRACE_HUTCHPP)
        check_vectors(check, "/trace_draws", probe->trace_draws / 3 + kept);
    check_rows(check, "/runs", 2 * (double)probe->runs * (double)probe->steps);
}

static void check_axis(struct check *check, const struct probe_axis *axis, const char *name)
{
    char pointer[32];

    snprintf(pointer, sizeof pointer, "/%s/to", name);
    if (axis->points > 1 && axis->from >= axis->to)
        problems_add(check->problems, pointer, "must be above from");
    snprintf(pointer, sizeof pointer, "/%s/normalise", name);
    if (axis->direction == DIRECTION_LINE &&
        (axis->normalise == NORMALISE_FILTER || axis->normalise == NORMALISE_UNIT))
        problems_add(check->problems, pointer,
                     "a line ends at the other weights: it has its length");
}

static void check_line(struct check *check)
{
    const struct engine_probe *probe = check->probe;
    const struct probe_other *other = &probe->other;
    bool given = other->job > 0 || other->update > 0 || other->upload > 0;

    if (probe->x.direction == DIRECTION_LINE && !given)
        problems_add(check->problems, "/other", "a line needs another end");
    if (probe->x.direction != DIRECTION_LINE && given)
        problems_add(check->problems, "/other", "says nothing: x's direction is not \"line\"");
    if (other->upload > 0 && (other->job > 0 || other->update > 0))
        problems_add(check->problems, "/other/upload",
                     "the other weights are those of a checkpoint already");
    if (probe->x.direction == DIRECTION_LINE && probe->y.direction != DIRECTION_NONE)
        problems_add(check->problems, "/y/direction", "a line is the only axis");
    if (probe->y.direction == DIRECTION_LINE)
        problems_add(check->problems, "/y/direction", "a line can be the first axis only");
}

static void check_landscape(struct check *check)
{
    const struct engine_probe *probe = check->probe;
    bool two = probe->y.direction != DIRECTION_NONE;

    if (probe->x.direction == DIRECTION_NONE)
        problems_add(check->problems, "/x/direction", "the first axis needs a direction");
    if (two && probe->x.direction == DIRECTION_GRADIENT && probe->y.direction == DIRECTION_GRADIENT)
        problems_add(check->problems, "/y/direction", "is the first axis' own");
    check_axis(check, &probe->x, "x");
    if (two)
        check_axis(check, &probe->y, "y");
    check_line(check);
    if (probe->x.direction == DIRECTION_EIGENVECTOR || probe->y.direction == DIRECTION_EIGENVECTOR)
        check_vectors(check, "/steps", probe->steps);
    if (two && probe->x.points * probe->y.points > POINTS_MAX)
        problems_add(check->problems, "/y/points", "%lld points in all; a grid may have %d",
                     (long long)(probe->x.points * probe->y.points), POINTS_MAX);
}

static void check_fisher(struct check *check)
{
    struct recipe recipe;

    recipe_of(&recipe, &check->job->method);
    if (engine_probe_needs_fisher(check->probe) && !recipe.has_fisher)
        problems_add(check->problems, "/adaptive", "the job's method has no Fisher numbers");
}

static void check_radius(struct check *check)
{
    const struct engine_probe *probe = check->probe;
    int noises = probe->plain + probe->filterwise + probe->adaptive;

    if (!probe->plain && !probe->filterwise && !probe->adaptive && !probe->adversarial &&
        !probe->suggest)
        problems_add(check->problems, "/plain", "nothing is asked for");
    if (probe->points > 1 && probe->radius_min >= probe->radius_max)
        problems_add(check->problems, "/radius_max", "must be above radius_min");
    check_rows(check, "/draws", (double)noises * (double)probe->points * (double)probe->draws);
}

void probe_check_stored(const struct engine_job *job, const struct engine_probe *probe,
                        struct problems *problems)
{
    struct engine_probe resolved = *probe;
    struct check check = {job, &resolved, problems};

    engine_probe_resolve(&resolved);
    check_given(&check);
    check_fisher(&check);
    switch (resolved.kind) {
    case PROBE_SPECTRUM:
        check_spectrum(&check);
        break;
    case PROBE_LANDSCAPE:
        check_landscape(&check);
        break;
    case PROBE_RADIUS:
        check_radius(&check);
        break;
    default:
        break;
    }
    check_batch(&check);
}

void engine_probe_check(const struct engine_job *job, const struct engine_probe *probe,
                        struct problems *problems)
{
    struct engine_probe resolved = *probe;

    engine_probe_resolve(&resolved);
    probe_check_stored(job, probe, problems);
    probe_check_silent(&resolved, problems);
}
