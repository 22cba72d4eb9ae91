#include <stdlib.h>

#include "base/cleanup.h"
#include "bench.h"
#include "multiply_adds.h"
#include "random/philox.h"

struct bench {
    struct bench_options options;
    struct recipe recipe;
    struct graph *graph;
    struct layout *params, *states_layout;
    struct backend *backend;
    struct program *program[RECIPE_TERMS_MAX];
    struct vector *weights, *momentum, *fisher, *states, *gradient[RECIPE_TERMS_MAX];
    void *images[RECIPE_TERMS_MAX];
    int32_t *labels[RECIPE_TERMS_MAX];
    double result[RECIPE_TERMS_MAX][MODEL_OUTPUTS]; /* room for either type */
    uint64_t update;
};

static int open_vectors(struct bench *b, struct err *err)
{
    const struct backend_class *class = b->options.class;
    size_t n = b->params->size;
    int rc = class->vector_open(b->backend, n, &b->weights, err);

    if (!rc)
        rc = class->vector_open(b->backend, n, &b->momentum, err);
    if (!rc)
        rc = class->vector_open(b->backend, b->params->fisher_size, &b->fisher, err);
    if (!rc)
        rc = class->vector_open(b->backend, b->states_layout->size, &b->states, err);
    for (int i = 0; i < b->recipe.n_terms && !rc; i++)
        rc = class->vector_open(b->backend, n, &b->gradient[i], err);
    if (!rc)
        rc = bench_fill_vector(class, b->weights, b->graph->params, b->params, err);
    return rc ? rc : bench_fill_vector(class, b->states, b->graph->states, b->states_layout, err);
}

static int open_programs(struct bench *b, struct err *err)
{
    struct program_options options = {.exact = b->options.exact,
                                      .side_by_side = recipe_width(&b->recipe)};
    int rc = 0;

    for (int i = 0; i < options.side_by_side && !rc; i++)
        rc = b->options.class->program_open(b->backend, b->graph, b->params, b->states_layout,
                                            &options, &b->program[i], err);
    return rc;
}

int bench_open(struct bench **out, const struct bench_options *options, struct err *err)
{
    struct bench *b = calloc(1, sizeof *b);
    struct backend_options backend = {.threads = options->threads};
    int rc;

    if (!b)
        return err_no_memory(err);
    b->options = *options;
    recipe_of(&b->recipe, &options->job.method);
    rc = model_graph(&b->graph, &options->job.model, &options->input, true, err);
    if (!rc)
        rc = layout_open(&b->params, b->graph->params, b->graph->n_params, err);
    if (!rc)
        rc = layout_open(&b->states_layout, b->graph->states, b->graph->n_states, err);
    if (!rc)
        rc = options->class->open(&b->backend, &backend, err);
    if (!rc)
        rc = open_vectors(b, err);
    if (!rc)
        rc = open_programs(b, err);
    for (int i = 0; i < b->recipe.n_batches && !rc; i++)
        rc = bench_fill_batch(&b->images[i], &b->labels[i], options, i, err);
    if (rc)
        bench_close(b);
    else
        *out = b;
    return rc;
}

static void close_vectors(struct bench *b)
{
    struct vector *all[] = {b->weights, b->momentum,    b->fisher,
                            b->states,  b->gradient[0], b->gradient[1]};

    for (size_t i = 0; i < ARRAY_LENGTH(all); i++)
        b->options.class->vector_close(all[i]);
}

void bench_close(struct bench *b)
{
    if (!b)
        return;
    for (int i = 0; i < RECIPE_TERMS_MAX; i++) {
        b->options.class->program_close(b->program[i]);
        free(b->images[i]);
        free(b->labels[i]);
    }
    close_vectors(b);
    if (b->backend)
        b->options.class->close(b->backend);
    layout_close(b->params);
    layout_close(b->states_layout);
    graph_free(b->graph);
    free(b);
}

static struct perturbation perturbation_of(const struct bench *b, int term)
{
    const struct recipe_term *t = &b->recipe.term[term];
    struct perturbation p = {.kind = t->perturbation};

    if (t->perturbation == PERTURB_NOISE) {
        p.sigma = recipe_sigma(&b->options.job.method, b->update, 1000);
        p.eta = b->recipe.has_fisher ? b->options.job.method.eta : 0;
        p.fisher = b->fisher;
        p.seed = 1;
        p.update = b->update;
        p.term = (uint32_t)term;
    } else if (t->perturbation == PERTURB_DIRECTION) {
        p.rho = b->options.job.method.rho;
        p.direction = b->gradient[t->needs];
    }
    return p;
}

static int run_wave(struct bench *b, int wave, struct err *err)
{
    const void *inputs[RECIPE_TERMS_MAX][MODEL_INPUTS];
    void *outputs[RECIPE_TERMS_MAX][MODEL_OUTPUTS];
    struct pass passes[RECIPE_TERMS_MAX];
    int n = 0;

    for (int t = 0; t < b->recipe.n_terms; t++) {
        const struct recipe_term *term = &b->recipe.term[t];

        if (recipe_wave(&b->recipe, t) != wave)
            continue;
        inputs[n][MODEL_INPUT_IMAGES] = b->images[term->batch];
        inputs[n][MODEL_INPUT_LABELS] = b->labels[term->batch];
        for (int o = 0; o < MODEL_OUTPUTS; o++)
            outputs[n][o] = &b->result[t][o];
        passes[n] = (struct pass){.program = b->program[n],
                                  .weights = b->weights,
                                  .perturbation = perturbation_of(b, t),
                                  .draws = {1, b->update, (uint32_t)t},
                                  .states = b->states,
                                  .move_statistics = term->move_statistics,
                                  .statistics_momentum = 0.1,
                                  .inputs = inputs[n],
                                  .outputs = outputs[n],
                                  .gradient = b->gradient[t]};
        n++;
    }
    return b->options.class->execute(b->backend, passes, n, err);
}

int bench_update(struct bench *b, struct err *err)
{
    struct gradient_term terms[RECIPE_TERMS_MAX];
    struct step step = {.layout = b->params,
                        .weights = b->weights,
                        .momentum_vector = b->momentum,
                        .number = b->update + 1,
                        .fisher = b->fisher,
                        .terms = terms,
                        .lr = 0.01,
                        .momentum = b->options.job.optimizer.momentum,
                        .weight_decay = b->options.job.optimizer.weight_decay,
                        .beta = b->options.job.method.beta};
    int rc = 0;

    for (int wave = 0; wave < recipe_waves(&b->recipe) && !rc; wave++)
        rc = run_wave(b, wave, err);
    for (int t = 0; t < b->recipe.n_terms; t++) {
        const struct recipe_term *term = &b->recipe.term[t];

        if (term->weight != 0 || term->feeds_fisher)
            terms[step.n_terms++] =
                (struct gradient_term){b->gradient[t], term->weight, term->feeds_fisher};
    }
    if (!rc)
        rc = b->options.class->step(b->backend, &step, err);
    b->update++;
    return rc;
}

bool bench_program(const struct bench *b, int i, struct program **out)
{
    if (i >= RECIPE_TERMS_MAX || !b->program[i])
        return false;
    *out = b->program[i];
    return true;
}

double bench_gflop(const struct bench *b)
{
    double work = 0;

    for (int i = 0; i < b->graph->n_nodes; i++)
        work += multiply_adds(b->graph, &b->graph->nodes[i]);
    return 2e-9 * work * recipe_gradients(&b->recipe);
}

double bench_loss(const struct bench *b)
{
    const double *raw = &b->result[b->recipe.loss_term][MODEL_OUTPUT_LOSS];

    return b->options.class->real == REAL_F32 ? (double)*(const float *)(const void *)raw : *raw;
}
