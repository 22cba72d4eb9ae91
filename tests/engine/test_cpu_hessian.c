/* The exact Hessian-vector product of the CPU backend: against PyTorch's double backward, against
 * the reference backend on nets large enough for each of its paths, and against itself to the bit,
 * whatever was run before and whether the primal was kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "cpu_products.h"
#include "golden_hessian.h"
#include "job/tables.h"
#include "model/model.h"

#define TOLERANCE          1e-4
#define SYMMETRY_TOLERANCE 1e-5

static void hessians_of_nets(void **state)
{
    (void)state;
    for (const struct cpu_way *way = cpu_ways; way->name; way++)
        for (int keep = 0; keep < 2; keep++) {
            struct support_options options = exact_options(way, keep);

            golden_hessians_check(way->class, &options, TOLERANCE);
        }
}

static void products_of_models(void **state)
{
    (void)state;
    for (const struct cpu_way *way = cpu_ways; way->name; way++) {
        struct support_options options = exact_options(way, true);

        golden_products_check(way->class, &options, TOLERANCE, SYMMETRY_TOLERANCE);
    }
}

/* Sizes that reach what the golden ones do not: blocks of channels, whole and broken, several
 * threads, images and batches that are no multiple of anything, a batch of one. */
static const struct net {
    struct job_model model;
    struct model_input input;
    bool batch_statistics;
} nets[] = {
    {{.kind = MODEL_RESNET, .width = 8, .blocks = {3, {1, 1, 1}}}, {30, 1, 8, 8, 10}, false},
    {{.kind = MODEL_RESNET, .width = 12, .blocks = {2, {2, 1}}}, {3, 3, 17, 17, 7}, false},
    {{.kind = MODEL_RESNET, .width = 33, .blocks = {2, {1, 2}}}, {1, 2, 6, 10, 3}, false},
    {{.kind = MODEL_RESNET, .width = 64, .blocks = {2, {1, 1}}}, {5, 3, 6, 6, 5}, false},
    {{.kind = MODEL_RESNET, .width = 24, .blocks = {2, {1, 1}}}, {33, 2, 6, 10, 3}, true},
    {{.kind = MODEL_RESNET50, .width = 8, .blocks = {3, {1, 1, 1}}, .stem = STEM_IMAGENET},
     {5, 3, 33, 21, 5},
     false},
    {{.kind = MODEL_PRERESNET, .width = 6, .depth = 20}, {6, 3, 9, 7, 5}, false},
    {{.kind = MODEL_VGG16_BN, .width = 3}, {5, 3, 37, 32, 5}, false},
    {{.kind = MODEL_VGG16_BN, .width = 2}, {3, 1, 32, 32, 5}, true},
    {{.kind = MODEL_WRN, .depth = 16, .widen = 1}, {6, 3, 9, 7, 5}, false},
    {{.kind = MODEL_WRN, .depth = 10, .widen = 2}, {18, 1, 8, 8, 3}, true},
    {{.kind = MODEL_VIT, .patch = 8, .width = 96, .depth = 1, .heads = 3, .mlp = 101},
     {7, 3, 32, 32, 5},
     false},
};

static struct graph *graph_of(const struct net *net)
{
    struct graph *g = NULL;

    assert_ok(model_curvature_graph(&g, &net->model, &net->input, net->batch_statistics, err));
    return g;
}

static const char *name_of(const struct net *net, char out[100])
{
    snprintf(out, 100, "%s of width %d, %d samples%s", job_model_kinds[net->model.kind].name,
             (int)net->model.width, (int)net->input.batch, net->batch_statistics ? ", batch" : "");
    return out;
}

static void products_as_of_the_reference(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(nets); i++) {
        struct graph *g = graph_of(&nets[i]);
        char name[100];

        compare_products(name_of(&nets[i], name), g, i % 2);
        graph_free(g);
    }
}

/* What a pass gave. */
struct results {
    size_t n, n_outputs;
    double *product, *gradient;
    double loss;
};

static double *copy_of(const double *from, size_t n)
{
    double *copy = malloc((n + 1) * sizeof *copy);

    assert_non_null(copy);
    return memcpy(copy, from, n * sizeof *copy);
}

static struct results run(struct trial *t)
{
    trial_run(t);
    return (struct results){.n = t->params->size,
                            .product = copy_of(t->product, t->params->size),
                            .gradient = copy_of(t->gradient, t->params->size),
                            .loss = t->output[0][0]};
}

static void assert_same(const char *what, const struct results *want, struct results got)
{
    if (memcmp(want->product, got.product, want->n * sizeof *want->product) != 0)
        fail_msg("%s: the product differs", what);
    if (memcmp(want->gradient, got.gradient, want->n * sizeof *want->gradient) != 0)
        fail_msg("%s: the gradient differs", what);
    if (memcmp(&want->loss, &got.loss, sizeof got.loss) != 0)
        fail_msg("%s: the loss differs", what);
    free(got.product);
    free(got.gradient);
}

/* Other directions and other programs of the same backend come between. */
static void check_bits(const struct net *net, int threads, const char *name)
{
    struct support_options keep = {.threads = threads, .exact = true, .keep_primal = true};
    struct support_options plain = {.threads = threads, .exact = true};
    struct graph *g = graph_of(net);
    struct trial *t = trial_open(g, &backend_cpu, &keep), *other;
    struct results want, moved;
    double *direction;

    fill_mildly(t, 1);
    want = run(t);
    assert_same(name, &want, run(t));
    t->primal_kept = true;
    assert_same(name, &want, run(t));
    direction = copy_of(t->direction, want.n);
    fill_uniform(77, -1, 1, t->direction, want.n);
    for (int i = 0; i + 1 < t->params->n; i++) /* gaps are zero */
        for (size_t k = t->params->tensor[i].offset + t->params->tensor[i].size;
             k < t->params->tensor[i + 1].offset; k++)
            t->direction[k] = 0;
    moved = run(t);
    assert_true(memcmp(moved.product, want.product, want.n * sizeof(double)) != 0);
    memcpy(t->direction, direction, want.n * sizeof *direction);
    assert_same(name, &want, run(t));
    t->primal_kept = false;
    t->no_direction = true;
    trial_run(t);
    t->primal_kept = true;
    t->no_direction = false;
    assert_same(name, &want, run(t));
    other = trial_open(g, &backend_cpu, &plain);
    fill_mildly(other, 1);
    assert_same(name, &want, run(other));
    trial_close(other);
    trial_close(t);
    graph_free(g);
    free(direction);
    free(moved.product);
    free(moved.gradient);
    free(want.product);
    free(want.gradient);
}

static void products_repeat(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(nets); i++) {
        char name[100];

        check_bits(&nets[i], i == 3 ? 3 : 1 + (int)i % 2, name_of(&nets[i], name));
    }
}

/* Weights that a kept primal was computed with belong to it: a perturbed pass is repeated. */
static void a_perturbed_product_repeats(void **state)
{
    struct support_options keep = {.threads = 2, .exact = true, .keep_primal = true};
    struct graph *g = graph_of(&nets[0]);
    struct trial *t = trial_open(g, &backend_cpu, &keep);
    struct results want, plain;

    (void)state;
    fill_mildly(t, 1);
    plain = run(t);
    t->perturbation = (struct perturbation){.kind = PERTURB_NOISE, .sigma = 0.1, .seed = 5};
    want = run(t);
    assert_true(memcmp(plain.product, want.product, want.n * sizeof(double)) != 0);
    t->primal_kept = true;
    assert_same("perturbed", &want, run(t));
    trial_close(t);
    graph_free(g);
    free(plain.product);
    free(plain.gradient);
    free(want.product);
    free(want.gradient);
}

static void what_was_not_kept_is_refused(void **state)
{
    struct support_options keep = {.keep_primal = true};
    struct graph *g = graph_of(&nets[0]);
    struct trial *t = trial_open(g, &backend_cpu, NULL);
    int32_t label;

    (void)state;
    fill_mildly(t, 1);
    trial_run(t);
    t->primal_kept = true;
    assert_refused(trial_try(t, err), ERR_INVALID, "has kept nothing");
    trial_close(t);
    t = trial_open(g, &backend_cpu, &keep);
    fill_mildly(t, 1);
    t->primal_kept = true;
    assert_refused(trial_try(t, err), ERR_INVALID, "has kept nothing");
    t->primal_kept = false;
    trial_run(t);
    label = t->labels[1][0];
    t->labels[1][0] = 1000;
    assert_refused(trial_try(t, err), ERR_INVALID, "label 1000");
    t->labels[1][0] = label;
    t->primal_kept = true;
    assert_refused(trial_try(t, err), ERR_INVALID, "has kept nothing");
    trial_close(t);
    graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hessians_of_nets),
        cmocka_unit_test(products_of_models),
        cmocka_unit_test(products_as_of_the_reference),
        cmocka_unit_test(products_repeat),
        cmocka_unit_test(a_perturbed_product_repeats),
        cmocka_unit_test(what_was_not_kept_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
