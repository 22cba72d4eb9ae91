/* Seconds that a product with the exact Hessian takes beside a gradient of the same loss: with the
 * primal kept, and from scratch. The three are measured in turns, so that a noisy machine is as
 * noisy to each; the least time of each counts. One JSON line. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "backend/cpu/profile.h"
#include "base/clock.h"
#include "bench.h"
#include "job/tables.h"

enum { GRADIENT, KEPT, SCRATCH, WAYS };

static const char *const ways[] = {"gradient", "product_kept", "product_scratch"};

struct best {
    double seconds, processor;
};

struct bench {
    const struct bench_options *options;
    struct graph *slope, *curvature;
    struct layout *params, *states_layout;
    struct backend *backend;
    struct program *program[2]; /* the gradient's and the product's */
    struct vector *weights, *states, *direction, *to;
    void *images;
    int32_t *labels;
    double result[MODEL_OUTPUTS]; /* room for either type */
    struct best best[WAYS];
};

static double processor_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int open_graphs(struct bench *b, struct err *err)
{
    const struct bench_options *o = b->options;
    int rc = model_slope_graph(&b->slope, &o->job.model, &o->input, false, err);

    if (!rc)
        rc = model_curvature_graph(&b->curvature, &o->job.model, &o->input, false, err);
    if (!rc)
        rc = layout_open(&b->params, b->slope->params, b->slope->n_params, err);
    return rc ? rc : layout_open(&b->states_layout, b->slope->states, b->slope->n_states, err);
}

static int open_programs(struct bench *b, struct err *err)
{
    const struct backend_class *class = b->options->class;
    struct program_options options = {.exact = true, .side_by_side = 1};
    int rc = class->program_open(b->backend, b->slope, b->params, b->states_layout, &options,
                                 &b->program[0], err);

    options.keep_primal = true;
    return rc ? rc
              : class->program_open(b->backend, b->curvature, b->params, b->states_layout, &options,
                                    &b->program[1], err);
}

static int open_vectors(struct bench *b, struct err *err)
{
    const struct backend_class *class = b->options->class;
    struct vector **all[] = {&b->weights, &b->direction, &b->to};
    int rc = class->vector_open(b->backend, b->states_layout->size, &b->states, err);

    for (int i = 0; i < 3 && !rc; i++)
        rc = class->vector_open(b->backend, b->params->size, all[i], err);
    for (int i = 0; i < 2 && !rc; i++) /* any direction will do: the weights */
        rc = bench_fill_vector(class, *all[i], b->slope->params, b->params, err);
    return rc ? rc : bench_fill_vector(class, b->states, b->slope->states, b->states_layout, err);
}

static int open_all(struct bench *b, struct err *err)
{
    struct backend_options options = {.threads = b->options->threads};
    int rc = open_graphs(b, err);

    if (!rc)
        rc = b->options->class->open(&b->backend, &options, err);
    if (!rc)
        rc = open_vectors(b, err);
    if (!rc)
        rc = open_programs(b, err);
    return rc ? rc : bench_fill_batch(&b->images, &b->labels, b->options, 0, err);
}

static void close_all(struct bench *b)
{
    const struct backend_class *class = b->options->class;
    struct vector *all[] = {b->weights, b->states, b->direction, b->to};

    for (int i = 0; i < 2; i++)
        class->program_close(b->program[i]);
    for (int i = 0; i < 4; i++)
        class->vector_close(all[i]);
    if (b->backend)
        class->close(b->backend);
    layout_close(b->params);
    layout_close(b->states_layout);
    graph_free(b->slope);
    graph_free(b->curvature);
    free(b->images);
    free(b->labels);
}

static int run_once(struct bench *b, int way, struct err *err)
{
    const void *inputs[] = {[MODEL_INPUT_IMAGES] = b->images, [MODEL_INPUT_LABELS] = b->labels};
    void *outputs[MODEL_OUTPUTS];
    struct pass pass = {.program = b->program[way != GRADIENT],
                        .weights = b->weights,
                        .states = b->states,
                        .inputs = inputs,
                        .outputs = outputs,
                        .gradient = way == GRADIENT ? b->to : NULL,
                        .direction = way == GRADIENT ? NULL : b->direction,
                        .product = way == GRADIENT ? NULL : b->to,
                        .primal_kept = way == KEPT};

    for (int i = 0; i < MODEL_OUTPUTS; i++)
        outputs[i] = &b->result[i];
    return b->options->class->execute(b->backend, &pass, 1, err);
}

static int measure_once(struct bench *b, int way, struct err *err)
{
    double start = clock_seconds(), used = processor_seconds();
    struct best *best = &b->best[way];
    int rc = run_once(b, way, err);

    best->seconds = fmin(best->seconds, clock_seconds() - start);
    best->processor = fmin(best->processor, processor_seconds() - used);
    return rc;
}

/* From scratch comes before the kept one, which needs what it leaves. */
static int measure(struct bench *b, struct err *err)
{
    static const int order[] = {GRADIENT, SCRATCH, KEPT};
    int rc = 0;

    for (int i = -b->options->warm; i < b->options->updates && !rc; i++) {
        if (i == 0 && b->options->profile && b->options->class == &backend_cpu)
            rc = cpu_profile_start(b->program[1], err);
        if (i <= 0)
            for (int way = 0; way < WAYS; way++)
                b->best[way] = (struct best){INFINITY, INFINITY};
        for (int k = 0; k < WAYS && !rc; k++)
            rc = measure_once(b, order[k], err);
    }
    return rc;
}

static void print_result(const struct bench *b)
{
    const struct bench_options *o = b->options;
    const struct job_model *model = &o->job.model;
    const struct best *unit = &b->best[GRADIENT];

    printf("{\"model\":\"%s\",\"width\":%lld,\"batch\":%lld,\"image\":[%lld,%lld,%lld],"
           "\"backend\":\"%s\",\"threads\":%d,\"rounds\":%d",
           job_model_kinds[model->kind].name, (long long)model->width, (long long)o->input.batch,
           (long long)o->input.channels, (long long)o->input.height, (long long)o->input.width,
           o->class->name, o->threads, o->updates);
    for (int way = 0; way < WAYS; way++)
        printf(",\"%s\":{\"seconds_min\":%.6g,\"processor_min\":%.6g,\"gradients\":%.4g,"
               "\"gradients_of_processor\":%.4g}",
               ways[way], b->best[way].seconds, b->best[way].processor,
               b->best[way].seconds / unit->seconds, b->best[way].processor / unit->processor);
    puts("}");
}

static void print_profile(const struct bench *b)
{
    struct cpu_profile_row row;

    for (int i = 0; cpu_profile_row(b->program[1], i, &row); i++) {
        printf("{\"what\":\"%s\",\"algorithm\":\"%s\",\"shape\":[", row.what,
               row.algorithm ? row.algorithm : "");
        for (int k = 0; k < row.shape.rank; k++)
            printf("%s%lld", k ? "," : "", (long long)row.shape.dim[k]);
        printf("],\"ms\":%.4f}\n", row.seconds / b->options->updates * 1e3);
    }
}

int main(int argc, char **argv)
{
    struct bench_options options;
    struct bench bench = {.options = &options};
    struct err err = {0};
    int rc = bench_options_read(&options, argc, argv, &err);

    if (rc) {
        fprintf(stderr, "bench_product: %s\n%s", err.message, bench_usage);
        return 2;
    }
    rc = open_all(&bench, &err);
    if (!rc)
        rc = measure(&bench, &err);
    if (rc)
        fprintf(stderr, "bench_product: %s\n", err.message);
    else
        print_result(&bench);
    if (!rc && options.profile && options.class == &backend_cpu)
        print_profile(&bench);
    close_all(&bench);
    return rc ? 1 : 0;
}
