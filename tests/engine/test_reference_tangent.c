/* Tangents against central differences in float64: each operation through graph_tangent_from, all
 * its inputs moving at once and each alone; what forward mode refuses; what is zero. Whole nets are
 * held against PyTorch in test_reference_hessian.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "op_cases.h"
#include "support.h"

#define STEP       1e-5
#define TOLERANCE  1e-7
#define MOVING_MAX 8

/* A case's graph with tangents of its first outputs as further outputs. */
struct moved {
    struct graph *g;
    int n_inputs, n_params; /* of the case itself */
    int n_moving, n_of;
    struct graph_motion moving[MOVING_MAX]; /* tangents are inputs */
    int tangent[NODE_OUTPUTS_MAX];          /* place among the outputs; -1: nothing moves */
};

/* The statistics that a norm gives are there for its derivative, which knows how they move. */
static int outputs_with_tangents(const struct op_case *op_case, const struct graph *g)
{
    return op_case->op == OP_BATCH_NORM || op_case->op == OP_LAYER_NORM ? 1 : g->n_outputs;
}

/* `only`: the number of the one that moves; -1: all. Returns the graph's mistake. */
static int move(struct moved *m, const struct op_case *op_case, int only)
{
    struct graph *g = op_case_graph(op_case);
    int of[NODE_OUTPUTS_MAX], values[MOVING_MAX], n = 0;

    *m = (struct moved){.g = g, .n_inputs = g->n_inputs, .n_params = g->n_params};
    for (int i = 0; i < g->n_inputs; i++)
        if (g->values[g->inputs[i]].type == VALUE_REAL)
            values[n++] = g->inputs[i];
    for (int i = 0; i < g->n_params; i++)
        values[n++] = g->params[i].value;
    assert_true(n <= MOVING_MAX);
    for (int i = 0; i < n; i++)
        if (only < 0 || only == i)
            m->moving[m->n_moving++] = (struct graph_motion){
                values[i], graph_input(g, g->values[values[i]].shape, VALUE_REAL)};
    m->n_of = outputs_with_tangents(op_case, g);
    memcpy(of, g->outputs, (size_t)m->n_of * sizeof *of);
    if (only >= n || graph_tangent_from(g, m->moving, m->n_moving, of, m->n_of, m->tangent))
        return only >= n ? ERR_INVALID : g->mistake.code;
    for (int i = 0; i < m->n_of; i++)
        m->tangent[i] = m->tangent[i] < 0 ? -1 : graph_output(g, m->tangent[i]);
    return 0;
}

/* The host array of an input or parameter. */
static double *array_of(const struct trial *t, int value, size_t *n)
{
    const struct graph *g = t->graph;

    *n = (size_t)shape_elements(&g->values[value].shape);
    for (int i = 0; i < g->n_inputs; i++)
        if (g->inputs[i] == value)
            return t->input[i];
    for (int i = 0; i < g->n_params; i++)
        if (g->params[i].value == value)
            return t->weights + t->params->tensor[i].offset;
    fail_msg("value %d is no source", value);
    return NULL;
}

/* One pass where all that moves has gone `step` along its tangent. */
static void run_at(struct trial *t, const struct moved *m, double step)
{
    double *kept[MOVING_MAX];

    for (int i = 0; i < m->n_moving; i++) {
        size_t n;
        double *at = array_of(t, m->moving[i].value, &n);
        const double *along = array_of(t, m->moving[i].tangent, &n);
        kept[i] = malloc(n * sizeof **kept);
        memcpy(kept[i], at, n * sizeof *at);
        for (size_t j = 0; j < n; j++)
            at[j] += step * along[j];
    }
    trial_run(t);
    for (int i = 0; i < m->n_moving; i++) {
        size_t n;
        double *at = array_of(t, m->moving[i].value, &n);
        memcpy(at, kept[i], n * sizeof *at);
        free(kept[i]);
    }
}

static double *copy_of(const double *from, size_t n)
{
    double *copy = malloc((n + 1) * sizeof *copy);

    memcpy(copy, from, n * sizeof *copy);
    return copy;
}

static void compare(struct trial *t, const struct moved *m, const char *name)
{
    double *got[NODE_OUTPUTS_MAX], *above[NODE_OUTPUTS_MAX];

    trial_run(t);
    for (int i = 0; i < m->n_of; i++)
        got[i] = m->tangent[i] < 0 ? calloc(trial_output_size(t, i), sizeof(double))
                                   : copy_of(t->output[m->tangent[i]], trial_output_size(t, i));
    run_at(t, m, STEP);
    for (int i = 0; i < m->n_of; i++)
        above[i] = copy_of(t->output[i], trial_output_size(t, i));
    run_at(t, m, -STEP);
    for (int i = 0; i < m->n_of; i++) {
        size_t n = trial_output_size(t, i);
        for (size_t j = 0; j < n; j++)
            above[i][j] = (above[i][j] - t->output[i][j]) / (2 * STEP);
        assert_close(name, got[i], above[i], n, TOLERANCE);
        free(got[i]);
        free(above[i]);
    }
}

/* Whether there is such a case. Where one input moves alone, forward mode may refuse. */
static bool check_case(const struct op_case *op_case, int only, uint64_t seed)
{
    struct moved m;
    struct trial *t;
    char name[100], full[140];
    int rc = move(&m, op_case, only);

    snprintf(full, sizeof full, "%s, %d moves", op_case_name(op_case, name), only);
    if (rc && (only < 0 || rc != ERR_UNSUPPORTED) && rc != ERR_INVALID)
        fail_msg("%s: %s", full, m.g->mistake.message);
    if (rc == 0) {
        t = trial_open(m.g, &backend_reference, NULL);
        trial_fill(t, seed);
        compare(t, &m, full);
        trial_close(t);
    }
    graph_free(m.g);
    return rc != ERR_INVALID;
}

/* Whether the operation is one of a model or of its gradients, but for those at their ends. */
static bool has_tangent(enum op op)
{
    return op != OP_CROSS_ENTROPY && op != OP_CORRECT && op < OP_BATCH_NORM_DOT;
}

static void every_operation(void **state)
{
    struct op_case op_case;

    (void)state;
    for (int i = 0; op_case_at(i, &op_case); i++) {
        if (!has_tangent(op_case.op))
            continue;
        assert_true(check_case(&op_case, -1, (uint64_t)i + 3));
        for (int only = 0; check_case(&op_case, only, (uint64_t)i + 3); only++)
            ;
    }
}

static int source(struct graph *g, int64_t rows, int64_t columns)
{
    return graph_input(g, shape_of(2, rows, columns), VALUE_REAL);
}

static int weights(struct graph *g, struct shape shape, const char *name)
{
    return graph_param(g, shape, (struct init){INIT_UNIFORM, 1}, "%s", name);
}

/* A graph whose first mistake is to be this one. */
static void assert_mistake(struct graph *g, int code, const char *text)
{
    assert_refused(graph_check(g, err), code, text);
    graph_free(g);
}

static void what_is_refused(void **state)
{
    struct graph *g = graph_new(true);
    struct shape images = shape_of(4, (int64_t)2, (int64_t)3, (int64_t)4, (int64_t)4);
    struct graph_motion motion, moving[3];
    int64_t four = 4;
    int y, tangent;

    (void)state;
    weights(g, shape_of(2, (int64_t)2, (int64_t)3), "w");
    graph_tangent(g);
    assert_mistake(g, ERR_INVALID, "parameter w has no gradient");
    g = graph_new(true);
    y = graph_bias(g, graph_input(g, images, VALUE_REAL), weights(g, shape_of(1, (int64_t)3), "b"));
    motion = (struct graph_motion){g->params[0].value, graph_direction(g, 0)};
    graph_tangent_from(g, &motion, 1, &y, 1, &tangent);
    assert_mistake(g, ERR_UNSUPPORTED, "no tangent of bias is known where only some");
    g = graph_new(true);
    y = graph_split_heads(g, graph_input(g, shape_of(3, four, four, four), VALUE_REAL), 1, 1);
    y = graph_softmax(g, y);
    y = graph_node(g, OP_SOFTMAX_CURVE, (int[]){y, y, y}, 3, NULL);
    motion = (struct graph_motion){g->inputs[0],
                                   graph_input(g, shape_of(3, four, four, four), VALUE_REAL)};
    graph_tangent_from(g, &motion, 1, &y, 1, &tangent);
    assert_mistake(g, ERR_UNSUPPORTED, "no tangent of softmax_curve is known");
    g = graph_new(true);
    y = graph_batch_norm(g, graph_input(g, images, VALUE_REAL), "bn") + 1;
    moving[0] = (struct graph_motion){g->inputs[0], graph_input(g, images, VALUE_REAL)};
    moving[1] = (struct graph_motion){g->params[0].value, graph_direction(g, 0)};
    moving[2] = (struct graph_motion){g->params[1].value, graph_direction(g, 1)};
    graph_tangent_from(g, moving, 3, &y, 1, &tangent);
    assert_mistake(g, ERR_UNSUPPORTED, "no tangent of batch_norm's output 1 is known");
    g = graph_new(true);
    y = source(g, 4, 3);
    motion = (struct graph_motion){y, source(g, 4, 3)};
    y = graph_correct(g, y, graph_input(g, shape_of(1, four), VALUE_INDEX), 1);
    graph_tangent_from(g, &motion, 1, &y, 1, &tangent);
    assert_mistake(g, ERR_UNSUPPORTED, "no tangent of correct is known");
    g = graph_new(true);
    y = source(g, 4, 3);
    motion = (struct graph_motion){y, source(g, 3, 4)};
    graph_tangent_from(g, &motion, 1, &y, 1, &tangent);
    assert_mistake(g, ERR_INVALID, "a tangent has the shape of its value");
    g = graph_new(true);
    graph_direction(g, 0);
    assert_mistake(g, ERR_INVALID, "there is no parameter 0");
}

/* A linear function has no second derivative; what stands still has no tangent. */
static void what_is_zero(void **state)
{
    struct graph *g = graph_new(true);
    int x = source(g, 4, 3), w = weights(g, shape_of(2, (int64_t)2, (int64_t)3), "w");
    int b = weights(g, shape_of(1, (int64_t)2), "b"), y = graph_linear(g, x, w, b);
    struct trial *t;

    (void)state;
    assert_ok((graph_gradient_from(g, y, source(g, 4, 2), NULL, 0, NULL), graph_check(g, err)));
    assert_ok((graph_tangent(g), graph_check(g, err)));
    assert_int_equal(g->params[0].product, -1);
    assert_int_equal(g->params[1].product, -1);
    t = trial_open(g, &backend_reference, NULL);
    trial_fill(t, 1);
    trial_run(t);
    for (size_t i = 0; i < t->params->size; i++)
        assert_true(t->product[i] == 0);
    trial_close(t);
    graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(what_is_zero),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
