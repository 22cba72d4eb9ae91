/* The weights that a pass computes with: w ⊕ perturbation, in the forms that it reads. */
#include "backend/cuda/cuda.h"

static int find_factor(const struct materialisation *m, struct CUstream_st *stream, struct err *err)
{
    const struct perturbation *p = &m->perturbation;
    struct weight_norm norm = {.table = &m->forms->table,
                               .kind = p->kind == PERTURB_DIRECTION ? NORM_DIRECTION
                                                                    : NORM_SCALED_DIRECTION,
                               .mix = {.n = 1, .gradient = {p->direction->data}, .weight = {1}},
                               .size = p->rho,
                               .weights = m->weights,
                               .eta = (float)p->eta,
                               .factor = m->factor,
                               .workspace = m->forms->scratch};

    return cuda_launched(launch_weight_norm(stream, &norm), "weight_norm", err);
}

static int go(const void *work, struct CUstream_st *stream, struct err *err)
{
    static const enum weight_change changes[] = {
        [PERTURB_NONE] = WEIGHTS_CLEAN,
        [PERTURB_NOISE] = WEIGHTS_NOISE,
        [PERTURB_DIRECTION] = WEIGHTS_DIRECTION,
        [PERTURB_SCALED_DIRECTION] = WEIGHTS_SCALED_DIRECTION,
    };
    const struct materialisation *m = work;
    const struct perturbation *p = &m->perturbation;
    struct materialise_weights a = {.table = &m->forms->table,
                                    .weights = m->weights,
                                    .change = changes[p->kind],
                                    .turn = m->turn,
                                    .seed = p->seed,
                                    .term = p->term,
                                    .eta = (float)p->eta,
                                    .to = m->to};
    int rc = 0;

    if (p->kind == PERTURB_NOISE && p->eta != 0)
        a.fisher = p->fisher->data;
    if (perturb_needs_direction(p->kind)) {
        a.direction = p->direction->data;
        a.factor = m->factor;
        rc = find_factor(m, stream, err);
    }
    return rc ? rc : cuda_launched(launch_materialise(stream, &a), "materialise", err);
}

int cuda_materialise(const struct materialisation *m, struct CUstream_st *stream, struct err *err)
{
    struct launch launch = {.what = "materialise", .go = go, .work = m, .work_bytes = sizeof *m};
    const struct perturbation *p = &m->perturbation;
    size_t bytes = m->layout->size * sizeof(float);

    cuda_use(&launch, m->weights, bytes, false);
    if (p->kind == PERTURB_NOISE)
        cuda_use(&launch, m->turn, sizeof *m->turn, false);
    if (p->kind == PERTURB_NOISE && p->eta != 0)
        cuda_use(&launch, p->fisher->data, m->layout->fisher_size * sizeof(float), false);
    if (perturb_needs_direction(p->kind)) {
        cuda_use(&launch, p->direction->data, bytes, false);
        cuda_use(&launch, m->factor, sizeof *m->factor, true);
    }
    cuda_use(&launch, m->to, m->to_bytes, true);
    return runtime_cuda.launch(&launch, stream, err);
}
