/* Random perturbations: keyed by the probe's seed and the number of the draw, under a term that no
 * training has. */
#include <math.h>

#include "probe/state.h"

struct perturbation probe_noise_perturbation(const struct engine_probe_run *run, bool adaptive,
                                             int64_t draw, double sigma)
{
    return (struct perturbation){.kind = PERTURB_NOISE,
                                 .sigma = sigma,
                                 .eta = adaptive ? run->job.method.eta : 0,
                                 .fisher = adaptive ? run->fisher : NULL,
                                 .seed = (uint64_t)run->probe.seed,
                                 .update = (uint64_t)draw,
                                 .term = PROBE_NOISE_TERM};
}

int probe_noise_norm(struct engine_probe_run *run, const struct perturbation *perturbation,
                     double *norm, struct err *err)
{
    int rc = run->class->materialise(run->backend, run->params, run->weights, perturbation,
                                     run->moved, err);

    if (!rc)
        rc = probe_read(run, run->moved, run->sum, err);
    for (size_t i = 0; i < run->params->size && !rc; i++)
        run->sum[i] -= run->w[i];
    if (!rc)
        *norm = vectors_norm(run->sum, run->params->size);
    return rc;
}
