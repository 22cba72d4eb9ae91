/* The reference backend's operations against their definitions, written out once more in the most
 * direct way; and what it refuses. Derivatives are in test_reference_gradient.c. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "op_cases.h"
#include "support.h"

static const struct shape *input_shape(const struct trial *t, int input)
{
    return &t->graph->values[t->graph->inputs[input]].shape;
}

/* The element at a position; 0 outside. */
static double pixel(const struct trial *t, int64_t n, int64_t c, int64_t h, int64_t w)
{
    const int64_t *dim = input_shape(t, 0)->dim;

    if (h < 0 || h >= dim[2] || w < 0 || w >= dim[3])
        return 0;
    return t->input[0][((n * dim[1] + c) * dim[2] + h) * dim[3] + w];
}

static double conv_at(const struct trial *t, const struct op_sizes *z, const int64_t at[4])
{
    double sum = 0;

    for (int c = 0; c < z->c; c++)
        for (int r = 0; r < z->r; r++)
            for (int s = 0; s < z->r; s++)
                sum += t->weights[((at[1] * z->c + c) * z->r + r) * z->r + s] *
                       pixel(t, at[0], c, at[2] * z->stride + r - z->pad,
                             at[3] * z->stride + s - z->pad);
    return sum;
}

static void want_conv(const struct trial *t, const struct op_sizes *z, double *want)
{
    const int64_t *y = t->graph->values[t->graph->outputs[0]].shape.dim;
    int64_t at[4];

    for (size_t i = 0; i < trial_output_size(t, 0); i++) {
        at[3] = (int64_t)i % y[3];
        at[2] = (int64_t)i / y[3] % y[2];
        at[1] = (int64_t)i / y[3] / y[2] % y[1];
        at[0] = (int64_t)i / y[3] / y[2] / y[1];
        want[i] = conv_at(t, z, at);
    }
}

/* Mean and biased variance of channel c, as E x² − (E x)² in long double. */
static void moments_of(const struct trial *t, const struct op_sizes *z, int c, double *mean,
                       double *var)
{
    long double sum = 0, squares = 0, n = (long double)z->n * z->h * z->w;

    for (int i = 0; i < z->n; i++)
        for (int h = 0; h < z->h; h++)
            for (int w = 0; w < z->w; w++) {
                long double x = pixel(t, i, c, h, w);
                sum += x;
                squares += x * x;
            }
    *mean = (double)(sum / n);
    *var = (double)(squares / n - sum / n * (sum / n));
}

/* With the batch's moments, which are also results 1 and 2, or the running ones. */
static void want_batch_norm(const struct trial *t, const struct op_sizes *z, double *want)
{
    const double *gamma = t->weights + t->params->tensor[0].offset;
    const double *beta = t->weights + t->params->tensor[1].offset;
    const double *running_mean = t->state + t->states->tensor[0].offset;
    const double *running_var = t->state + t->states->tensor[1].offset;

    for (int i = 0; i < z->n * z->c * z->h * z->w; i++) {
        int c = i / (z->h * z->w) % z->c;
        double mean = running_mean[c], var = running_var[c];
        if (t->graph->training) {
            moments_of(t, z, c, &mean, &var);
            assert_close("mean", &t->output[1][c], &mean, 1, 1e-12);
            assert_close("var", &t->output[2][c], &var, 1, 1e-12);
        }
        want[i] = (t->input[0][i] - mean) / sqrt(var + 1e-5) * gamma[c] + beta[c];
    }
}

static void want_relu(const struct trial *t, const struct op_sizes *z, double *want)
{
    (void)z;
    for (size_t i = 0; i < trial_output_size(t, 0); i++)
        want[i] = fmax(t->input[0][i], 0);
}

static void want_add(const struct trial *t, const struct op_sizes *z, double *want)
{
    (void)z;
    for (size_t i = 0; i < trial_output_size(t, 0); i++)
        want[i] = t->input[0][i] + t->input[1][i];
}

static void want_pool(const struct trial *t, const struct op_sizes *z, double *want)
{
    for (int i = 0; i < z->n * z->c * z->h * z->w; i++)
        want[i / (z->h * z->w)] += t->input[0][i] / (z->h * z->w);
}

/* Of rows, or of h tokens a sample and without a bias. */
static void want_linear(const struct trial *t, const struct op_sizes *z, double *want)
{
    const double *b = t->params->n > 1 ? t->weights + t->params->tensor[1].offset : NULL;

    for (int i = 0; i < z->n * (z->h ? z->h : 1) * z->k * z->c; i++) {
        int n = i / z->c / z->k, k = i / z->c % z->k, c = i % z->c;
        want[n * z->k + k] += t->input[0][n * z->c + c] * t->weights[k * z->c + c];
        want[n * z->k + k] += c == 0 && b ? b[k] : 0;
    }
}

/* −Σ target·log(softmax) without care for overflow; the logits are small. `r` tenths of the target
 * are spread over all classes. */
static void want_cross_entropy(const struct trial *t, const struct op_sizes *z, double *want)
{
    for (int n = 0; n < z->n; n++) {
        double sum = 0;
        for (int k = 0; k < z->k; k++)
            sum += exp(t->input[0][n * z->k + k]);
        for (int k = 0; k < z->k; k++) {
            double target = z->r / 10.0 / z->k + (k == t->labels[1][n] ? 1 - z->r / 10.0 : 0);
            want[0] -= target * log(exp(t->input[0][n * z->k + k]) / sum) / z->n;
        }
    }
}

/* By removing the best class again and again. */
static bool among_best(const double *logits, int classes, int best, int label)
{
    bool removed[100] = {false};

    for (int round = 0; round < best && round < classes; round++) {
        int top = -1;
        for (int k = 0; k < classes; k++)
            if (!removed[k] && (top < 0 || logits[k] > logits[top]))
                top = k;
        if (top == label)
            return true;
        removed[top] = true;
    }
    return false;
}

static void want_correct(const struct trial *t, const struct op_sizes *z, double *want)
{
    for (int n = 0; n < z->n; n++)
        want[0] += among_best(t->input[0] + n * z->k, z->k, z->r, t->labels[1][n]);
}

typedef void (*want_function)(const struct trial *, const struct op_sizes *, double *);

static void operations_are_as_defined(void **state)
{
    static const want_function wants[OP_COUNT] = {
        [OP_CONV] = want_conv,
        [OP_BATCH_NORM] = want_batch_norm,
        [OP_BATCH_NORM_EVAL] = want_batch_norm,
        [OP_RELU] = want_relu,
        [OP_ADD] = want_add,
        [OP_GLOBAL_AVG_POOL] = want_pool,
        [OP_LINEAR] = want_linear,
        [OP_CROSS_ENTROPY] = want_cross_entropy,
        [OP_CORRECT] = want_correct,
    };
    struct op_case op_case;

    (void)state;
    for (int i = 0; op_case_at(i, &op_case); i++) {
        struct graph *g;
        struct trial *t;
        double *want;
        char name[100];
        if (!wants[op_case.op])
            continue;
        g = op_case_graph(&op_case);
        t = trial_open(g, &backend_reference, NULL);
        trial_fill(t, (uint64_t)i + 1);
        trial_run(t);
        want = calloc(trial_output_size(t, 0), sizeof *want);
        wants[op_case.op](t, &op_case.size, want);
        assert_close(op_case_name(&op_case, name), t->output[0], want, trial_output_size(t, 0),
                     1e-12);
        free(want);
        trial_close(t);
        graph_free(g);
    }
}

/* Every operation that a graph can have is among the cases, and so in the tests above and below. */
static void cases_hold_every_operation(void **state)
{
    bool seen[OP_COUNT] = {
        [OP_INPUT] = true, [OP_PARAM] = true, [OP_STATE] = true, [OP_DIRECTION] = true};
    struct op_case op_case;

    (void)state;
    for (int i = 0; op_case_at(i, &op_case); i++)
        seen[op_case.op] = true;
    for (int op = 0; op < OP_COUNT; op++)
        if (!seen[op])
            fail_msg("no case of %s", op_name((enum op)op));
}

/* logits[n,k], labels[n] → loss, its gradient, right, among the best two, among all */
static struct trial *open_classification(struct graph **g, int64_t n, int64_t k)
{
    int logits, labels;

    *g = graph_new(true);
    logits = graph_input(*g, shape_of(2, n, k), VALUE_REAL);
    labels = graph_input(*g, shape_of(1, n), VALUE_INDEX);
    graph_output(*g, graph_cross_entropy(*g, logits, labels));
    graph_output(*g, graph_node(*g, OP_CROSS_ENTROPY_GRAD, (int[]){logits, labels}, 2, NULL));
    graph_output(*g, graph_correct(*g, logits, labels, 1));
    graph_output(*g, graph_correct(*g, logits, labels, 2));
    graph_output(*g, graph_correct(*g, logits, labels, (int)k));
    return trial_open(*g, &backend_reference, NULL);
}

/* softmax(0, ln 2, ln 3) = (1/6, 1/3, 1/2); the second row is the same plus 1000. */
static void cross_entropy_by_hand(void **state)
{
    const double logits[] = {0, log(2), log(3), 1000, 1000 + log(2), 1000 + log(3)};
    const double loss = (log(2) + log(6)) / 2;
    const double gradient[] = {1.0 / 12, 1.0 / 6, -0.25, 1.0 / 12 - 0.5, 1.0 / 6, 0.25};
    struct graph *g;
    struct trial *t = open_classification(&g, 2, 3);

    (void)state;
    memcpy(t->input[0], logits, sizeof logits);
    t->labels[1][0] = 2;
    t->labels[1][1] = 0;
    trial_run(t);
    assert_close("loss", t->output[0], &loss, 1, 1e-12);
    assert_close("gradient", t->output[1], gradient, 6, 1e-12);
    assert_true(t->output[2][0] == 1 && t->output[3][0] == 1);
    trial_close(t);
    graph_free(g);
}

/* Equal logits: the lower class comes first. NaN is never right, and before all others. */
static void ties_and_nan_in_ranking(void **state)
{
    static const double logits[6][3] = {{1, 1, 1},   {1, 1, 1},   {1, 1, 1},
                                        {5, 4, NAN}, {NAN, 1, 2}, {NAN, 1, 2}};
    static const int32_t labels[] = {0, 0, 1, 1, 0, 2};
    struct graph *g;
    struct trial *t = open_classification(&g, 6, 3);

    (void)state;
    memcpy(t->input[0], logits, sizeof logits);
    memcpy(t->labels[1], labels, sizeof labels);
    trial_run(t);
    assert_true(isnan(t->output[0][0]));
    assert_true(t->output[2][0] == 2); /* samples 0, 1 */
    assert_true(t->output[3][0] == 4); /* and 2, 5 */
    assert_true(t->output[4][0] == 5); /* and 3 */
    trial_close(t);
    graph_free(g);
}

static void nan_goes_through_relu(void **state)
{
    struct graph *g = graph_new(true);
    struct trial *t;

    (void)state;
    graph_output(g, graph_relu(g, graph_input(g, shape_of(1, (int64_t)3), VALUE_REAL)));
    t = trial_open(g, &backend_reference, NULL);
    t->input[0][0] = NAN;
    t->input[0][1] = -INFINITY;
    t->input[0][2] = INFINITY;
    trial_run(t);
    assert_true(isnan(t->output[0][0]) && t->output[0][1] == 0 && isinf(t->output[0][2]));
    trial_close(t);
    graph_free(g);
}

/* x[2,1,1,2] = 1, 2, 3, 6: mean 3, biased variance 3.5, unbiased 14/3. */
static void running_statistics_by_hand(void **state)
{
    const double x[] = {1, 2, 3, 6};
    struct graph *g = graph_new(true);
    struct trial *t;
    double want;

    (void)state;
    graph_output(g, graph_batch_norm(
                        g,
                        graph_input(g, shape_of(4, (int64_t)2, (int64_t)1, (int64_t)1, (int64_t)2),
                                    VALUE_REAL),
                        "bn"));
    t = trial_open(g, &backend_reference, NULL);
    trial_fill(t, 1);
    memcpy(t->input[0], x, sizeof x);
    t->state[t->states->tensor[0].offset] = -2;
    t->state[t->states->tensor[1].offset] = 5;
    trial_run(t);
    assert_true(t->state[t->states->tensor[0].offset] == -2);
    assert_true(t->state[t->states->tensor[1].offset] == 5);
    t->move_statistics = true;
    trial_run(t);
    want = 0.9 * -2 + 0.1 * 3;
    assert_close("running mean", &t->state[t->states->tensor[0].offset], &want, 1, 1e-15);
    want = 0.9 * 5 + 0.1 * 14 / 3;
    assert_close("running var", &t->state[t->states->tensor[1].offset], &want, 1, 1e-15);
    trial_close(t);
    graph_free(g);
}

static void missing_operations_are_named(void **state)
{
    struct graph *g = graph_new(true);
    struct backend *backend;
    struct layout *layout;
    struct program *program;
    const struct backend_options options = {.threads = 1};
    const struct program_options program_options = {.side_by_side = 1};

    (void)state;
    graph_relu(g, graph_input(g, shape_of(1, (int64_t)3), VALUE_REAL));
    g->nodes[1].op = OP_COUNT;
    assert_ok(backend_reference.open(&backend, &options, err));
    assert_ok(layout_open(&layout, NULL, 0, err));
    assert_refused(
        backend_reference.program_open(backend, g, layout, layout, &program_options, &program, err),
        ERR_UNSUPPORTED, "the reference backend has no operation unknown");
    graph_relu(g, 99);
    assert_refused(
        backend_reference.program_open(backend, g, layout, layout, &program_options, &program, err),
        ERR_INVALID, "value 99");
    backend_reference.close(backend);
    layout_close(layout);
    graph_free(g);
}

static int execute(const struct trial *t, const struct pass *pass, struct err *err)
{
    return t->class->execute(t->backend, pass, 1, err);
}

static void incomplete_passes_are_refused(void **state)
{
    struct graph *g;
    struct trial *t = open_classification(&g, 2, 3);
    const void *inputs[] = {t->input[0], t->labels[1]};
    void *outputs[] = {t->output[0], t->output[1], t->output[2], t->output[3], t->output[4]};
    struct pass pass = {
        .program = t->program, .weights = t->device_weights, .inputs = inputs, .outputs = outputs};

    (void)state;
    assert_ok(execute(t, &pass, err));
    t->labels[1][1] = 3;
    assert_refused(execute(t, &pass, err), ERR_INVALID, "label 3 of sample 1; 3 classes");
    t->labels[1][1] = -1;
    assert_refused(execute(t, &pass, err), ERR_INVALID, "label -1 of sample 1");
    t->labels[1][1] = 0;
    pass.perturbation = (struct perturbation){.kind = PERTURB_NOISE, .eta = 0.1};
    assert_refused(execute(t, &pass, err), ERR_INVALID, "Fisher numbers are missing");
    pass.perturbation = (struct perturbation){.kind = PERTURB_DIRECTION, .rho = 0.1};
    assert_refused(execute(t, &pass, err), ERR_INVALID, "directions are missing");
    pass.weights = NULL;
    assert_refused(execute(t, &pass, err), ERR_INVALID, "weights are missing");
    trial_close(t);
    graph_free(g);
}

static void vectors_know_their_size(void **state)
{
    const struct backend_options options = {.threads = 1};
    const double three[] = {1, 2, 3};
    double back[4] = {9, 9, 9, 9};
    struct backend *backend;
    struct vector *vector;

    (void)state;
    assert_ok(backend_reference.open(&backend, &options, err));
    assert_ok(backend_reference.vector_open(backend, 4, &vector, err));
    assert_ok(backend_reference.vector_write(vector, 1, 3, three, err));
    assert_ok(backend_reference.vector_read(vector, 0, 4, back, err));
    assert_true(back[0] == 0 && back[1] == 1 && back[3] == 3);
    assert_refused(backend_reference.vector_write(vector, 2, 3, three, err), ERR_INVALID,
                   "3 elements from 2 on, of 4");
    assert_refused(backend_reference.vector_read(vector, 5, 0, back, err), ERR_INVALID, "of 4");
    backend_reference.vector_close(vector);
    assert_refused(backend_reference.vector_open(backend, SIZE_MAX / 4, &vector, err),
                   ERR_NO_MEMORY, "memory");
    backend_reference.vector_close(NULL);
    backend_reference.program_close(NULL);
    backend_reference.close(backend);
    backend_reference.close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations_are_as_defined),
        cmocka_unit_test(cases_hold_every_operation),
        cmocka_unit_test(cross_entropy_by_hand),
        cmocka_unit_test(ties_and_nan_in_ranking),
        cmocka_unit_test(nan_goes_through_relu),
        cmocka_unit_test(running_statistics_by_hand),
        cmocka_unit_test(missing_operations_are_named),
        cmocka_unit_test(incomplete_passes_are_refused),
        cmocka_unit_test(vectors_know_their_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
