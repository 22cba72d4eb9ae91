/* The graphs of models with tangents, and passes along a direction: what is computed, what is kept,
 * what is checked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/model.h"
#include "support.h"

/* Values that nothing asked for comes from. */
static bool *used_values(const struct graph *g)
{
    bool *used = calloc((size_t)g->n_values + 1, sizeof *used);

    for (int i = 0; i < g->n_outputs; i++)
        used[g->outputs[i]] = true;
    for (int i = 0; i < g->n_params; i++) {
        used[g->params[i].gradient] = true;
        used[g->params[i].product] = true;
    }
    for (int i = g->n_nodes - 1; i >= 0; i--) {
        const struct node *node = &g->nodes[i];
        for (int j = 0; j < node->n_inputs; j++)
            for (int slot = 0; slot < node->n_outputs; slot++)
                used[node->input[j]] |= used[node->output[slot]];
    }
    return used;
}

static struct graph *curvature_of(int kind, bool batch_statistics)
{
    struct model_input input = {
        .batch = 2, .channels = 3, .height = 32, .width = 32, .classes = 10};
    struct engine_job job;
    struct graph *g = NULL;

    engine_job_defaults(&job, kind, DATASET_DIGITS, METHOD_SGD);
    assert_ok(model_curvature_graph(&g, &job.model, &input, batch_statistics, err));
    return g;
}

/* What nearly all of a pass's time goes to. */
static bool is_heavy(enum op op)
{
    return op == OP_CONV || op == OP_CONV_GRAD_X || op == OP_CONV_GRAD_W || op == OP_LINEAR ||
           op == OP_LINEAR_GRAD_X || op == OP_LINEAR_GRAD_W || op == OP_MATMUL;
}

/* Nodes behind the last gradient are tangents'. */
static int last_gradient(const struct graph *g)
{
    int last = 0;

    for (int i = 0; i < g->n_params; i++)
        if (g->values[g->params[i].gradient].node > last)
            last = g->values[g->params[i].gradient].node;
    return last;
}

/* Each model has a product for each parameter, no node is computed for nothing, and the tangents
 * cost no more than twice what the gradients do. */
static void every_model(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2 * MODEL_KINDS; kind++) {
        struct graph *g = curvature_of(kind / 2, kind % 2);
        bool *used = used_values(g);
        int directions = 0, gradient_costs = 0, tangent_costs = 0;
        for (int i = 0; i < g->n_nodes; i++) {
            const struct node *node = &g->nodes[i];
            bool idle = node->n_inputs > 0;
            for (int slot = 0; slot < node->n_outputs; slot++)
                idle = idle && !used[node->output[slot]];
            if (idle)
                fail_msg("model %d: nothing needs node %d, %s", kind / 2, i, op_name(node->op));
            directions += node->op == OP_DIRECTION;
            assert_true(node->op != OP_DROPOUT);
            if (is_heavy(node->op))
                ++*(i > last_gradient(g) ? &tangent_costs : &gradient_costs);
        }
        assert_true(tangent_costs > gradient_costs && tangent_costs <= 2 * gradient_costs);
        assert_int_equal(directions, g->n_params);
        for (int i = 0; i < g->n_params; i++)
            assert_true(g->params[i].product > g->params[i].direction);
        free(used);
        graph_free(g);
    }
}

typedef int graph_maker(struct graph **out, const struct job_model *model,
                        const struct model_input *input, bool batch_statistics, struct err *err);

static struct trial *open_made(graph_maker *make, struct graph **g, bool keep_primal)
{
    struct job_model model = {.kind = MODEL_VIT, .patch = 4, .width = 8, .depth = 1, .heads = 2};
    struct model_input input = {.batch = 3, .channels = 1, .height = 8, .width = 8, .classes = 4};
    struct support_options options = {.keep_primal = keep_primal};
    struct trial *t;

    model.mlp = 6;
    model.dropout = 0.5;
    assert_ok(make(g, &model, &input, true, err));
    t = trial_open(*g, &backend_reference, &options);
    trial_fill(t, 17);
    return t;
}

static struct trial *open_vit(struct graph **g, bool keep_primal)
{
    return open_made(model_curvature_graph, g, keep_primal);
}

/* The graph without tangents has the loss and gradient of the one with them. */
static void slopes_are_those_of_curvatures(void **state)
{
    struct graph *slope, *curvature;
    struct trial *a = open_made(model_slope_graph, &slope, false);
    struct trial *b = open_vit(&curvature, false);

    (void)state;
    assert_true(slope->n_nodes < curvature->n_nodes);
    trial_run(a);
    trial_run(b);
    assert_true(a->output[MODEL_OUTPUT_LOSS][0] == b->output[MODEL_OUTPUT_LOSS][0]);
    assert_memory_equal(a->gradient, b->gradient, a->params->size * sizeof *a->gradient);
    trial_close(a);
    trial_close(b);
    graph_free(slope);
    graph_free(curvature);
}

static double *copy_of(const double *from, size_t n)
{
    double *copy = malloc((n + 1) * sizeof *copy);

    memcpy(copy, from, n * sizeof *copy);
    return copy;
}

static double *product_of(struct trial *t)
{
    trial_run(t);
    return copy_of(t->product, t->params->size);
}

/* The primal is left alone: the loss stays that of the weights before. The product is the same to
 * the bit. */
static void a_kept_primal_is_kept(void **state)
{
    struct graph *g;
    struct trial *t = open_vit(&g, true);
    size_t bytes = t->params->size * sizeof *t->product;
    double *fresh, *kept, loss;

    (void)state;
    t->no_direction = true;
    assert_ok(trial_try(t, err));
    loss = t->output[MODEL_OUTPUT_LOSS][0];
    t->no_direction = false;
    t->primal_kept = true;
    kept = product_of(t);
    t->primal_kept = false;
    fresh = product_of(t);
    assert_memory_equal(kept, fresh, bytes);
    assert_true(loss == t->output[MODEL_OUTPUT_LOSS][0]);
    fill_uniform(99, -1, 1, t->weights, t->params->tensor[0].size);
    t->primal_kept = true;
    trial_run(t);
    assert_true(loss == t->output[MODEL_OUTPUT_LOSS][0]);
    t->primal_kept = false;
    trial_run(t);
    assert_true(loss != t->output[MODEL_OUTPUT_LOSS][0]);
    free(fresh);
    free(kept);
    trial_close(t);
    graph_free(g);
}

static void there_must_be_something_to_keep(void **state)
{
    struct graph *g;

    (void)state;
    for (int keep = 0; keep < 2; keep++) {
        struct trial *t = open_vit(&g, keep);
        t->primal_kept = true;
        assert_refused(trial_try(t, err), ERR_INVALID, "kept nothing");
        t->primal_kept = false;
        trial_run(t);
        t->labels[1][0] = 4; /* a pass that fails leaves nothing */
        assert_refused(trial_try(t, err), ERR_INVALID, "label 4");
        t->labels[1][0] = 0;
        t->primal_kept = true;
        assert_refused(trial_try(t, err), ERR_INVALID, "kept nothing");
        trial_close(t);
        graph_free(g);
    }
}

/* At the weights that the pass computes with, not at the master weights. */
static void products_at_perturbed_weights(void **state)
{
    struct graph *g;
    struct trial *t = open_vit(&g, false);
    double *noisy, *want;

    (void)state;
    t->perturbation = (struct perturbation){PERTURB_NOISE, .sigma = 0.3, .seed = 5};
    noisy = product_of(t);
    assert_ok(t->class->materialise(t->backend, t->params, t->device_weights, &t->perturbation,
                                    t->device_gradient, err));
    device_read(t->class, t->device_gradient, t->weights, t->params->size);
    t->perturbation = (struct perturbation){PERTURB_NONE};
    want = product_of(t);
    assert_memory_equal(noisy, want, t->params->size * sizeof *want);
    free(noisy);
    free(want);
    trial_close(t);
    graph_free(g);
}

static int try_vectors(struct trial *t, struct vector *direction, struct vector *product,
                       struct err *failure)
{
    const void *inputs[] = {t->input[0], t->labels[1]};
    void *outputs[] = {t->output[0], t->output[1], t->output[2]};
    struct pass pass = {.program = t->program,
                        .weights = t->device_weights,
                        .states = t->device_states,
                        .inputs = inputs,
                        .outputs = outputs,
                        .direction = direction,
                        .product = product};

    return t->class->execute(t->backend, &pass, 1, failure);
}

/* Both vectors or neither, of the right size, and only where there are tangents. */
static void directions_are_checked(void **state)
{
    struct graph *g;
    struct trial *t = open_vit(&g, false);
    struct vector *d = t->device_direction, *small = t->device_states;

    (void)state;
    assert_ok(try_vectors(t, d, t->device_product, err));
    assert_ok(try_vectors(t, NULL, NULL, err));
    assert_refused(try_vectors(t, d, NULL, err), ERR_INVALID, "products are missing");
    assert_refused(try_vectors(t, NULL, d, err), ERR_INVALID, "directions are missing");
    assert_refused(try_vectors(t, small, d, err), ERR_INVALID, "directions of 0 elements");
    assert_refused(try_vectors(t, d, small, err), ERR_INVALID, "products of 0 elements");
    trial_close(t);
    for (int i = 0; i < g->n_params; i++) /* as if it had none */
        g->params[i].direction = g->params[i].product = -1;
    t = trial_open(g, &backend_reference, NULL);
    assert_refused(try_vectors(t, t->device_direction, t->device_product, err), ERR_INVALID,
                   "no products with the Hessian");
    trial_close(t);
    graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_model),
        cmocka_unit_test(slopes_are_those_of_curvatures),
        cmocka_unit_test(a_kept_primal_is_kept),
        cmocka_unit_test(there_must_be_something_to_keep),
        cmocka_unit_test(products_at_perturbed_weights),
        cmocka_unit_test(directions_are_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
