/* Every operation that the CUDA backend has a kernel of its own for, as its source runs on the host
 * (emulate.h), against the reference backend: with each type, with channels as they are and padded,
 * at the small odd sizes that all backends are tried with and at sizes that reach all paths here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "kernel_arrays.h"
#include "op_cases.h"
#include "support.h"

static const double tolerances[] = {[ELEMENT_F32] = 1e-5, [ELEMENT_BF16] = 4e-3};

/* The values of a graph, as the reference backend computes them, each rounded to the type. */
struct values {
    const struct graph *graph;
    enum element type;
    double **real;
    int32_t **labels;
};

static void round_all(enum element type, double *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = rounded_to(type, x[i]);
}

static struct values values_open(const struct graph *g, enum element type)
{
    struct values v = {g, type, calloc((size_t)g->n_values, sizeof *v.real),
                       calloc((size_t)g->n_values, sizeof *v.labels)};

    for (int i = 0; i < g->n_values; i++) {
        size_t n = (size_t)shape_elements(&g->values[i].shape);

        v.real[i] = calloc(n, sizeof(double));
        v.labels[i] = calloc(n, sizeof(int32_t));
    }
    return v;
}

static void values_close(struct values *v)
{
    for (int i = 0; i < v->graph->n_values; i++) {
        free(v->real[i]);
        free(v->labels[i]);
    }
    free(v->real);
    free(v->labels);
}

/* Inputs, parameters, statistics. Labels lie within the classes of every case. */
static void fill_source(struct values *v, int value, uint64_t seed)
{
    int64_t n = shape_elements(&v->graph->values[value].shape);
    const struct node *node = &v->graph->nodes[v->graph->values[value].node];

    fill_uniform(seed + (uint64_t)value, node->op == OP_STATE ? 0.5 : -1,
                 node->op == OP_STATE ? 1.5 : 1, v->real[value], (size_t)n);
    round_all(v->type, v->real[value], n);
}

static void fill_labels(struct values *v, const struct node *node)
{
    int64_t classes = v->graph->values[node->input[0]].shape.dim[1];
    int32_t *labels = v->labels[node->input[1]];

    for (int64_t i = 0; i < v->graph->values[node->input[1]].shape.dim[0]; i++)
        labels[i] = (int32_t)(i * 7 % classes);
}

static struct operands operands_of(const struct values *v, const struct node *node,
                                   const struct pass_draws *draws)
{
    struct operands o = {.node = node, .draws = draws};

    for (int i = 0; i < node->n_inputs; i++) {
        const struct value *value = &v->graph->values[node->input[i]];

        o.in_shape[i] = &value->shape;
        if (value->type == VALUE_INDEX)
            o.labels = v->labels[node->input[i]];
        else
            o.in[i] = v->real[node->input[i]];
    }
    for (int i = 0; i < node->n_outputs; i++) {
        o.out_shape[i] = &v->graph->values[node->output[i]].shape;
        o.out[i] = v->real[node->output[i]];
    }
    return o;
}

/* One node by its kernels, against what the reference backend has made of the same. */
static void compare_node(const struct values *v, const struct operands *o, int64_t multiple,
                         const char *what)
{
    struct kernel_call call = {*o, v->type, multiple};
    char name[200];

    for (int i = 0; i < o->node->n_outputs; i++)
        call.o.out[i] = calloc((size_t)shape_elements(o->out_shape[i]), sizeof(double));
    if (kernel_call(&call))
        for (int i = 0; i < o->node->n_outputs; i++) {
            snprintf(name, sizeof name, "%s, %s, by %d, result %d", what,
                     v->type == ELEMENT_F32 ? "float" : "bfloat16", (int)multiple, i);
            assert_close(name, call.o.out[i], o->out[i], (size_t)shape_elements(o->out_shape[i]),
                         tolerances[v->type]);
        }
    for (int i = 0; i < o->node->n_outputs; i++)
        free(call.o.out[i]);
}

static void run_node(struct values *v, const struct node *node, const char *what)
{
    static const struct pass_draws draws = {0x1234567890abcdef, 41, 3};
    struct operands o = operands_of(v, node, &draws);

    if (o.labels)
        fill_labels(v, node);
    o.scratch = calloc(reference_scratch(v->graph, node) + 1, sizeof(double));
    reference_op_of(node->op)(&o);
    compare_node(v, &o, 1, what);
    if (o.in_shape[0]->rank % 2 == 0 || o.out_shape[0]->rank % 2 == 0) /* else not images */
        compare_node(v, &o, 8, what);
    for (int i = 0; i < node->n_outputs; i++)
        round_all(v->type, o.out[i], shape_elements(o.out_shape[i]));
    free(o.scratch);
}

static void run_graph(const struct graph *g, enum element type, uint64_t seed, const char *what)
{
    struct values v = values_open(g, type);

    for (int i = 0; i < g->n_nodes; i++)
        if (g->nodes[i].op <= OP_DIRECTION)
            fill_source(&v, g->nodes[i].output[0], seed);
        else
            run_node(&v, &g->nodes[i], what);
    values_close(&v);
}

/* Some case of an operation. */
static struct op_case case_of(enum op op)
{
    struct op_case op_case;

    for (int i = 0; op_case_at(i, &op_case); i++)
        if (op_case.op == op)
            return op_case;
    fail_msg("no case of %s", op_name(op));
    return op_case;
}

static void every_operation(void **state)
{
    struct op_case op_case;
    char name[100];

    (void)state;
    for (int i = 0; op_case_at(i, &op_case); i++)
        for (int type = ELEMENT_F32; type <= ELEMENT_BF16; type++) {
            struct graph *g = op_case_graph(&op_case);

            run_graph(g, type, (uint64_t)i + 1, op_case_name(&op_case, name));
            graph_free(g);
        }
}

/* Rows that a warp goes through more than once, several blocks of columns, sums in several
 * stretches. */
static void larger_sizes(void **state)
{
    static const struct {
        enum op op;
        struct op_sizes size;
    } cases[] = {
        {OP_LAYER_NORM, {.n = 3, .h = 5, .c = 77}},
        {OP_LAYER_NORM, {.n = 2, .h = 3, .c = 520}},
        {OP_LAYER_NORM_GRAD, {.n = 3, .h = 5, .c = 77}},
        {OP_LAYER_NORM_GRAD, {.n = 2, .h = 3, .c = 520}},
        {OP_LAYER_NORM_GRAD, {.n = 2, .h = 1100, .c = 24}},
        {OP_SOFTMAX, {.n = 2, .h = 5, .c = 77}},
        {OP_SOFTMAX, {.n = 1, .h = 3, .c = 520}},
        {OP_SOFTMAX_GRAD, {.n = 2, .h = 5, .c = 77}},
        {OP_SOFTMAX_GRAD, {.n = 1, .h = 3, .c = 520}},
        {OP_SUM_ROWS, {.n = 3001, .k = 70}},
        {OP_SUM_ROWS, {.n = 2500, .k = 8}},
        {OP_ADD_EACH, {.n = 9, .h = 8, .c = 40}},
        {OP_SUM_EACH, {.n = 9, .h = 8, .c = 40}},
        {OP_BATCH_NORM, {.n = 9, .c = 8, .h = 24, .w = 23}},
        {OP_BATCH_NORM, {.n = 3, .c = 300, .h = 3, .w = 5}},
        {OP_BATCH_NORM_GRAD, {.n = 9, .c = 8, .h = 24, .w = 23}},
        {OP_BATCH_NORM_GRAD, {.n = 3, .c = 300, .h = 3, .w = 5}},
        {OP_BATCH_NORM_EVAL, {.n = 5, .c = 72, .h = 9, .w = 9}},
        {OP_SUM_CHANNELS, {.n = 5, .c = 72, .h = 19, .w = 9}},
        {OP_BIAS, {.n = 5, .c = 72, .h = 9, .w = 9}},
        {OP_BATCH_NORM_TANGENT, {.n = 3, .c = 300, .h = 3, .w = 5}},
        {OP_BATCH_NORM_GRAD_TANGENT, {.n = 3, .c = 40, .h = 13, .w = 15}},
        {OP_BATCH_NORM_DOT, {.n = 5, .c = 72, .h = 9, .w = 9}},
        {OP_LAYER_NORM_TANGENT, {.n = 3, .h = 5, .c = 77}},
        {OP_LAYER_NORM_GRAD_TANGENT, {.n = 3, .h = 95, .c = 77}},
        {OP_SOFTMAX_CURVE, {.n = 2, .h = 5, .c = 77}},
        {OP_CROSS_ENTROPY_CURVE, {.n = 70, .k = 100}},
        {OP_CROSS_ENTROPY, {.n = 70, .k = 100, .r = 1}},
        {OP_CROSS_ENTROPY_GRAD, {.n = 70, .k = 100, .r = 1}},
        {OP_CROSS_ENTROPY, {.n = 1100, .k = 3}},
        {OP_CORRECT, {.n = 70, .k = 100, .r = 5}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
        for (int type = ELEMENT_F32; type <= ELEMENT_BF16; type++) {
            struct op_case op_case = case_of(cases[i].op);
            struct graph *g;
            char name[100];

            op_case.size = cases[i].size;
            g = op_case_graph(&op_case);
            run_graph(g, type, i + 1, op_case_name(&op_case, name));
            graph_free(g);
        }
}

/* What nobody has a kernel for is what libraries do. */
static void all_operations_have_kernels(void **state)
{
    int without = 0;

    (void)state;
    for (int op = OP_DIRECTION + 1; op < OP_COUNT; op++) {
        bool library = op == OP_CONV || op == OP_CONV_GRAD_X || op == OP_CONV_GRAD_W ||
                       op == OP_LINEAR || op == OP_LINEAR_GRAD_X || op == OP_LINEAR_GRAD_W ||
                       op == OP_MATMUL;

        without += !library && !kernel_call_has((enum op)op);
    }
    assert_int_equal(without, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation),
        cmocka_unit_test(larger_sizes),
        cmocka_unit_test(all_operations_have_kernels),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
