/* Derivatives against central differences in float64: each operation through graph_gradient_from,
 * with Σ dy·y for a random dy as the number that is differentiated; the loss; a whole small net. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "compare.h"
#include "op_cases.h"

#define STEP      1e-5
#define TOLERANCE 1e-6
#define SAMPLES   48 /* elements of an array that are tried */

/* What is differentiated, as a function of all the trial is given. */
typedef double (*scalar)(const struct trial *t);

static double difference(struct trial *t, scalar of, double *at)
{
    double kept = *at, above, below;

    *at = kept + STEP;
    trial_run(t);
    above = of(t);
    *at = kept - STEP;
    trial_run(t);
    below = of(t);
    *at = kept;
    return (above - below) / (2 * STEP);
}

/* Compares `gradient`, by the n numbers at `array`, with differences at some of them. */
static void check_array(struct trial *t, scalar of, const char *what, double *array,
                        const double *gradient, size_t n)
{
    double got[SAMPLES], want[SAMPLES], scale = 0;
    size_t samples = n < SAMPLES ? n : SAMPLES;
    double *kept = malloc(n * sizeof *kept); /* `gradient` may be overwritten by other passes */

    memcpy(kept, gradient, n * sizeof *kept);
    for (size_t i = 0; i < samples; i++) {
        size_t place = i * n / samples;
        got[i] = kept[place];
        want[i] = difference(t, of, &array[place]);
    }
    for (size_t i = 0; i < n; i++)
        scale = fmax(scale, fabs(kept[i]));
    for (size_t i = 0; i < samples; i++)
        if (!(fabs(got[i] - want[i]) <= TOLERANCE * scale))
            fail_msg("%s: sample %zu is %.12g and should be %.12g, of at most %.3g", what, i,
                     got[i], want[i], scale);
    free(kept);
}

static void check_params(struct trial *t, scalar of, const char *what)
{
    double *gradient;

    trial_run(t);
    gradient = malloc((t->params->size + 1) * sizeof *gradient);
    memcpy(gradient, t->gradient, t->params->size * sizeof *gradient);
    for (int i = 0; i < t->graph->n_params; i++) {
        const struct layout_tensor *tensor = &t->params->tensor[i];
        char name[256];
        snprintf(name, sizeof name, "%s by %s", what, t->graph->params[i].name);
        check_array(t, of, name, t->weights + tensor->offset, gradient + tensor->offset,
                    tensor->size);
    }
    free(gradient);
}

/* Output 0 is y; the last input is dy. */
static double dy_times_y(const struct trial *t)
{
    const double *y = t->output[0], *dy = t->input[t->graph->n_inputs - 1];
    double sum = 0;

    for (size_t i = 0; i < trial_output_size(t, 0); i++)
        sum += y[i] * dy[i];
    return sum;
}

/* Their first output; each input has one. */
static int add_all_derivatives(struct graph *g)
{
    int first = g->n_outputs;

    add_derivatives(g);
    assert_int_equal(g->n_outputs - first, g->n_inputs - 1);
    return first;
}

static void check_case(const struct op_case *op_case, uint64_t seed)
{
    struct graph *g = op_case_graph(op_case);
    int first = add_all_derivatives(g);
    struct trial *t = trial_open(g, &backend_reference, NULL);
    char name[100];

    op_case_name(op_case, name);
    trial_fill(t, seed);
    for (int i = 0; i < g->n_inputs - 1; i++) {
        trial_run(t);
        check_array(t, dy_times_y, name, t->input[i], t->output[first + i],
                    trial_output_size(t, first + i));
    }
    check_params(t, dy_times_y, name);
    trial_close(t);
    graph_free(g);
}

static void every_operation(void **state)
{
    struct op_case op_case;

    (void)state;
    for (int i = 0; op_case_at(i, &op_case); i++)
        if (op_case_differentiable(&op_case))
            check_case(&op_case, (uint64_t)i + 7);
}

static double loss_of(const struct trial *t)
{
    return t->output[0][0];
}

/* The logits themselves are the parameter. */
static void check_cross_entropy(double smoothing)
{
    const struct init init = {INIT_UNIFORM, 1};
    struct graph *g = graph_new(true);
    int logits = graph_param(g, shape_of(2, (int64_t)6, (int64_t)7), init, "logits");
    int labels = graph_input(g, shape_of(1, (int64_t)6), VALUE_INDEX);
    int loss = graph_smoothed_cross_entropy(g, logits, labels, smoothing);
    struct trial *t;

    graph_output(g, loss);
    assert_ok((graph_gradient(g, loss), graph_check(g, err)));
    t = trial_open(g, &backend_reference, NULL);
    trial_fill(t, 3);
    check_params(t, loss_of, "cross-entropy");
    trial_close(t);
    graph_free(g);
}

static void cross_entropy(void **state)
{
    (void)state;
    check_cross_entropy(0);
    check_cross_entropy(0.3);
}

/* A value used three times, once as both sides of a sum. */
static void values_used_several_times(void **state)
{
    struct graph *g = graph_new(true);
    int x = graph_input(g, shape_of(2, (int64_t)3, (int64_t)4), VALUE_REAL), first;
    struct trial *t;

    (void)state;
    graph_output(g, graph_add(g, graph_add(g, x, x), graph_relu(g, x)));
    first = add_all_derivatives(g);
    t = trial_open(g, &backend_reference, NULL);
    trial_fill(t, 5);
    trial_run(t);
    check_array(t, dy_times_y, "x + x + relu(x)", t->input[0], t->output[first], 12);
    trial_close(t);
    graph_free(g);
}

/* split_heads has derivatives only where all parts are used: softmax(q·kᵀ)·v, merged again. */
static void attention(void **state)
{
    struct graph *g = graph_new(true);
    int x = graph_input(g, shape_of(3, (int64_t)2, (int64_t)3, (int64_t)24), VALUE_REAL), first;
    int q = graph_split_heads(g, x, 3, 2), score;
    struct trial *t;

    (void)state;
    score = graph_softmax(g, graph_matmul(g, q, q + 1, (struct matmul){false, true, 0.5}));
    graph_output(
        g, graph_merge_heads(g, graph_matmul(g, score, q + 2, (struct matmul){false, false, 1})));
    first = add_all_derivatives(g);
    t = trial_open(g, &backend_reference, NULL);
    trial_fill(t, 9);
    trial_run(t);
    check_array(t, dy_times_y, "attention", t->input[0], t->output[first], 2 * 3 * 24);
    trial_close(t);
    graph_free(g);
}

static int conv_bn(struct graph *g, int x, int64_t out, int kernel, int stride, const char *name)
{
    const struct init init = {INIT_UNIFORM, 1};
    int64_t in = x < 0 ? 1 : g->values[x].shape.dim[1];
    int w = graph_param(g, shape_of(4, out, in, (int64_t)kernel, (int64_t)kernel), init,
                        "%s.weight", name);
    char bn[32];

    snprintf(bn, sizeof bn, "%s.bn", name);
    return graph_batch_norm(g, graph_conv(g, x, w, stride, kernel / 2), bn);
}

/* As in a residual net: identity shortcut, then one with stride and 1×1 convolution. */
static struct graph *residual_net(void)
{
    const struct init init = {INIT_UNIFORM, 1};
    struct graph *g = graph_new(true);
    int x = graph_input(g, shape_of(4, (int64_t)4, (int64_t)2, (int64_t)7, (int64_t)6), VALUE_REAL);
    int labels = graph_input(g, shape_of(1, (int64_t)4), VALUE_INDEX), y, w, b, loss;

    x = graph_relu(g, conv_bn(g, x, 4, 3, 1, "stem"));
    y = graph_relu(g, conv_bn(g, x, 4, 3, 1, "a1"));
    x = graph_relu(g, graph_add(g, conv_bn(g, y, 4, 3, 1, "a2"), x));
    y = graph_relu(g, conv_bn(g, x, 6, 3, 2, "b1"));
    y = conv_bn(g, y, 6, 3, 1, "b2");
    x = graph_relu(g, graph_add(g, y, conv_bn(g, x, 6, 1, 2, "b3")));
    w = graph_param(g, shape_of(2, (int64_t)5, (int64_t)6), init, "fc.weight");
    b = graph_param(g, shape_of(1, (int64_t)5), init, "fc.bias");
    loss = graph_cross_entropy(g, graph_linear(g, graph_global_avg_pool(g, x), w, b), labels);
    graph_output(g, loss);
    graph_gradient(g, loss);
    return g;
}

static void whole_net(void **state)
{
    struct graph *g = residual_net();
    struct trial *t = trial_open(g, &backend_reference, NULL);

    (void)state;
    trial_fill(t, 11);
    check_params(t, loss_of, "net");
    trial_close(t);
    graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation),
        cmocka_unit_test(cross_entropy),
        cmocka_unit_test(values_used_several_times),
        cmocka_unit_test(attention),
        cmocka_unit_test(whole_net),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
