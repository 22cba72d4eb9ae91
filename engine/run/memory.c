/* What a run holds. The device's memory is counted by its backend where it is taken; the host's is
 * added up here, from the same sizes with which it was taken or will be. */
#include "run/state.h"

static size_t snapshot_bytes(const struct engine_run *run)
{
    const struct snapshot *room = &run->snapshot;
    size_t reals = run->params->size * (run->squares ? 3 : 2) + run->states_layout->size +
                   (run->fisher ? run->params->fisher_size : 0);

    return reals * real_bytes(run->class->real) +
           (size_t)snapshot_tensors(run) * (sizeof *room->checkpoint.tensors + sizeof *room->at);
}

static size_t telemetry_bytes(const struct engine_run *run)
{
    return run->job.telemetry.every_updates
               ? (2 * run->params->fisher_size + 1) * sizeof *run->fisher_scales
               : 0;
}

int64_t engine_run_memory(const struct engine_run *run)
{
    return (int64_t)(run_device_bytes(run) + run_batches_bytes(run) + snapshot_bytes(run) +
                     telemetry_bytes(run) + sampler_bytes(run->dataset->split[SPLIT_TRAIN].n)) +
           dataset_bytes(&run->job.dataset, &run->info);
}

int64_t engine_run_device_memory(const struct engine_run *run)
{
    return run->place.gpu ? (int64_t)run_device_bytes(run) : 0;
}

static int count_evaluation(struct engine_run *run, struct err *err)
{
    struct pass pass = {.weights = run->weights, .states = run->states};
    int rc = 0;

    for (int i = 0; i < run->evaluation.n && !rc; i++) {
        pass.program = run->evaluation.program[i];
        rc = run->class->execute(run->backend, &pass, 1, err);
    }
    return rc;
}

/* Distances are measured for each part of the perturbed batch, with the same rooms. */
static int count_telemetry(struct engine_run *run, struct err *err)
{
    struct perturbation perturbation;

    if (!run->perturbed)
        return 0;
    perturbation = run_perturbation(run, run->recipe.perturbed_term, 0);
    return run->class->materialise(run->backend, run->params, run->weights, &perturbation,
                                   run->perturbed, err);
}

static int count_rank(struct engine_run *run, const void *context, struct err *err)
{
    bool first = run->rank.rank == 0;
    int rc = 0;

    (void)context;
    for (int wave = 0; wave < recipe_waves(&run->recipe) && !rc; wave++)
        rc = run_execute_wave(run, wave, 0, err);
    if (!rc && first)
        rc = count_telemetry(run, err);
    if (!rc)
        rc = run_change_weights(run, 0, err);
    return rc || !first ? rc : count_evaluation(run, err);
}

int run_count(struct engine_run *run, struct err *err)
{
    for (int b = 0; b < run->recipe.n_batches; b++)
        run->batch[b].n = run->job.batch_size;
    return run_each(run, count_rank, NULL, err);
}
