#include "golden_hessian.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "golden.h"
#include "model/model.h"
#include "random/philox.h"

/* As `Draws` there: a stream of its own for each array, in this order. */
struct draws {
    uint64_t seed;
};

static void draw_labels(struct draws *draws, int32_t *labels, int64_t n, int classes)
{
    draws->seed++;
    for (int64_t i = 0; i < n; i++)
        labels[i] = (int32_t)(philox(draws->seed, (uint32_t)i, 0, 0).word[0] % (uint32_t)classes);
}

static void draw_weights(struct draws *draws, const struct graph_tensor *tensor, double *to)
{
    int64_t n = shape_elements(&tensor->shape);
    double bound = sqrt(3 / ((double)n / (double)tensor->shape.dim[0]));

    if (tensor->shape.rank > 1)
        fill_uniform(++draws->seed, -bound, bound, to, (size_t)n);
    else if (strstr(tensor->name, "weight"))
        fill_uniform(++draws->seed, 0.5, 1.5, to, (size_t)n);
    else
        fill_uniform(++draws->seed, -0.5, 0.5, to, (size_t)n);
}

static void draw_all(struct trial *t, uint64_t seed, int classes)
{
    const struct graph *g = t->graph;
    struct draws draws = {1000 * seed};

    fill_uniform(++draws.seed, -1, 1, t->input[0],
                 (size_t)shape_elements(&g->values[g->inputs[0]].shape));
    draw_labels(&draws, t->labels[1], g->values[g->inputs[1]].shape.dim[0], classes);
    for (int i = 0; i < g->n_params; i++)
        draw_weights(&draws, &g->params[i], t->weights + t->params->tensor[i].offset);
    for (int i = 0; i < g->n_states; i++) {
        double centre = strstr(g->states[i].name, "var") ? 1 : 0;
        fill_uniform(++draws.seed, centre - 0.5, centre + 0.5,
                     t->state + t->states->tensor[i].offset, t->states->tensor[i].size);
    }
    for (int i = 0; i < g->n_params; i++)
        fill_uniform(++draws.seed, -1, 1, t->direction + t->params->tensor[i].offset,
                     t->params->tensor[i].size);
}

/* A vector without the gaps of its layout. */
static void pack(const struct layout *layout, const double *from, double *to)
{
    for (int i = 0; i < layout->n; i++) {
        memcpy(to, from + layout->tensor[i].offset, layout->tensor[i].size * sizeof *to);
        to += layout->tensor[i].size;
    }
}

/* The place in a vector of parameter number `number` of all. */
static size_t place_of(const struct layout *layout, size_t number)
{
    int i = 0;

    for (; number >= layout->tensor[i].size; i++)
        number -= layout->tensor[i].size;
    return layout->tensor[i].offset + number;
}

static double *numbers(size_t n)
{
    double *array = calloc(n + 1, sizeof *array);

    assert_non_null(array);
    return array;
}

static void read_numbers(FILE *file, const char *kind, double *to, size_t n)
{
    char *line = golden_next(file, kind);

    assert_non_null(line);
    if (strcmp(kind, "row") == 0)
        assert_int_equal(golden_integer(&line), n - 1);
    for (size_t i = 0; i < n; i++)
        to[i] = golden_number(&line);
}

/* hessian[n,n] from the lower triangle in the file. */
static void read_hessian(FILE *file, double *hessian, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        read_numbers(file, "row", hessian + i * n, i + 1);
        for (size_t j = 0; j < i; j++)
            hessian[j * n + i] = hessian[i * n + j];
    }
}

/* Row j ← H·e_j, which is also column j. */
static void compute_hessian(struct trial *t, double *hessian, size_t n, bool keep_primal)
{
    for (size_t j = 0; j < n; j++) {
        memset(t->direction, 0, t->params->size * sizeof *t->direction);
        t->direction[place_of(t->params, j)] = 1;
        t->primal_kept = keep_primal && j > 0;
        trial_run(t);
        pack(t->params, t->product, hessian + j * n);
    }
}

static void check_net(FILE *file, char *line, int number, const struct backend_class *class,
                      const struct support_options *options, double tolerance)
{
    struct graph *g = hessian_net(golden_word(&line));
    struct trial *t = trial_open(g, class, options);
    size_t n = golden_integer(&line);
    double loss = golden_number(&line);
    double *got = numbers(n * n), *want = numbers(n * n), *slope = numbers(n);

    assert_int_equal(n, model_parameters(g));
    draw_all(t, (uint64_t)number, 3);
    compute_hessian(t, got, n, options && options->keep_primal);
    assert_close("loss", t->output[0], &loss, 1, tolerance);
    pack(t->params, t->gradient, slope);
    read_numbers(file, "gradient", want, n);
    assert_close("gradient", slope, want, n, tolerance);
    read_hessian(file, want, n);
    assert_close("Hessian", got, want, n * n, tolerance);
    free(got);
    free(want);
    free(slope);
    trial_close(t);
    graph_free(g);
}

void golden_hessians_check(const struct backend_class *class, const struct support_options *options,
                           double tolerance)
{
    FILE *file = golden_open("hessians.txt");
    int n = 0;

    for (char *line; (line = golden_next(file, "net"));)
        check_net(file, line, ++n, class, options, tolerance);
    fclose(file);
    assert_int_equal(n, 8);
}

/* As MODELS there. Dropout is to have no part in a curvature. */
static const struct golden_model {
    const char *name;
    struct job_model model;
    int64_t channels, size;
    double smoothing;
    bool batch_statistics;
} models[] = {
    {"resnet18", {.kind = MODEL_RESNET18, .width = 4, .blocks = {4, {2, 2, 2, 2}}}, 1, 8, 0, false},
    {"resnet18-of-batch",
     {.kind = MODEL_RESNET18, .width = 4, .blocks = {3, {1, 1, 1}}},
     1,
     8,
     0.1,
     true},
    {"resnet50", {.kind = MODEL_RESNET50, .width = 3, .blocks = {3, {1, 2, 1}}}, 3, 8, 0, false},
    {"resnet18-large",
     {.kind = MODEL_RESNET18, .width = 4, .blocks = {2, {1, 1}}, .stem = STEM_IMAGENET},
     3,
     32,
     0,
     false},
    {"resnet50-large-of-batch",
     {.kind = MODEL_RESNET50, .width = 3, .blocks = {2, {1, 1}}, .stem = STEM_IMAGENET},
     3,
     32,
     0,
     true},
    {"preresnet", {.kind = MODEL_PRERESNET, .depth = 20, .width = 3}, 1, 8, 0.1, false},
    {"preresnet-of-batch", {.kind = MODEL_PRERESNET, .depth = 11, .width = 4}, 1, 8, 0, true},
    {"vgg16", {.kind = MODEL_VGG16_BN, .width = 3, .dropout = 0.5}, 3, 32, 0, false},
    {"vgg16-of-batch", {.kind = MODEL_VGG16_BN, .width = 3, .dropout = 0.5}, 3, 32, 0, true},
    {"wrn", {.kind = MODEL_WRN, .depth = 10, .widen = 1, .dropout = 0.3}, 1, 8, 0, false},
    {"wrn-of-batch", {.kind = MODEL_WRN, .depth = 10, .widen = 1, .dropout = 0.3}, 1, 8, 0.1, true},
    {"vit",
     {.kind = MODEL_VIT,
      .patch = 2,
      .width = 18,
      .depth = 2,
      .heads = 3,
      .mlp = 20,
      .dropout = 0.1,
      .embedding_dropout = 0.1},
     1,
     8,
     0,
     false},
    {"vit-one-head",
     {.kind = MODEL_VIT, .patch = 4, .width = 12, .depth = 1, .heads = 1, .mlp = 20},
     3,
     8,
     0.1,
     false},
    {"vit-s16",
     {.kind = MODEL_VIT_S16, .patch = 4, .width = 16, .depth = 2, .heads = 4, .mlp = 24},
     3,
     8,
     0,
     false},
};

static struct graph *model_of(const struct golden_model *m)
{
    struct model_input input = {.batch = 5,
                                .channels = m->channels,
                                .height = m->size,
                                .width = m->size,
                                .classes = 10,
                                .label_smoothing = m->smoothing};
    struct graph *g = NULL;

    assert_ok(model_curvature_graph(&g, &m->model, &input, m->batch_statistics, err));
    return g;
}

static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static void assert_within(const char *what, const char *of, double got, double want, double allowed)
{
    if (!(fabs(got - want) <= allowed))
        fail_msg("%s: %s is %.15g and should be %.15g, give or take %.3g", of, what, got, want,
                 allowed);
}

/* A parameter's part of H·d; `least` is a thousandth of all of it. */
static void check_part(const struct trial *t, int i, char *line, const char *model, double least,
                       double tolerance)
{
    const struct layout_tensor *tensor = &t->params->tensor[i];
    const double *product = t->product + tensor->offset;
    double sum = 0, want_sum, squares, allowed;
    char name[200];

    snprintf(name, sizeof name, "%s, %s", model, t->graph->params[i].name);
    assert_string_equal(golden_word(&line), t->graph->params[i].name);
    assert_int_equal(golden_integer(&line), tensor->size);
    want_sum = golden_number(&line);
    squares = golden_number(&line);
    allowed = tolerance * fmax(sqrt(squares), least);
    for (size_t j = 0; j < tensor->size; j++)
        sum += product[j];
    assert_within("sum", name, sum, want_sum, allowed * sqrt((double)tensor->size));
    assert_within("norm", name, sqrt(dot(product, product, tensor->size)), sqrt(squares), allowed);
    while (*line) {
        size_t at = golden_integer(&line);
        assert_within("an element", name, product[at], golden_number(&line), allowed);
    }
}

/* e·H·d = d·H·e, H·d being what the trial has. */
static void check_symmetry(struct trial *t, uint64_t seed, const char *model, double tolerance)
{
    size_t n = t->params->size;
    double *d = numbers(n), *product = numbers(n), scale = 0, want;

    memcpy(d, t->direction, n * sizeof *d);
    memcpy(product, t->product, n * sizeof *product);
    for (int i = 0; i < t->params->n; i++)
        fill_uniform(seed * 1000 + 500 + (uint64_t)i, -1, 1,
                     t->direction + t->params->tensor[i].offset, t->params->tensor[i].size);
    want = dot(t->direction, product, n);
    for (size_t i = 0; i < n; i++)
        scale += t->direction[i] * product[i] * t->direction[i] * product[i];
    trial_run(t);
    assert_within("d·H·e", model, dot(d, t->product, n), want, tolerance * sqrt(scale));
    free(d);
    free(product);
}

static void check_model(FILE *file, char *line, int number, const struct backend_class *class,
                        const struct support_options *options, const double tolerance[2])
{
    const struct golden_model *m = &models[number - 1];
    struct graph *g = model_of(m);
    struct trial *t = trial_open(g, class, options);
    double loss, along, norm;

    assert_string_equal(golden_word(&line), m->name);
    assert_int_equal(golden_integer(&line), model_parameters(g));
    loss = golden_number(&line);
    along = golden_number(&line);
    norm = sqrt(golden_number(&line));
    draw_all(t, (uint64_t)number + 50, 10);
    trial_run(t);
    assert_close(m->name, t->output[MODEL_OUTPUT_LOSS], &loss, 1, tolerance[0]);
    assert_within("d·H·d", m->name, dot(t->direction, t->product, t->params->size), along,
                  tolerance[0] * norm * sqrt((double)model_parameters(g)));
    for (int i = 0; i < g->n_params; i++) {
        line = golden_next(file, "tensor");
        assert_non_null(line);
        check_part(t, i, line, m->name, norm / 1000, tolerance[0]);
    }
    t->primal_kept = options && options->keep_primal;
    check_symmetry(t, (uint64_t)number, m->name, tolerance[1]);
    trial_close(t);
    graph_free(g);
}

void golden_products_check(const struct backend_class *class, const struct support_options *options,
                           double tolerance, double symmetry)
{
    FILE *file = golden_open("products.txt");
    int n = 0;

    for (char *line; (line = golden_next(file, "product"));)
        check_model(file, line, ++n, class, options, (double[]){tolerance, symmetry});
    fclose(file);
    assert_int_equal(n, ARRAY_LENGTH(models));
}
