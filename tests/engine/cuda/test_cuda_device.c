/* The CUDA backend with the host in the place of the device: every operation and derivative, whole
 * nets, perturbations and steps against the reference backend, in float and in bfloat16. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "device_compare.h"
#include "model/model.h"
#include "op_cases.h"

#define TOLERANCE      2e-5
#define TF32_TOLERANCE 4e-3
#define BF16_TOLERANCE 4e-2
#define NET_TOLERANCE  1e-3

static void compare(const char *what, const struct graph *g, uint64_t seed)
{
    device_compare(what, g, COMPUTE_F32, seed, TOLERANCE);
    device_compare(what, g, COMPUTE_BF16, seed, BF16_TOLERANCE);
}

static void every_operation(void **state)
{
    struct op_case op_case;

    (void)state;
    for (int i = 0; op_case_at(i, &op_case); i++) {
        struct graph *g = op_case_graph(&op_case);
        char name[100];

        compare(op_case_name(&op_case, name), g, (uint64_t)i + 1);
        graph_free(g);
    }
}

static void every_derivative(void **state)
{
    struct op_case op_case;

    (void)state;
    for (int i = 0; op_case_at(i, &op_case); i++) {
        struct graph *g;
        char name[100];

        if (!op_case_differentiable(&op_case))
            continue;
        g = op_case_graph(&op_case);
        add_derivatives(g);
        compare(op_case_name(&op_case, name), g, (uint64_t)i + 7);
        graph_free(g);
    }
}

static const struct net {
    const char *name;
    struct job_model model;
    struct model_input input;
} nets[] = {
    {"resnet", {.kind = MODEL_RESNET, .width = 5, .blocks = {2, {1, 1}}}, {6, 3, 8, 8, 10}},
    {"resnet50", {.kind = MODEL_RESNET50, .width = 8, .blocks = {2, {1, 1}}}, {4, 3, 8, 8, 10}},
    {"preresnet", {.kind = MODEL_PRERESNET, .width = 8, .depth = 11}, {3, 3, 8, 8, 10}},
    {"vgg16", {.kind = MODEL_VGG16_BN, .width = 4, .dropout = 0.5}, {3, 3, 32, 32, 10}},
    {"wrn",
     {.kind = MODEL_WRN, .width = 8, .depth = 10, .widen = 1, .dropout = 0.3},
     {3, 3, 8, 8, 10}},
    {"vit",
     {.kind = MODEL_VIT,
      .width = 24,
      .depth = 2,
      .patch = 4,
      .heads = 3,
      .mlp = 40,
      .dropout = 0.1,
      .embedding_dropout = 0.1},
     {3, 3, 8, 8, 10}},
};

static void whole_nets(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(nets); i++) {
        struct graph *g;

        assert_ok(model_graph(&g, &nets[i].model, &nets[i].input, true, err));
        device_compare(nets[i].name, g, COMPUTE_F32, i + 1, NET_TOLERANCE);
        graph_free(g);
        assert_ok(model_graph(&g, &nets[i].model, &nets[i].input, false, err));
        device_compare(nets[i].name, g, COMPUTE_F32, i + 1, NET_TOLERANCE);
        graph_free(g);
    }
}

/* Products with the Hessian, in given statistics and through the batch's. */
static void curvature(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(nets); i++)
        for (int batch = 0; batch < 2; batch++) {
            struct graph *g;

            assert_ok(model_curvature_graph(&g, &nets[i].model, &nets[i].input, batch, err));
            device_compare(nets[i].name, g, COMPUTE_F32, i + 1, NET_TOLERANCE);
            graph_free(g);
        }
}

/* ---- attention ----------------------------------------------------------------------------- */

/* The commands that attention is made of where it is not one. */
static int launches_of_parts(void)
{
    return host_device_launches_of("softmax") + host_device_launches_of("softmax_grad") +
           host_device_launches_of("matmul") + host_device_launches_of("split_heads") +
           host_device_launches_of("merge_heads");
}

static const struct net *net_called(const char *name)
{
    for (size_t i = 0; i < ARRAY_LENGTH(nets); i++)
        if (!strcmp(nets[i].name, name))
            return &nets[i];
    fail_msg("no net %s", name);
    return NULL;
}

/* A vision transformer takes the kernels for attention, and nothing else for it; a graph with
 * tangents takes the parts. */
static void attention_of_a_net(void **state)
{
    static const double tolerances[] = {[COMPUTE_F32] = NET_TOLERANCE,
                                        [COMPUTE_TF32] = TF32_TOLERANCE,
                                        [COMPUTE_BF16] = BF16_TOLERANCE};
    const struct net *vit = net_called("vit");
    struct graph *g;

    (void)state;
    for (int training = 0; training < 2; training++)
        for (int compute = COMPUTE_F32; compute <= COMPUTE_BF16; compute++) {
            assert_ok(model_graph(&g, &vit->model, &vit->input, training, err));
            host_device_reset();
            device_compare("vit", g, compute, 3, tolerances[compute]);
            assert_int_equal(host_device_launches_of("attention"), vit->model.depth);
            assert_int_equal(host_device_launches_of("attention_grad"),
                             training ? vit->model.depth : 0);
            assert_int_equal(launches_of_parts(), 0);
            graph_free(g);
        }
    assert_ok(model_curvature_graph(&g, &vit->model, &vit->input, false, err));
    host_device_reset();
    device_compare("vit", g, COMPUTE_F32, 3, NET_TOLERANCE);
    assert_int_equal(
        host_device_launches_of("attention") + host_device_launches_of("attention_grad"), 0);
    assert_int_equal(host_device_launches_of("softmax"), vit->model.depth);
    graph_free(g);
}

/* Attention and its derivative, with something that the kernels cannot do, or nothing of it. */
enum oddity {
    ODD_NOTHING,
    ODD_DROPOUT, /* of probabilities */
    ODD_OUTPUT,  /* probabilities are asked for */
    ODD_KEYS,    /* queries and keys change places */
    ODD_VALUES,  /* keys are the values, too */
    ODD_SCALE,   /* of the second product */
    ODD_HEADS,   /* too wide */
    ODD_SCORES,  /* a second reader of what is inside */
    ODD_COUNT
};

static struct graph *attention_graph(enum oddity odd)
{
    int64_t n = 2, t = 19, heads = 3, d = odd == ODD_HEADS ? 136 : 20;
    struct graph *g = graph_new(true);
    int x = graph_input(g, shape_of(3, n, t, 3 * heads * d), VALUE_REAL);
    int part = graph_split_heads(g, x, 3, (int)heads), q = part, k = part + 1, v = part + 2, y;

    y = graph_matmul(g, odd == ODD_KEYS ? k : q, odd == ODD_KEYS ? q : k,
                     (struct matmul){.transpose_b = true, .scale = 0.3});
    if (odd == ODD_SCORES)
        y = graph_add(g, y, y);
    part = y = graph_softmax(g, y);
    y = graph_dropout(g, y, odd == ODD_DROPOUT ? 0.3 : 0);
    y = graph_matmul(g, y, odd == ODD_VALUES ? k : v,
                     (struct matmul){.scale = odd == ODD_SCALE ? 1.5 : 1});
    if (odd == ODD_VALUES) /* all parts have a derivative, or none */
        y = graph_add(g, y, v);
    graph_output(g, graph_merge_heads(g, y));
    if (odd == ODD_OUTPUT)
        graph_output(g, part);
    add_derivatives(g);
    return g;
}

static void attention_in_parts(void **state)
{
    static const double tolerances[] = {[COMPUTE_F32] = TOLERANCE,
                                        [COMPUTE_TF32] = TF32_TOLERANCE,
                                        [COMPUTE_BF16] = BF16_TOLERANCE};
    char name[40];

    (void)state;
    for (int odd = 0; odd < ODD_COUNT; odd++) {
        struct graph *g = attention_graph(odd);
        bool whole = odd == ODD_NOTHING;

        snprintf(name, sizeof name, "attention %d", odd);
        for (int compute = COMPUTE_F32; compute <= COMPUTE_BF16; compute++) {
            host_device_reset();
            device_compare(name, g, compute, (uint64_t)odd, tolerances[compute]);
            assert_int_equal(host_device_launches_of("attention"), whole);
            assert_int_equal(host_device_launches_of("attention_grad"), whole);
            assert_int_equal(host_device_launches_of("softmax"), !whole);
            assert_int_equal(host_device_launches_of("softmax_grad"), !whole);
        }
        graph_free(g);
    }
}

/* ---- passes -------------------------------------------------------------------------------- */

/* The same pass as it is given, captured and replayed, along a direction and without one. */
static void captured_curvature(void **state)
{
    struct support_options options = {.keep_primal = true};
    struct graph *g;
    struct trial *t;
    double *first;
    size_t bytes;

    (void)state;
    assert_ok(model_curvature_graph(&g, &nets[0].model, &nets[0].input, false, err));
    t = trial_open(g, host_device(COMPUTE_TF32), &options);
    trial_fill(t, 4);
    bytes = t->params->size * sizeof *first;
    first = malloc(bytes);
    assert_non_null(first);
    trial_run(t);
    memcpy(first, t->product, bytes);
    for (int i = 0; i < 6; i++) {
        t->no_direction = i % 2;
        t->primal_kept = !t->no_direction;
        memset(t->product, 0, bytes);
        trial_run(t);
        if (!t->no_direction)
            assert_memory_equal(first, t->product, bytes);
    }
    free(first);
    trial_close(t);
    graph_free(g);
}

/* Wherever a device's memory ends, the error says so and nothing stays open. */
static void full_device(void **state)
{
    struct job_model model = {.kind = MODEL_RESNET, .width = 4, .blocks = {1, {1}}};
    struct model_input input = {2, 1, 8, 8, 10};
    struct backend_options options = {.threads = 1};
    struct program_options program_options = {.side_by_side = 1};
    const struct backend_class *class = host_device(COMPUTE_BF16);
    struct layout *params, *states;
    struct backend *backend;
    struct graph *g;
    int rc = ERR_NO_MEMORY, n;

    (void)state;
    assert_ok(model_graph(&g, &model, &input, true, err));
    assert_ok(layout_open(&params, g->params, g->n_params, err));
    assert_ok(layout_open(&states, g->states, g->n_states, err));
    for (n = 0; rc; n++) {
        struct program *program = NULL;
        struct err err = {0};

        host_device_fail_after(n);
        rc = class->open(&backend, &options, &err);
        if (!rc) {
            rc = class->program_open(backend, g, params, states, &program_options, &program, &err);
            class->program_close(program);
            class->close(backend);
        }
        assert_true(!rc || (rc == ERR_NO_MEMORY && strstr(err.message, "memory")));
        assert_int_equal(host_device_open_things(), 0);
    }
    assert_true(n > 4); /* scalars, forms, the program's own, workspaces, an arena */
    host_device_fail_after(-1);
    layout_close(params);
    layout_close(states);
    graph_free(g);
}

/* What kernels cannot count is refused before memory is taken. */
static void too_large(void **state)
{
    static const struct job_model model = {.kind = MODEL_RESNET, .width = 8, .blocks = {1, {1}}};
    const struct backend_options options = {.threads = 1, .counts_only = true};
    const struct program_options program_options = {.side_by_side = 1};
    const struct backend_class *class = host_device(COMPUTE_BF16);
    struct backend *backend;

    (void)state;
    assert_ok(class->open(&backend, &options, err));
    for (int over = 0; over < 2; over++) {
        /* 8 channels of 8·8 pixels, or one image less than 2³² of them */
        const struct model_input input = {(1 << 23) - !over, 3, 8, 8, 10};
        struct layout *params, *states;
        struct program *program = NULL;
        struct graph *g;

        assert_ok(model_graph(&g, &model, &input, true, err));
        assert_ok(layout_open(&params, g->params, g->n_params, err));
        assert_ok(layout_open(&states, g->states, g->n_states, err));
        if (over)
            assert_refused(
                class->program_open(backend, g, params, states, &program_options, &program, err),
                ERR_UNSUPPORTED, "4294967296 elements");
        else
            assert_ok(
                class->program_open(backend, g, params, states, &program_options, &program, err));
        class->program_close(program);
        layout_close(params);
        layout_close(states);
        graph_free(g);
    }
    class->close(backend);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation),    cmocka_unit_test(every_derivative),
        cmocka_unit_test(whole_nets),         cmocka_unit_test(curvature),
        cmocka_unit_test(attention_of_a_net), cmocka_unit_test(attention_in_parts),
        cmocka_unit_test(captured_curvature), cmocka_unit_test(full_device),
        cmocka_unit_test(too_large),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
