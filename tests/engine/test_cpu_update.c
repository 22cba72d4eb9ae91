/* What the CPU backend does around a pass: perturbed weights and steps against the reference
 * backend, two passes side by side, and the same bits every time. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "cpu_compare.h"
#include "model/model.h"

#define TOLERANCE 2e-6

static const struct init uniform = {INIT_UNIFORM, 1};

/* Tensors of many sizes, given back as a pass sees them; the second is large enough for threads. */
static struct graph *tensors_graph(void)
{
    struct graph *g = graph_new(true);

    graph_output(g, graph_param(g, shape_of(4, (int64_t)3, (int64_t)2, (int64_t)3, (int64_t)3),
                                uniform, "small"));
    graph_output(g, graph_param(g, shape_of(4, (int64_t)200, (int64_t)96, (int64_t)3, (int64_t)3),
                                uniform, "large.weight"));
    graph_output(g, graph_param(g, shape_of(1, (int64_t)33), uniform, "scale"));
    graph_output(g,
                 graph_param(g, shape_of(2, (int64_t)10, (int64_t)21), uniform, "linear.weight"));
    return g;
}

static struct vector *open_vector(const struct trial *t, uint64_t seed, double low, size_t n)
{
    double *values = malloc((n + 1) * sizeof *values);
    struct vector *vector;

    assert_non_null(values);
    fill_uniform(seed, low, 1, values, n);
    assert_ok(t->class->vector_open(t->backend, n, &vector, err));
    device_write(t->class, vector, values, n);
    free(values);
    return vector;
}

/* The same on each backend: gaps of a layout stay zero. */
static struct vector *open_like_weights(const struct trial *t, uint64_t seed, double low)
{
    double *values = calloc(t->params->size, sizeof *values);
    struct vector *vector;

    assert_non_null(values);
    for (int i = 0; i < t->params->n; i++) {
        const struct layout_tensor *tensor = &t->params->tensor[i];
        fill_uniform(seed + (uint64_t)i, low, 1, values + tensor->offset, tensor->size);
    }
    assert_ok(t->class->vector_open(t->backend, t->params->size, &vector, err));
    device_write(t->class, vector, values, t->params->size);
    free(values);
    return vector;
}

struct pair {
    struct graph *graph;
    struct trial *want, *got;
};

static struct pair open_pair(int threads)
{
    struct support_options options = {.threads = threads};
    struct pair pair = {.graph = tensors_graph()};

    pair.want = trial_open(pair.graph, &backend_reference, NULL);
    pair.got = trial_open(pair.graph, &backend_cpu, &options);
    trial_fill(pair.want, 21);
    trial_fill(pair.got, 21);
    return pair;
}

static void close_pair(struct pair *pair)
{
    trial_close(pair->want);
    trial_close(pair->got);
    graph_free(pair->graph);
}

static void compare_weights(const struct pair *pair)
{
    trial_run(pair->want);
    trial_run(pair->got);
    for (int i = 0; i < pair->graph->n_outputs; i++)
        assert_close(pair->graph->params[i].name, pair->got->output[i], pair->want->output[i],
                     trial_output_size(pair->got, i), TOLERANCE);
}

static void noise(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 2; threads++) {
        struct pair pair = open_pair(threads);
        struct trial *both[] = {pair.want, pair.got};

        for (int i = 0; i < 2; i++)
            both[i]->perturbation = (struct perturbation){.kind = PERTURB_NOISE,
                                                          .sigma = 0.15,
                                                          .seed = 0xabcdef0123456789,
                                                          .update = (uint64_t)1 << 33};
        compare_weights(&pair);
        for (int i = 0; i < 2; i++) {
            both[i]->perturbation.eta = 0.1;
            both[i]->perturbation.term = 1;
            both[i]->perturbation.fisher = open_vector(both[i], 4, 0, both[i]->params->fisher_size);
        }
        compare_weights(&pair);
        for (int i = 0; i < 2; i++)
            both[i]->class->vector_close((struct vector *)(uintptr_t)both[i]->perturbation.fisher);
        close_pair(&pair);
    }
}

static void ascent(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 2; threads++) {
        struct pair pair = open_pair(threads);
        struct trial *both[] = {pair.want, pair.got};
        struct vector *direction[2];

        for (int i = 0; i < 2; i++) {
            direction[i] = open_like_weights(both[i], 60, -1);
            both[i]->perturbation = (struct perturbation){
                .kind = PERTURB_DIRECTION, .rho = 0.5, .direction = direction[i]};
        }
        compare_weights(&pair);
        for (int i = 0; i < 2; i++) {
            both[i]->perturbation.kind = PERTURB_SCALED_DIRECTION;
            both[i]->perturbation.eta = 0.01;
        }
        compare_weights(&pair);
        for (int i = 0; i < 2; i++)
            both[i]->class->vector_close(direction[i]);
        close_pair(&pair);
    }
}

enum { WEIGHTS, MOMENTUM, SQUARES, FISHER, CLEAN, NOISY, VECTORS };

static const struct rule {
    enum step_rule rule;
    bool nesterov;
    double clip_norm; /* the mixed gradient's norm is above 100 */
} rules[] = {{STEP_SGD, false, 0},    {STEP_SGD, true, 0},   {STEP_SGD, false, 3},
             {STEP_SGD, false, 1e6},  {STEP_ADAM, false, 0}, {STEP_ADAM, false, 3},
             {STEP_ADAMW, false, 0.5}};

static void take_steps(const struct trial *t, struct vector *const *v, const struct rule *rule,
                       int n)
{
    struct gradient_term terms[] = {{v[CLEAN], 0.25, false}, {v[NOISY], 0.75, true}};
    struct step step = {.rule = rule->rule,
                        .layout = t->params,
                        .weights = v[WEIGHTS],
                        .momentum_vector = v[MOMENTUM],
                        .squares = v[SQUARES],
                        .nesterov = rule->nesterov,
                        .clip_norm = rule->clip_norm,
                        .beta1 = 0.9,
                        .beta2 = 0.99,
                        .eps = 1e-8,
                        .fisher = v[FISHER],
                        .terms = terms,
                        .n_terms = 2,
                        .lr = 0.1,
                        .momentum = 0.9,
                        .weight_decay = 1e-3,
                        .beta = 0.99};

    for (int i = 0; i < n; i++) {
        step.number = (uint64_t)i + 1;
        assert_ok(t->class->step(t->backend, &step, err));
    }
}

static void compare_vector(const char *what, const struct pair *pair, const struct vector *got,
                           const struct vector *want, size_t n)
{
    double *a = malloc(n * sizeof *a), *b = malloc(n * sizeof *b);

    device_read(pair->got->class, got, a, n);
    device_read(pair->want->class, want, b, n);
    assert_close(what, a, b, n, TOLERANCE);
    free(a);
    free(b);
}

static void compare_steps(const struct rule *rule, int threads)
{
    struct pair pair = open_pair(threads);
    struct trial *both[] = {pair.want, pair.got};
    struct vector *v[2][VECTORS];
    size_t size = pair.got->params->size, fisher = pair.got->params->fisher_size;

    for (int i = 0; i < 2; i++) {
        for (uint64_t k = 0; k < VECTORS; k++)
            v[i][k] = k == FISHER
                          ? open_vector(both[i], 9, 0, fisher)
                          : open_like_weights(both[i], 100 * (k + 1), k == SQUARES ? 0 : -1);
        take_steps(both[i], v[i], rule, 3);
    }
    compare_vector("weights", &pair, v[1][WEIGHTS], v[0][WEIGHTS], size);
    compare_vector("momentum", &pair, v[1][MOMENTUM], v[0][MOMENTUM], size);
    compare_vector("mean squares", &pair, v[1][SQUARES], v[0][SQUARES], size);
    compare_vector("Fisher numbers", &pair, v[1][FISHER], v[0][FISHER], fisher);
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < VECTORS; k++)
            both[i]->class->vector_close(v[i][k]);
    close_pair(&pair);
}

static void steps(void **state)
{
    (void)state;
    for (size_t r = 0; r < ARRAY_LENGTH(rules); r++)
        for (int threads = 1; threads <= 2; threads++)
            compare_steps(&rules[r], threads);
}

/* A gradient that nobody wants is not missed: the loss and the statistics are the same bits. */
static void pass_without_gradient(void **state)
{
    struct job_model model = {.kind = MODEL_RESNET, .width = 8, .blocks = {2, {1, 1}}};
    struct model_input input = {12, 1, 8, 8, 10};
    struct graph *with, *without;
    struct trial *a, *b;

    (void)state;
    assert_ok(model_graph(&with, &model, &input, true, err));
    assert_ok(model_forward_graph(&without, &model, &input, true, err));
    a = trial_open(with, &backend_cpu, NULL);
    b = trial_open(without, &backend_cpu, NULL);
    a->move_statistics = b->move_statistics = true;
    trial_fill(a, 2);
    trial_fill(b, 2);
    trial_run(a);
    trial_run(b);
    assert_true(a->output[MODEL_OUTPUT_LOSS][0] == b->output[MODEL_OUTPUT_LOSS][0]);
    assert_memory_equal(a->state, b->state, a->states->size * sizeof *a->state);
    trial_close(a);
    trial_close(b);
    graph_free(with);
    graph_free(without);
}

/* The whole of a ResNet-18, quarter width: each gradient, statistic and the loss. */
static void resnet18_gradient(void **state)
{
    struct job_model model = {.kind = MODEL_RESNET18, .width = 16, .blocks = {4, {2, 2, 2, 2}}};
    struct model_input input = {4, 3, 32, 32, 10};
    struct graph *g;

    (void)state;
    assert_ok(model_graph(&g, &model, &input, true, err));
    compare_all_ways("resnet18", g, 5, 1e-3, 1e-3);
    graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(noise),
        cmocka_unit_test(ascent),
        cmocka_unit_test(steps),
        cmocka_unit_test(pass_without_gradient),
        cmocka_unit_test(resnet18_gradient),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
