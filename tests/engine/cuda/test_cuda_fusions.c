/* Which operations the CUDA backend does together, as its compiled programs show. That either way
 * the numbers are the reference backend's is test_cuda_device's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cuda/program.h"
#include "base/cleanup.h"
#include "device_compare.h"
#include "model/model.h"
#include "support.h"

/* How batch norms' derivatives know of the ReLU behind them, by kind. */
static void count_relus(const struct job_model *model, int counts[RELU_AGAIN + 1])
{
    struct model_input input = {2, 3, 8, 8, 10};
    struct graph *g;
    struct trial *t;

    assert_ok(model_graph(&g, model, &input, true, err));
    t = trial_open(g, host_device(COMPUTE_BF16), NULL);
    memset(counts, 0, (RELU_AGAIN + 1) * sizeof *counts);
    for (int i = 0; i < t->program->n_commands; i++)
        if (t->program->commands[i].run == cuda_run_norm_grad)
            counts[t->program->commands[i].u.norm_grad.relu]++;
    trial_close(t);
    graph_free(g);
}

/* A block's end leaves its signs, a plain ReLU nothing; nobody reads a result for its signs. */
static void signs_of_relus(void **state)
{
    const struct job_model resnet = {.kind = MODEL_RESNET, .width = 5, .blocks = {2, {2, 1}}};
    const struct job_model preresnet = {.kind = MODEL_PRERESNET, .width = 8, .depth = 11};
    int counts[RELU_AGAIN + 1];

    (void)state;
    count_relus(&resnet, counts); /* a stem, three blocks, the last of which has a projection */
    assert_int_equal(counts[RELU_MASK], 3);
    assert_int_equal(counts[RELU_AGAIN], 4);
    assert_int_equal(counts[RELU_NONE], 1);
    assert_int_equal(counts[RELU_Y], 0);
    count_relus(&preresnet, counts);
    assert_int_equal(counts[RELU_MASK], 0);
    assert_int_equal(counts[RELU_Y], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signs_of_relus),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
