#include "weight_bank.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"

/* Names with "weight" in them are those that ASAM scales. */
static const struct {
    const char *name;
    int rank;
    int64_t dim[4];
} shapes[] = {
    {"stem.weight", 4, {5, 3, 3, 3}},     {"bn.weight", 1, {33}},
    {"conv.weight", 4, {4, 16, 3, 3}},    {"bn.bias", 1, {5}},
    {"even.weight", 4, {3, 12, 2, 2}},    {"one.weight", 4, {6, 20, 1, 1}},
    {"positions", 3, {1, 9, 1001}},       {"linear.weight", 2, {7, 13}},
    {"long.weight", 4, {2, 1001, 3, 3}},  {"linear.bias", 1, {7}},
    {"wide.weight", 2, {2, 8200}},        {"zero.bias", 1, {9}},
    {"longer", 1, {WEIGHT_ROW_MAX + 30}},
};

static struct graph *weights_graph(void)
{
    struct graph *g = graph_new(true);

    for (size_t i = 0; i < ARRAY_LENGTH(shapes); i++) {
        struct shape shape = {.rank = shapes[i].rank};

        memcpy(shape.dim, shapes[i].dim, sizeof shapes[i].dim);
        graph_param(g, shape, (struct init){INIT_UNIFORM, 1}, "%s", shapes[i].name);
    }
    return g;
}

static size_t whole_lines(size_t bytes)
{
    return (bytes + 15) / 16 * 16;
}

/* Convolutions' K,C,R,S as K,R,S,C with channels in eights; all else as it is. */
static struct weight_form form_of(const struct shape *shape, const struct layout_tensor *t,
                                  enum element type, size_t *bytes)
{
    bool image = shape->rank == 4;
    struct weight_form form = {.type = shape->rank > 1 ? type : ELEMENT_F32,
                               .taps = image ? (int32_t)(shape->dim[2] * shape->dim[3]) : 1,
                               .at = (int64_t)*bytes};

    form.channels = (int32_t)t->filter_size / form.taps;
    form.pitch = image ? (form.channels + 7) / 8 * 8 : form.channels;
    *bytes +=
        whole_lines(t->filters * (size_t)form.taps * (size_t)form.pitch * element_bytes(form.type));
    return form;
}

static struct weight_form plain_form(const struct layout_tensor *t)
{
    return (struct weight_form){.type = ELEMENT_F32,
                                .taps = 1,
                                .channels = (int32_t)t->filter_size,
                                .pitch = (int32_t)t->filter_size,
                                .at = (int64_t)(t->offset * sizeof(float))};
}

static void fill_table(struct bank *b, enum element type, bool plain)
{
    size_t rows = 0;

    for (int i = 0; i < b->layout->n; i++) {
        const struct layout_tensor *t = &b->layout->tensor[i];
        const struct shape *shape = &b->graph->params[i].shape;
        struct weight_tensor *to = &b->tensor[i];

        *to = (struct weight_tensor){.offset = (int64_t)t->offset,
                                     .size = (int64_t)t->size,
                                     .filters = (int64_t)t->filters,
                                     .filter_size = (int64_t)t->filter_size,
                                     .fisher_offset = (int64_t)t->fisher_offset,
                                     .number = i,
                                     .elementwise = t->elementwise,
                                     .scaled = t->weight};
        to->cast = plain ? plain_form(t) : form_of(shape, t, type, &b->cast_bytes);
        to->gradient = plain ? plain_form(t) : form_of(shape, t, type, &b->gradient_bytes);
        rows += t->filters;
    }
    if (plain)
        b->cast_bytes = b->gradient_bytes = b->layout->size * sizeof(float);
    b->row = device_new(rows * sizeof *b->row);
    assert_int_equal(weight_rows_fill(b->tensor, b->layout->n, b->row, &b->table), rows);
    b->table.tensor = b->tensor;
    b->table.row = b->row;
}

/* Where number j of filter f lies in a form, written down once more. */
static int64_t place(const struct weight_form *form, int64_t f, int64_t j)
{
    int64_t channel = j / form->taps, tap = j % form->taps;

    return (f * form->taps + tap) * form->pitch + channel;
}

/* A reference vector like the weights, of numbers in (low, 1), rounded as the forms `type` say. */
static struct vector *random_vector(const struct bank *b, uint64_t seed, double low,
                                    enum element type, double *values)
{
    const struct backend_class *class = &backend_reference;
    struct vector *vector;

    memset(values, 0, b->layout->size * sizeof *values);
    for (int i = 0; i < b->layout->n; i++) {
        const struct layout_tensor *t = &b->layout->tensor[i];
        enum element mine = t->elementwise ? ELEMENT_F32 : type;

        if (strcmp(shapes[i].name, "zero.bias") == 0 && type == ELEMENT_F32 && low < 0)
            continue;
        fill_uniform(seed * 100 + (uint64_t)i, low, 1, values + t->offset, t->size);
        for (size_t j = t->offset; j < t->offset + t->size; j++)
            values[j] = rounded_to(mine, values[j]);
    }
    assert_ok(class->vector_open(b->backend, b->layout->size, &vector, err));
    device_write(class, vector, values, b->layout->size);
    return vector;
}

static void *pack(const struct bank *b, const double *values)
{
    char *packed = device_new(b->gradient_bytes);

    for (int i = 0; i < b->layout->n; i++) {
        const struct layout_tensor *t = &b->layout->tensor[i];
        const struct weight_form *form = &b->tensor[i].gradient;

        for (size_t j = 0; j < t->size; j++) {
            int64_t at = place(form, (int64_t)(j / t->filter_size), (int64_t)(j % t->filter_size));
            void *one = device_array(form->type, &values[t->offset + j], 1);

            memcpy(packed + form->at + (size_t)at * element_bytes(form->type), one,
                   element_bytes(form->type));
            free(one);
        }
    }
    return packed;
}

struct bank *bank_open(enum element type, bool plain)
{
    const struct backend_class *class = &backend_reference;
    struct backend_options options = {.threads = 1};
    struct bank *b = calloc(1, sizeof *b);
    double *values;

    assert_non_null(b);
    b->graph = weights_graph();
    assert_ok(layout_open(&b->layout, b->graph->params, b->graph->n_params, err));
    assert_ok(class->open(&b->backend, &options, err));
    b->tensor = device_new((size_t)b->layout->n * sizeof *b->tensor);
    fill_table(b, type, plain);
    values = calloc(b->layout->size, sizeof *values);
    b->weights = random_vector(b, 1, -1, ELEMENT_F32, values);
    b->w32 = device_floats(values, (int64_t)b->layout->size);
    b->m = random_vector(b, 2, -1, ELEMENT_F32, values);
    b->m32 = device_floats(values, (int64_t)b->layout->size);
    b->v = random_vector(b, 3, 0, ELEMENT_F32, values);
    b->v32 = device_floats(values, (int64_t)b->layout->size);
    for (int k = 0; k < BANK_TERMS; k++) {
        b->gradient[k] =
            random_vector(b, 4 + (uint64_t)k, -0.9, plain ? ELEMENT_F32 : type, values);
        b->packed[k] = pack(b, values);
    }
    assert_ok(class->vector_open(b->backend, b->layout->fisher_size, &b->fisher, err));
    fill_uniform(9, 0, 3, values, b->layout->fisher_size);
    device_write(class, b->fisher, values, b->layout->fisher_size);
    b->fisher32 = device_floats(values, (int64_t)b->layout->fisher_size);
    free(values);
    return b;
}

void bank_close(struct bank *b)
{
    const struct backend_class *class = &backend_reference;

    class->vector_close(b->weights);
    class->vector_close(b->m);
    class->vector_close(b->v);
    class->vector_close(b->fisher);
    for (int k = 0; k < BANK_TERMS; k++) {
        class->vector_close(b->gradient[k]);
        free(b->packed[k]);
    }
    class->close(b->backend);
    free(b->w32);
    free(b->m32);
    free(b->v32);
    free(b->fisher32);
    free(b->tensor);
    free(b->row);
    layout_close(b->layout);
    graph_free(b->graph);
    free(b);
}

void bank_read_cast(const struct bank *b, const void *cast, double *out)
{
    for (int i = 0; i < b->layout->n; i++) {
        const struct layout_tensor *t = &b->layout->tensor[i];
        const struct weight_form *form = &b->tensor[i].cast;
        int64_t row = (int64_t)form->taps * form->pitch, n = (int64_t)t->filters * row;
        double *all = calloc((size_t)n, sizeof *all);
        void *copy = device_new((size_t)n * element_bytes(form->type));

        memcpy(copy, (const char *)cast + form->at, (size_t)n * element_bytes(form->type));
        take_array(form->type, copy, all, n);
        for (int64_t at = 0; at < n; at++) {
            int64_t channel = at % form->pitch, tap = at / form->pitch % form->taps;

            if (channel < form->channels)
                out[(int64_t)t->offset + at / row * (int64_t)t->filter_size + channel * form->taps +
                    tap] = all[at];
            else
                assert_true(all[at] == 0);
        }
        free(all);
    }
}

void bank_compare(const struct bank *b, const char *what, const double *got,
                  const struct vector *want, double tolerance)
{
    for (int i = 0; i < b->layout->n; i++) {
        const struct layout_tensor *t = &b->layout->tensor[i];
        char name[200];

        snprintf(name, sizeof name, "%s: %s", what, shapes[i].name);
        assert_close(name, got + t->offset, want->data + t->offset, t->size, tolerance);
    }
}

void bank_compare_floats(const struct bank *b, const char *what, const float *got,
                         const struct vector *want, double tolerance)
{
    double *wide = calloc(b->layout->size, sizeof *wide);

    for (size_t i = 0; i < b->layout->size; i++)
        wide[i] = (double)got[i];
    bank_compare(b, what, wide, want, tolerance);
    free(wide);
}
