/* Every operation, its derivative, and whole nets in each precision against the float64 reference
 * backend, with the same numbers. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "compare.h"
#include "cuda/device_numbers.h"
#include "harness.h"
#include "model/model.h"
#include "op_cases.h"
#include "stand_in/cmocka.h"

struct graph_case {
    const char *name;
    struct graph *graph;
    enum compute compute;
    uint64_t seed;
    double tolerance;
};

static void larger(double *worst, double error)
{
    if (!(error <= *worst))
        *worst = error;
}

static void tensors_error(double *worst, const struct layout *layout, const double *got,
                          const double *want)
{
    for (int i = 0; i < layout->n; i++) {
        const struct layout_tensor *t = &layout->tensor[i];

        larger(worst, tensor_error(got + t->offset, want + t->offset, t->size));
    }
}

/* The worst of outputs, gradients and running statistics. */
static void compare(void *context)
{
    const struct graph_case *c = context;
    const struct graph *g = c->graph;
    struct trial *want = trial_open(g, &backend_reference, NULL);
    struct trial *got = trial_open(g, gpu_backend(c->compute), NULL);
    double worst = 0;

    want->move_statistics = got->move_statistics = g->n_moments > 0;
    device_fill(want, c->compute, c->seed);
    device_fill(got, c->compute, c->seed);
    trial_run(want);
    trial_run(got);
    for (int i = 0; i < g->n_outputs; i++)
        larger(&worst, tensor_error(got->output[i], want->output[i], trial_output_size(got, i)));
    tensors_error(&worst, got->params, got->gradient, want->gradient);
    tensors_error(&worst, got->states, got->state, want->state);
    trial_close(want);
    trial_close(got);
    harness_error(worst, c->tolerance);
}

/* Over all gradients. */
static void compare_gradients(void *context)
{
    const struct graph_case *c = context;
    struct trial *want = trial_open(c->graph, &backend_reference, NULL);
    struct trial *got = trial_open(c->graph, gpu_backend(c->compute), NULL);
    double error;

    device_fill(want, c->compute, c->seed);
    device_fill(got, c->compute, c->seed);
    trial_run(want);
    trial_run(got);
    error = whole_error(got->gradient, want->gradient, want->params->size);
    trial_close(want);
    trial_close(got);
    harness_error(error, c->tolerance);
}

/* Over the product with the Hessian. */
static void compare_products(void *context)
{
    const struct graph_case *c = context;
    struct trial *want = trial_open(c->graph, &backend_reference, NULL);
    struct trial *got = trial_open(c->graph, gpu_backend(c->compute), NULL);
    double error;

    trial_fill(want, c->seed);
    trial_fill(got, c->seed);
    trial_run(want);
    trial_run(got);
    error = whole_error(got->product, want->product, want->params->size);
    trial_close(want);
    trial_close(got);
    harness_error(error, c->tolerance);
}

static void in_each_precision(const char *group, struct graph_case c, const double tolerance[3],
                              void (*run)(void *context))
{
    char name[300];

    for (int compute = COMPUTE_F32; compute <= COMPUTE_BF16; compute++) {
        c.compute = (enum compute)compute;
        c.tolerance = tolerance[compute];
        snprintf(name, sizeof name, "%s, %s", c.name, compute_name(c.compute));
        harness_case(group, name, run, &c);
    }
}

/* The operations, or where `derivatives` is set what follows from each by its inputs. */
static void check_cases(bool quick, bool derivatives)
{
    static const double tolerance[] = {2e-5, 5e-3, 4e-2};
    struct op_case op_case;

    for (int i = 0; op_case_at(i, &op_case); i++) {
        struct graph_case c = {.seed = (uint64_t)i + 1};
        char name[100];

        if ((quick && i % 8 != 0) || (derivatives && !op_case_differentiable(&op_case)))
            continue;
        c.graph = op_case_graph(&op_case);
        c.name = op_case_name(&op_case, name);
        if (derivatives)
            add_derivatives(c.graph);
        in_each_precision(derivatives ? "derivative" : "operation", c, tolerance, compare);
        graph_free(c.graph);
    }
}

void check_operations(bool quick)
{
    check_cases(quick, false);
}

/* softmax(q·kᵀ/√d)·v of two samples, with its derivative. */
static struct graph *attention_graph(int64_t tokens, int64_t heads, int64_t d)
{
    struct graph *g = graph_new(true);
    int q = graph_input(g, shape_of(3, (int64_t)2, tokens, 3 * heads * d), VALUE_REAL), y;

    q = graph_split_heads(g, q, 3, (int)heads);
    y = graph_matmul(g, q, q + 1,
                     (struct matmul){.transpose_b = true, .scale = 1 / sqrt((double)d)});
    y = graph_matmul(g, graph_softmax(g, y), q + 2, (struct matmul){.scale = 1});
    graph_output(g, graph_merge_heads(g, y));
    add_derivatives(g);
    return g;
}

/* Each width of the kernels, with one block of a head and with several. */
static void check_attention(bool quick)
{
    static const double tolerance[] = {2e-5, 5e-3, 4e-2};
    static const struct {
        int64_t tokens, heads, d;
    } sizes[] = {{65, 3, 64}, {197, 2, 64}, {50, 2, 32}, {300, 1, 20}, {130, 2, 128}, {67, 2, 77}};

    for (size_t i = 0; i < (quick ? 1 : ARRAY_LENGTH(sizes)); i++) {
        char name[100];
        struct graph_case c = {.name = name, .seed = i + 1};

        snprintf(name, sizeof name, "attention of %d tokens, %d heads of %d", (int)sizes[i].tokens,
                 (int)sizes[i].heads, (int)sizes[i].d);
        c.graph = attention_graph(sizes[i].tokens, sizes[i].heads, sizes[i].d);
        in_each_precision("derivative", c, tolerance, compare);
        graph_free(c.graph);
    }
}

void check_derivatives(bool quick)
{
    check_cases(quick, true);
    check_attention(quick);
}

static const struct net {
    const char *name;
    struct job_model model;
    struct model_input input;
} nets[] = {
    {"resnet18",
     {.kind = MODEL_RESNET18, .width = 16, .blocks = {4, {2, 2, 2, 2}}},
     {4, 3, 32, 32, 10}},
    {"resnet of width 5",
     {.kind = MODEL_RESNET, .width = 5, .blocks = {2, {1, 1}}},
     {6, 3, 8, 8, 10}},
    {"vgg16", {.kind = MODEL_VGG16_BN, .width = 8, .dropout = 0.5}, {4, 3, 32, 32, 10}},
    {"wrn", {.kind = MODEL_WRN, .width = 8, .depth = 10, .widen = 2}, {4, 3, 16, 16, 10}},
    {"vit",
     {.kind = MODEL_VIT,
      .width = 48,
      .depth = 2,
      .patch = 4,
      .heads = 3,
      .mlp = 96,
      .dropout = 0.1},
     {4, 3, 16, 16, 10}},
};

/* Few samples, of which batch norm makes much of what bfloat16 rounds off. */
void check_nets(bool quick)
{
    static const double tolerance[] = {1e-3, 5e-2, 0.6};

    for (size_t i = 0; i < ARRAY_LENGTH(nets); i++) {
        struct graph_case c = {.name = nets[i].name, .seed = i + 1};
        struct err err = {0};

        if (quick && i != 1)
            continue;
        if (model_graph(&c.graph, &nets[i].model, &nets[i].input, true, &err)) {
            fprintf(stderr, "%s: %s\n", nets[i].name, err.message);
            continue;
        }
        in_each_precision("net", c, tolerance, compare_gradients);
        graph_free(c.graph);
    }
}

/* Probes compute them in fp32 and tf32. */
void check_products(bool quick)
{
    static const double tolerance[] = {1e-3, 5e-2, 1};

    for (size_t i = 0; i < ARRAY_LENGTH(nets); i++) {
        struct graph_case c = {.name = nets[i].name, .seed = i + 1};
        struct err err = {0};

        if (quick && i != 1)
            continue;
        if (model_curvature_graph(&c.graph, &nets[i].model, &nets[i].input, false, &err)) {
            fprintf(stderr, "%s: %s\n", nets[i].name, err.message);
            continue;
        }
        in_each_precision("product", c, tolerance, compare_products);
        graph_free(c.graph);
    }
}
