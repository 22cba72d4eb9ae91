/* The whole test set, with the running statistics, in batches; sums in double. */
#include "base/clock.h"
#include "run/state.h"

struct totals {
    double loss, top1, top5;
};

static int evaluate_batch(struct engine_run *run, uint64_t number, struct totals *totals,
                          struct err *err)
{
    struct run_batch *batch = &run->batch[0];
    const void *inputs[MODEL_INPUTS];
    double result[MODEL_OUTPUTS]; /* raw room for outputs of either type */
    void *outputs[MODEL_OUTPUTS];
    struct pass pass = {.weights = run->weights, .states = run->states, .outputs = outputs};
    int rc = run_load(run, SPLIT_TEST, number, batch, err);
    double n = (double)batch->n;

    if (rc)
        return rc;
    pass.program = program_of(&run->evaluation, batch->n);
    run_name_batch(run, batch, 0, inputs, &pass);
    for (int o = 0; o < MODEL_OUTPUTS; o++)
        outputs[o] = &result[o];
    rc = run->class->execute(run->backend, &pass, 1, err);
    if (rc)
        return rc;
    totals->loss += run_real(run, outputs[MODEL_OUTPUT_LOSS]) * n;
    totals->top1 += run_real(run, outputs[MODEL_OUTPUT_TOP1]);
    totals->top5 += run_real(run, outputs[MODEL_OUTPUT_TOP5]);
    return 0;
}

int run_evaluate(struct engine_run *run, const atomic_int *request, struct engine_epoch *epoch,
                 bool *interrupted, struct err *err)
{
    int64_t samples = run->dataset->split[SPLIT_TEST].n, batch = run->evaluation_batch;
    double start = clock_seconds();
    struct totals totals = {0};

    *interrupted = false;
    for (int64_t first = 0; first < samples; first += batch) {
        int rc;

        *interrupted = atomic_load(request) != ENGINE_CONTINUE;
        if (*interrupted)
            return 0;
        rc = evaluate_batch(run, (uint64_t)(first / batch), &totals, err);
        if (rc)
            return rc;
    }
    epoch->evaluated = true;
    epoch->test_loss = totals.loss / (double)samples;
    epoch->test_top1 = totals.top1 / (double)samples;
    epoch->test_top5 = totals.top5 / (double)samples;
    epoch->seconds = clock_seconds() - start;
    return 0;
}
