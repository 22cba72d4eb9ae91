/* What changes weights: materialise against reference.md's formulas written out element by
 * element, steps against numbers worked out by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "random/philox.h"
#include "support.h"

static const struct init uniform = {INIT_UNIFORM, 1};

/* Four tensors, given back as a pass sees them. Sizes that are no multiples of four. */
static struct graph *tensors_graph(void)
{
    struct graph *g = graph_new(true);

    graph_output(g, graph_param(g, shape_of(4, (int64_t)3, (int64_t)2, (int64_t)3, (int64_t)3),
                                uniform, "conv"));
    graph_output(g, graph_param(g, shape_of(1, (int64_t)7), uniform, "scale"));
    graph_output(g, graph_param(g, shape_of(2, (int64_t)5, (int64_t)3), uniform, "linear"));
    graph_output(g, graph_param(g, shape_of(1, (int64_t)5), uniform, "zero"));
    return g;
}

static struct trial *open_tensors(struct graph **g)
{
    const struct layout_tensor *zero;
    struct trial *t;

    *g = tensors_graph();
    t = trial_open(*g, &backend_reference, NULL);
    trial_fill(t, 21);
    zero = &t->params->tensor[3];
    memset(t->weights + zero->offset, 0, zero->size * sizeof *t->weights);
    return t;
}

static struct vector *open_vector(const struct trial *t, const double *values, size_t n)
{
    struct vector *vector;

    assert_ok(t->class->vector_open(t->backend, n, &vector, err));
    if (values)
        device_write(t->class, vector, values, n);
    return vector;
}

/* Element e of a tensor's noise. */
static double normal_at(const struct perturbation *p, uint32_t tensor, size_t e)
{
    struct philox draw =
        philox(p->seed, (uint32_t)(e / 4), 5u << 24 | p->term << 16 | tensor, p->update);
    size_t pair = e % 4 / 2;
    double radius = sqrt(-2 * log(random_unit(draw.word[2 * pair])));
    double angle = 2 * acos(-1) * (draw.word[2 * pair + 1] >> 8) / 16777216.0;

    return e % 2 ? radius * sin(angle) : radius * cos(angle);
}

static double norm_of(const double *x, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    return sqrt(sum);
}

/* w + ε of one tensor. `fisher` are its own numbers. */
static void want_noise(const struct perturbation *p, uint32_t tensor, const struct shape *shape,
                       const double *w, const double *fisher, double *want)
{
    size_t n = (size_t)shape_elements(shape), filter = n / (size_t)shape->dim[0];

    for (size_t e = 0; e < n; e++) {
        size_t i = e / filter; /* of one-dimensional tensors: the element */
        double norm = shape->rank > 1 ? norm_of(w + i * filter, filter) : norm_of(w, n) + 1e-16;
        want[e] = w[e] + normal_at(p, tensor, e) * p->sigma * norm / sqrt(1 + p->eta * fisher[i]);
    }
}

static void check_noise(struct trial *t, const double *fisher)
{
    trial_run(t);
    for (int i = 0; i < t->graph->n_params; i++) {
        const struct layout_tensor *tensor = &t->params->tensor[i];
        double want[64];
        want_noise(&t->perturbation, (uint32_t)i, &t->graph->params[i].shape,
                   t->weights + tensor->offset, fisher + tensor->fisher_offset, want);
        assert_close(t->graph->params[i].name, t->output[i], want, tensor->size, 1e-13);
    }
}

static void noise_is_by_filter(void **state)
{
    struct graph *g;
    struct trial *t = open_tensors(&g);
    double fisher[64], first[64], *weights;
    struct vector *device_fisher;

    (void)state;
    fill_uniform(5, 0, 40, fisher, t->params->fisher_size);
    device_fisher = open_vector(t, fisher, t->params->fisher_size);
    t->perturbation = (struct perturbation){
        .kind = PERTURB_NOISE, .sigma = 0.15, .seed = 0xabcdef0123456789, .update = 41, .term = 0};
    check_noise(t, fisher); /* eta 0: no accumulator needed */
    memcpy(first, t->output[0], 54 * sizeof *first);
    t->perturbation.eta = 0.1;
    t->perturbation.fisher = device_fisher;
    check_noise(t, fisher);
    assert_memory_not_equal(first, t->output[0], 54 * sizeof *first);
    t->perturbation.term = 1;
    t->perturbation.update = (uint64_t)1 << 40;
    check_noise(t, fisher);
    assert_true(norm_of(t->output[3], 5) < 1e-15);

    weights = malloc(t->params->size * sizeof *weights);
    device_read(t->class, t->device_weights, weights, t->params->size);
    assert_memory_equal(weights, t->weights, t->params->size * sizeof *weights);
    free(weights);
    t->class->vector_close(device_fisher);
    trial_close(t);
    graph_free(g);
}

/* One norm over all tensors together. */
static void ascent_has_one_norm(void **state)
{
    struct graph *g;
    struct trial *t = open_tensors(&g);
    double direction[256] = {0}, sum = 0;
    struct vector *device_direction;

    (void)state;
    for (int i = 0; i < g->n_params; i++) {
        const struct layout_tensor *tensor = &t->params->tensor[i];
        fill_uniform(90 + (uint64_t)i, -1, 1, direction + tensor->offset, tensor->size);
        for (size_t j = 0; j < tensor->size; j++)
            sum += pow(direction[tensor->offset + j], 2);
    }
    device_direction = open_vector(t, direction, t->params->size);
    t->perturbation =
        (struct perturbation){.kind = PERTURB_DIRECTION, .rho = 0.5, .direction = device_direction};
    trial_run(t);
    for (int i = 0; i < g->n_params; i++) {
        const struct layout_tensor *tensor = &t->params->tensor[i];
        double want[64];
        for (size_t j = 0; j < tensor->size; j++)
            want[j] = t->weights[tensor->offset + j] +
                      0.5 * direction[tensor->offset + j] / (sqrt(sum) + 1e-12);
        assert_close(g->params[i].name, t->output[i], want, tensor->size, 1e-14);
    }
    t->class->vector_close(device_direction);
    trial_close(t);
    graph_free(g);
}

/* A gradient of 0 leads nowhere instead of to NaN. */
static void ascent_along_nothing(void **state)
{
    struct graph *g;
    struct trial *t = open_tensors(&g);
    struct vector *nothing = open_vector(t, NULL, t->params->size);

    (void)state;
    t->perturbation =
        (struct perturbation){.kind = PERTURB_DIRECTION, .rho = 0.5, .direction = nothing};
    trial_run(t);
    assert_memory_equal(t->output[0], t->weights, 54 * sizeof *t->weights);
    t->class->vector_close(nothing);
    trial_close(t);
    graph_free(g);
}

/* The same pass gives the same bits, and another pass between does not matter. */
static void noise_repeats(void **state)
{
    struct graph *g;
    struct trial *t = open_tensors(&g);
    double first[54];

    (void)state;
    t->perturbation = (struct perturbation){.kind = PERTURB_NOISE, .sigma = 0.1, .update = 3};
    trial_run(t);
    memcpy(first, t->output[0], sizeof first);
    t->perturbation.update = 4;
    trial_run(t);
    assert_memory_not_equal(first, t->output[0], sizeof first);
    t->perturbation.update = 3;
    trial_run(t);
    assert_memory_equal(first, t->output[0], sizeof first);
    trial_close(t);
    graph_free(g);
}

/* A tensor of two filters, w = (1 2), (3 4), and one of one dimension, w = (5 6). */
struct small {
    struct trial *trial;
    struct graph *graph;
    struct vector *weights, *momentum, *fisher, *perturbed, *clean;
    struct gradient_term terms[2];
    struct step step;
};

#define PLACE 16 /* of the second tensor: LAYOUT_ALIGN */
#define SIZE  32

static void open_small(struct small *s)
{
    static const double w[SIZE] = {1, 2, 3, 4, [PLACE] = 5, 6};
    static const double g1[SIZE] = {0.5, -1, 2, 0, [PLACE] = 1, -2};
    static const double g0[SIZE] = {1, 1, 1, 1, [PLACE] = 1, 1};

    s->graph = graph_new(true);
    graph_param(s->graph, shape_of(4, (int64_t)2, (int64_t)1, (int64_t)1, (int64_t)2), uniform,
                "filters");
    graph_param(s->graph, shape_of(1, (int64_t)2), uniform, "elements");
    s->trial = trial_open(s->graph, &backend_reference, NULL);
    assert_int_equal(s->trial->params->size, SIZE);
    s->weights = open_vector(s->trial, w, SIZE);
    s->momentum = open_vector(s->trial, NULL, SIZE);
    s->fisher = open_vector(s->trial, NULL, 4);
    s->perturbed = open_vector(s->trial, g1, SIZE);
    s->clean = open_vector(s->trial, g0, SIZE);
    s->terms[0] = (struct gradient_term){s->perturbed, 0.25, true};
    s->terms[1] = (struct gradient_term){s->clean, 0.75, false};
    s->step = (struct step){.layout = s->trial->params,
                            .weights = s->weights,
                            .momentum_vector = s->momentum,
                            .fisher = s->fisher,
                            .terms = s->terms,
                            .n_terms = 2,
                            .lr = 0.5,
                            .momentum = 0.9,
                            .weight_decay = 0.1,
                            .beta = 0.5};
}

static void close_small(struct small *s)
{
    struct vector *vectors[] = {s->weights, s->momentum, s->fisher, s->perturbed, s->clean};

    for (size_t i = 0; i < ARRAY_LENGTH(vectors); i++)
        s->trial->class->vector_close(vectors[i]);
    trial_close(s->trial);
    graph_free(s->graph);
}

static void take_step(struct small *s)
{
    assert_ok(s->trial->class->step(s->trial->backend, &s->step, err));
}

static void check_vector(const struct small *s, const char *what, const struct vector *vector,
                         const double *want, size_t n)
{
    double got[SIZE];

    device_read(s->trial->class, vector, got, n);
    assert_close(what, got, want, n, 1e-14);
    for (size_t i = 0; i < n; i++)
        if (want[i] == 0)
            assert_true(got[i] == 0);
}

static void two_steps_by_hand(void **state)
{
    /* d = 0.25·g₁ + 0.75·g₀ + 0.1·w, which the first momentum is */
    static const double m1[SIZE] = {0.975, 0.7, 1.55, 1.15, [PLACE] = 1.5, 0.85};
    static const double w1[SIZE] = {0.5125, 1.65, 2.225, 3.425, [PLACE] = 4.25, 5.575};
    static const double f1[] = {0.25 + 1, 4 + 0, 1, 4};
    /* m = 0.9·m1 + d */
    static const double m2[SIZE] = {1.80375, 1.295, 2.8675, 2.1275, [PLACE] = 2.775, 1.5725};
    static const double w2[SIZE] = {-0.389375, 1.0025, 0.79125, 2.36125, [PLACE] = 2.8625, 4.78875};
    static const double f2[] = {1.875, 6, 1.5, 6};
    struct small s;

    (void)state;
    open_small(&s);
    take_step(&s);
    check_vector(&s, "first momentum", s.momentum, m1, SIZE);
    check_vector(&s, "weights", s.weights, w1, SIZE);
    check_vector(&s, "Fisher numbers", s.fisher, f1, 4);
    take_step(&s);
    check_vector(&s, "second momentum", s.momentum, m2, SIZE);
    check_vector(&s, "weights", s.weights, w2, SIZE);
    check_vector(&s, "Fisher numbers", s.fisher, f2, 4);
    close_small(&s);
}

/* SGD: one term, no accumulator. */
static void plain_step_by_hand(void **state)
{
    static const double w[SIZE] = {0.75, 2.5, 2, 4, [PLACE] = 4.5, 7};
    struct small s;

    (void)state;
    open_small(&s);
    s.terms[0].weight = 1;
    s.terms[0].feeds_fisher = false;
    s.step.n_terms = 1;
    s.step.fisher = NULL;
    s.step.weight_decay = 0;
    take_step(&s);
    check_vector(&s, "weights", s.weights, w, SIZE);
    close_small(&s);
}

static void wrong_steps_are_refused(void **state)
{
    struct small s;

    (void)state;
    open_small(&s);
    s.step.fisher = NULL;
    assert_refused(s.trial->class->step(s.trial->backend, &s.step, err), ERR_INVALID,
                   "term 0 feeds an accumulator that is missing");
    s.step.fisher = s.weights;
    assert_refused(s.trial->class->step(s.trial->backend, &s.step, err), ERR_INVALID,
                   "a vector does not have the layout's size");
    close_small(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(noise_is_by_filter),      cmocka_unit_test(ascent_has_one_norm),
        cmocka_unit_test(ascent_along_nothing),    cmocka_unit_test(noise_repeats),
        cmocka_unit_test(two_steps_by_hand),       cmocka_unit_test(plain_step_by_hand),
        cmocka_unit_test(wrong_steps_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
