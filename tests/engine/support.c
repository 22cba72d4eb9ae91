#include "support.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "random/philox.h"

static void *allocate(size_t n, size_t item_bytes)
{
    void *memory = calloc(n ? n : 1, item_bytes);

    if (!memory)
        fail_msg("out of memory");
    return memory;
}

void fill_uniform(uint64_t seed, double low, double high, double *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct philox draw = philox(seed, (uint32_t)(i / 4), 0, 0);
        double symmetric = random_symmetric(draw.word[i % 4]);
        out[i] = (double)(float)(low + (high - low) * (symmetric + 1) / 2);
    }
}

static double largest(const double *x, size_t n)
{
    double most = 0;

    for (size_t i = 0; i < n; i++)
        if (!(fabs(x[i]) <= most))
            most = fabs(x[i]);
    return most;
}

/* Where |got − want| is largest, or the first NaN. */
static size_t worst_place(const double *got, const double *want, size_t n)
{
    size_t place = 0;
    double worst = -1;

    for (size_t i = 0; i < n; i++) {
        double difference = fabs(got[i] - want[i]);
        if (isnan(difference))
            return i;
        if (difference > worst) {
            worst = difference;
            place = i;
        }
    }
    return place;
}

double relative_error(const double *got, const double *want, size_t n)
{
    size_t place = worst_place(got, want, n);
    double error = n > 0 ? fabs(got[place] - want[place]) : 0, scale = largest(want, n);

    if (isnan(error) || isnan(scale))
        return INFINITY;
    if (error == 0)
        return 0;
    return scale > 0 ? error / scale : INFINITY;
}

void assert_close(const char *what, const double *got, const double *want, size_t n,
                  double tolerance)
{
    double error = relative_error(got, want, n);
    size_t place = worst_place(got, want, n);

    if (!(error <= tolerance))
        fail_msg("%s: element %zu of %zu is %.17g and should be %.17g; relative error %.3g, "
                 "allowed %.3g",
                 what, place, n, got[place], want[place], error, tolerance);
}

void device_write(const struct backend_class *class, struct vector *vector, const double *from,
                  size_t n)
{
    float *narrow;

    if (class->real == REAL_F64) {
        assert_ok(class->vector_write(vector, 0, n, from, err));
        return;
    }
    narrow = allocate(n, sizeof *narrow);
    for (size_t i = 0; i < n; i++)
        narrow[i] = (float)from[i];
    assert_ok(class->vector_write(vector, 0, n, narrow, err));
    free(narrow);
}

void device_read(const struct backend_class *class, const struct vector *vector, double *to,
                 size_t n)
{
    float *narrow;

    if (class->real == REAL_F64) {
        assert_ok(class->vector_read(vector, 0, n, to, err));
        return;
    }
    narrow = allocate(n, sizeof *narrow);
    assert_ok(class->vector_read(vector, 0, n, narrow, err));
    for (size_t i = 0; i < n; i++)
        to[i] = (double)narrow[i];
    free(narrow);
}

static size_t value_size(const struct graph *graph, int value)
{
    return (size_t)shape_elements(&graph->values[value].shape);
}

size_t trial_output_size(const struct trial *trial, int output)
{
    return value_size(trial->graph, trial->graph->outputs[output]);
}

static void open_host_memory(struct trial *t)
{
    const struct graph *graph = t->graph;

    t->input = allocate((size_t)graph->n_inputs, sizeof *t->input);
    t->labels = allocate((size_t)graph->n_inputs, sizeof *t->labels);
    t->output = allocate((size_t)graph->n_outputs, sizeof *t->output);
    for (int i = 0; i < graph->n_inputs; i++) {
        size_t n = value_size(graph, graph->inputs[i]);
        if (graph->values[graph->inputs[i]].type == VALUE_INDEX)
            t->labels[i] = allocate(n, sizeof *t->labels[i]);
        else
            t->input[i] = allocate(n, sizeof *t->input[i]);
    }
    for (int i = 0; i < graph->n_outputs; i++)
        t->output[i] = allocate(trial_output_size(t, i), sizeof *t->output[i]);
    t->weights = allocate(t->params->size, sizeof *t->weights);
    t->gradient = allocate(t->params->size, sizeof *t->gradient);
    t->direction = allocate(t->params->size, sizeof *t->direction);
    t->product = allocate(t->params->size, sizeof *t->product);
    t->state = allocate(t->states->size, sizeof *t->state);
}

struct trial *trial_open(const struct graph *graph, const struct backend_class *class,
                         const struct support_options *options)
{
    struct trial *t = allocate(1, sizeof *t);
    struct backend_options open_options = {.threads = 1};
    struct program_options program_options = {.side_by_side = 1};

    if (options && options->threads)
        open_options.threads = options->threads;
    if (options) {
        program_options.exact = options->exact;
        program_options.keep_primal = options->keep_primal;
    }
    t->graph = graph;
    t->class = class;
    assert_ok(graph_check(graph, err));
    assert_ok(layout_open(&t->params, graph->params, graph->n_params, err));
    assert_ok(layout_open(&t->states, graph->states, graph->n_states, err));
    open_host_memory(t);
    assert_ok(class->open(&t->backend, &open_options, err));
    assert_ok(class->vector_open(t->backend, t->params->size, &t->device_weights, err));
    assert_ok(class->vector_open(t->backend, t->params->size, &t->device_gradient, err));
    assert_ok(class->vector_open(t->backend, t->params->size, &t->device_direction, err));
    assert_ok(class->vector_open(t->backend, t->params->size, &t->device_product, err));
    assert_ok(class->vector_open(t->backend, t->states->size, &t->device_states, err));
    assert_ok(class->program_open(t->backend, graph, t->params, t->states, &program_options,
                                  &t->program, err));
    return t;
}

void trial_close(struct trial *t)
{
    for (int i = 0; i < t->graph->n_inputs; i++) {
        free(t->input[i]);
        free(t->labels[i]);
    }
    for (int i = 0; i < t->graph->n_outputs; i++)
        free(t->output[i]);
    free(t->input);
    free(t->labels);
    free(t->output);
    free(t->weights);
    free(t->gradient);
    free(t->direction);
    free(t->product);
    free(t->state);
    t->class->program_close(t->program);
    t->class->vector_close(t->device_weights);
    t->class->vector_close(t->device_gradient);
    t->class->vector_close(t->device_direction);
    t->class->vector_close(t->device_product);
    t->class->vector_close(t->device_states);
    t->class->close(t->backend);
    layout_close(t->params);
    layout_close(t->states);
    free(t);
}

/* How many classes the labels in this value choose from. */
static int64_t classes_of(const struct graph *graph, int labels)
{
    for (int i = 0; i < graph->n_nodes; i++) {
        const struct node *node = &graph->nodes[i];
        if (node->n_inputs == 2 && node->input[1] == labels)
            return graph->values[node->input[0]].shape.dim[1];
    }
    return 1;
}

void trial_fill(struct trial *t, uint64_t seed)
{
    const struct graph *graph = t->graph;

    t->draws = (struct pass_draws){.seed = seed, .update = seed + 1, .term = 1};
    seed *= 1000; /* a stream of its own for each array */
    for (int i = 0; i < graph->n_inputs; i++) {
        size_t n = value_size(graph, graph->inputs[i]);
        int64_t classes = classes_of(graph, graph->inputs[i]);
        seed++;
        if (t->input[i])
            fill_uniform(seed, -1, 1, t->input[i], n);
        for (size_t j = 0; t->labels[i] && j < n; j++)
            t->labels[i][j] =
                (int32_t)(philox(seed, (uint32_t)j, 0, 0).word[0] % (uint64_t)classes);
    }
    for (int i = 0; i < graph->n_params; i++) {
        const struct layout_tensor *tensor = &t->params->tensor[i];
        fill_uniform(++seed, -1, 1, t->weights + tensor->offset, tensor->size);
    }
    for (int i = 0; i < graph->n_states; i++) {
        const struct layout_tensor *tensor = &t->states->tensor[i];
        double centre = strstr(graph->states[i].name, "var") ? 1 : 0;
        fill_uniform(++seed, centre - 0.5, centre + 0.5, t->state + tensor->offset, tensor->size);
    }
    for (int i = 0; i < graph->n_params; i++) {
        const struct layout_tensor *tensor = &t->params->tensor[i];
        fill_uniform(++seed, -1, 1, t->direction + tensor->offset, tensor->size);
    }
}

static bool has_gradient(const struct graph *graph)
{
    for (int i = 0; i < graph->n_params; i++)
        if (graph->params[i].gradient >= 0)
            return true;
    return false;
}

static bool has_tangents(const struct graph *graph)
{
    for (int i = 0; i < graph->n_params; i++)
        if (graph->params[i].direction >= 0)
            return true;
    return false;
}

/* Host memory in the backend's real type: `real` itself or, where that is double and the backend's
 * is not, a fresh array of float with its contents. */
static void *to_backend(const struct trial *t, double *real, size_t n)
{
    float *narrow;

    if (t->class->real == REAL_F64)
        return real;
    narrow = allocate(n, sizeof *narrow);
    for (size_t i = 0; i < n; i++)
        narrow[i] = (float)real[i];
    return narrow;
}

/* Undoes `to_backend`; with `read`, after bringing back what the backend wrote there. */
static void from_backend(void *theirs, double *real, size_t n, bool read)
{
    if (theirs == real)
        return;
    for (size_t i = 0; read && i < n; i++)
        real[i] = (double)((float *)theirs)[i];
    free(theirs);
}

static void write_device(struct trial *t)
{
    device_write(t->class, t->device_weights, t->weights, t->params->size);
    device_write(t->class, t->device_states, t->state, t->states->size);
    device_write(t->class, t->device_direction, t->direction, t->params->size);
}

static void read_device(struct trial *t)
{
    device_read(t->class, t->device_gradient, t->gradient, t->params->size);
    device_read(t->class, t->device_product, t->product, t->params->size);
    device_read(t->class, t->device_states, t->state, t->states->size);
}

int trial_try(struct trial *t, struct err *err)
{
    const struct graph *graph = t->graph;
    void **inputs = allocate((size_t)graph->n_inputs, sizeof *inputs);
    void **outputs = allocate((size_t)graph->n_outputs, sizeof *outputs);
    bool directed = has_tangents(graph) && !t->no_direction;
    struct pass pass = {.program = t->program,
                        .weights = t->device_weights,
                        .perturbation = t->perturbation,
                        .draws = t->draws,
                        .states = t->device_states,
                        .move_statistics = t->move_statistics,
                        .statistics_momentum = 0.1,
                        .inputs = (const void *const *)inputs,
                        .outputs = outputs,
                        .gradient = has_gradient(graph) ? t->device_gradient : NULL,
                        .direction = directed ? t->device_direction : NULL,
                        .product = directed ? t->device_product : NULL,
                        .primal_kept = t->primal_kept};
    int rc;

    write_device(t);
    for (int i = 0; i < graph->n_inputs; i++)
        inputs[i] = t->labels[i] ? (void *)t->labels[i]
                                 : to_backend(t, t->input[i], value_size(graph, graph->inputs[i]));
    for (int i = 0; i < graph->n_outputs; i++)
        outputs[i] = to_backend(t, t->output[i], trial_output_size(t, i));
    rc = t->class->execute(t->backend, &pass, 1, err);
    for (int i = 0; i < graph->n_inputs; i++)
        if (!t->labels[i])
            from_backend(inputs[i], t->input[i], 0, false);
    for (int i = 0; i < graph->n_outputs; i++)
        from_backend(outputs[i], t->output[i], trial_output_size(t, i), true);
    read_device(t);
    free(inputs);
    free(outputs);
    return rc;
}

void trial_run(struct trial *t)
{
    assert_ok(trial_try(t, err));
}
