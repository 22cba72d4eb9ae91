/* The same bits every time: passes repeated, in a new backend, one after the other and side by
 * side. Numbers of threads differ between rows, never within one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "model/model.h"
#include "support.h"

struct setting {
    const char *name;
    struct job_model model;
    struct model_input input;
    int threads;
};

static const struct setting settings[] = {
    {"small, alone", {MODEL_RESNET, 8, {3, {1, 1, 1}}}, {30, 1, 8, 8, 10}, 1},
    {"small, two threads", {MODEL_RESNET, 8, {3, {1, 1, 1}}}, {30, 1, 8, 8, 10}, 2},
    {"middle, two threads", {MODEL_RESNET, 16, {2, {1, 1}}}, {16, 3, 24, 24, 10}, 2},
    {"middle, four threads", {MODEL_RESNET, 16, {2, {1, 1}}}, {16, 3, 24, 24, 10}, 4},
    {"large, two threads", {MODEL_RESNET, 64, {1, {1}}}, {16, 3, 32, 32, 10}, 2},
    {"large, three threads", {MODEL_RESNET, 64, {1, {1}}}, {16, 3, 32, 32, 10}, 3},
};

/* An update of two terms, clean and noisy, as the mixed methods have it. */
struct two {
    struct graph *graph;
    struct layout *params, *states;
    struct backend *backend;
    struct program *program[2];
    struct vector *weights, *state, *gradient[2];
    float *images[2];
    int32_t *labels[2];
    float result[2][MODEL_OUTPUTS];
    float *host[2]; /* gradients, read back */
};

static float *random_floats(uint64_t seed, size_t n)
{
    double *values = malloc((n + 1) * sizeof *values);
    float *out = malloc((n + 1) * sizeof *out);

    assert_true(values && out);
    fill_uniform(seed, -1, 1, values, n);
    for (size_t i = 0; i < n; i++)
        out[i] = (float)values[i];
    free(values);
    return out;
}

static void open_term(struct two *t, const struct setting *s, int i)
{
    struct program_options options = {.side_by_side = 2};
    size_t images = (size_t)(s->input.batch * s->input.channels * s->input.height * s->input.width);

    assert_ok(backend_cpu.program_open(t->backend, t->graph, t->params, t->states, &options,
                                       &t->program[i], err));
    assert_ok(backend_cpu.vector_open(t->backend, t->params->size, &t->gradient[i], err));
    t->images[i] = random_floats(10 + (uint64_t)i, images);
    t->labels[i] = calloc((size_t)s->input.batch, sizeof *t->labels[i]);
    t->host[i] = malloc(t->params->size * sizeof *t->host[i]);
    assert_true(t->labels[i] && t->host[i]);
    for (int64_t k = 0; k < s->input.batch; k++)
        t->labels[i][k] = (int32_t)((k * 7 + i) % s->input.classes);
}

static void open_two(struct two *t, const struct setting *s)
{
    struct backend_options options = {.threads = s->threads};
    float *weights;

    assert_ok(model_graph(&t->graph, &s->model, &s->input, true, err));
    assert_ok(layout_open(&t->params, t->graph->params, t->graph->n_params, err));
    assert_ok(layout_open(&t->states, t->graph->states, t->graph->n_states, err));
    assert_ok(backend_cpu.open(&t->backend, &options, err));
    assert_ok(backend_cpu.vector_open(t->backend, t->params->size, &t->weights, err));
    assert_ok(backend_cpu.vector_open(t->backend, t->states->size, &t->state, err));
    weights = random_floats(3, t->params->size);
    assert_ok(backend_cpu.vector_write(t->weights, 0, t->params->size, weights, err));
    free(weights);
    for (int i = 0; i < 2; i++)
        open_term(t, s, i);
}

static void close_two(struct two *t)
{
    for (int i = 0; i < 2; i++) {
        backend_cpu.program_close(t->program[i]);
        backend_cpu.vector_close(t->gradient[i]);
        free(t->images[i]);
        free(t->labels[i]);
        free(t->host[i]);
    }
    backend_cpu.vector_close(t->weights);
    backend_cpu.vector_close(t->state);
    backend_cpu.close(t->backend);
    layout_close(t->params);
    layout_close(t->states);
    graph_free(t->graph);
}

/* Runs both terms, in one call or in one each, and reads the gradients back. */
static void run_two(struct two *t, bool together)
{
    const void *inputs[2][MODEL_INPUTS];
    void *outputs[2][MODEL_OUTPUTS];
    struct pass passes[2];

    for (int i = 0; i < 2; i++) {
        inputs[i][MODEL_INPUT_IMAGES] = t->images[i];
        inputs[i][MODEL_INPUT_LABELS] = t->labels[i];
        for (int o = 0; o < MODEL_OUTPUTS; o++)
            outputs[i][o] = &t->result[i][o];
        passes[i] = (struct pass){.program = t->program[i],
                                  .weights = t->weights,
                                  .states = t->state,
                                  .move_statistics = i == 0,
                                  .statistics_momentum = 0.1,
                                  .inputs = inputs[i],
                                  .outputs = outputs[i],
                                  .gradient = t->gradient[i]};
    }
    passes[1].perturbation =
        (struct perturbation){.kind = PERTURB_NOISE, .sigma = 0.1, .seed = 8, .term = 1};
    if (together) {
        assert_ok(backend_cpu.execute(t->backend, passes, 2, err));
    } else {
        assert_ok(backend_cpu.execute(t->backend, &passes[1], 1, err));
        assert_ok(backend_cpu.execute(t->backend, &passes[0], 1, err));
    }
    for (int i = 0; i < 2; i++)
        assert_ok(backend_cpu.vector_read(t->gradient[i], 0, t->params->size, t->host[i], err));
}

static void assert_same(const struct setting *s, const struct two *a, const struct two *b)
{
    for (int i = 0; i < 2; i++) {
        if (memcmp(a->host[i], b->host[i], a->params->size * sizeof(float)) != 0)
            fail_msg("%s: the gradient of term %d differs", s->name, i);
        if (memcmp(a->result[i], b->result[i], sizeof a->result[i]) != 0)
            fail_msg("%s: the outputs of term %d differ", s->name, i);
    }
}

static void passes_repeat(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(settings); i++) {
        struct two first, again;

        open_two(&first, &settings[i]);
        open_two(&again, &settings[i]);
        run_two(&first, true);
        run_two(&again, true);
        assert_same(&settings[i], &first, &again);
        run_two(&again, true); /* where memory is no longer fresh */
        assert_same(&settings[i], &first, &again);
        run_two(&again, false);
        assert_same(&settings[i], &first, &again);
        run_two(&again, true);
        assert_same(&settings[i], &first, &again);
        close_two(&first);
        close_two(&again);
    }
}

/* What only a gradient needs is left out; the loss stays the same bits. */
static void a_pass_without_gradient(void **state)
{
    struct two t;
    const void *inputs[MODEL_INPUTS];
    float loss[MODEL_OUTPUTS];
    void *outputs[MODEL_OUTPUTS] = {&loss[0], &loss[1], &loss[2]};
    struct pass pass;

    (void)state;
    open_two(&t, &settings[2]);
    run_two(&t, true);
    inputs[MODEL_INPUT_IMAGES] = t.images[0];
    inputs[MODEL_INPUT_LABELS] = t.labels[0];
    pass = (struct pass){.program = t.program[0],
                         .weights = t.weights,
                         .states = t.state,
                         .inputs = inputs,
                         .outputs = outputs};
    assert_ok(backend_cpu.execute(t.backend, &pass, 1, err));
    assert_memory_equal(loss, t.result[0], sizeof loss);
    close_two(&t);
}

static void errors_of_either_term_are_told(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct two t;
        const void *inputs[2][MODEL_INPUTS];
        void *outputs[2][MODEL_OUTPUTS];
        struct pass passes[2];

        open_two(&t, &settings[1]);
        t.labels[i][3] = 10;
        for (int k = 0; k < 2; k++) {
            inputs[k][MODEL_INPUT_IMAGES] = t.images[k];
            inputs[k][MODEL_INPUT_LABELS] = t.labels[k];
            for (int o = 0; o < MODEL_OUTPUTS; o++)
                outputs[k][o] = &t.result[k][o];
            passes[k] = (struct pass){.program = t.program[k],
                                      .weights = t.weights,
                                      .states = t.state,
                                      .inputs = inputs[k],
                                      .outputs = outputs[k],
                                      .gradient = t.gradient[k]};
        }
        assert_refused(backend_cpu.execute(t.backend, passes, 2, err), ERR_INVALID,
                       "label 10 of sample 3");
        close_two(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes_repeat),
        cmocka_unit_test(a_pass_without_gradient),
        cmocka_unit_test(errors_of_either_term_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
