/* Who needs its weights cast, and whose casts are made with the change of the weights.
 *
 * A program knows what its casts were made of: the vectors, by the number of their last writing,
 * and what noise was drawn for. Whatever else is done (an evaluation, another pass, a checkpoint
 * that is loaded) changes one or the other, so that nothing has to be told here. All of that is in
 * the order in which work is given to the device, where it is done in the same order. */
#include <string.h>

#include "backend/cuda/pass.h"

/* What a pass wants. */
static struct cast_source source_of(const struct pass *pass)
{
    const struct perturbation *p = &pass->perturbation;
    struct cast_source source;

    memset(&source, 0, sizeof source); /* compared as bytes */
    source.known = p->kind == PERTURB_NONE || p->kind == PERTURB_NOISE;
    source.kind = p->kind;
    source.weights = pass->weights->written;
    if (p->kind != PERTURB_NOISE)
        return source;
    source.seed = p->seed;
    source.update = p->update;
    source.term = p->term;
    source.sigma = (float)p->sigma;
    if (p->eta != 0) {
        source.eta = (float)p->eta;
        source.fisher = p->fisher->written;
    }
    return source;
}

static bool is_known(const struct cast_source *a, const struct cast_source *b)
{
    return b->known && memcmp(a, b, sizeof *a) == 0;
}

static bool same_forms(const struct program *a, const struct program *b)
{
    return a->params->n == b->params->n && a->casts_bytes == b->casts_bytes &&
           memcmp(a->casts.tensors, b->casts.tensors,
                  (size_t)a->params->n * sizeof *a->casts.tensors) == 0;
}

/* The kernel adapts noise by the accumulator that it feeds, or by one if it feeds none. */
static bool can_adapt(const struct perturbation *p, const struct step *step)
{
    return p->eta == 0 || !step_feeds_fisher(step) || p->fisher == step->fisher;
}

/* One clean and one noisy pass of the first wave, of the same forms. */
static void find_next(struct round *round)
{
    struct next_casts *next = &round->next;

    for (int i = 0; i < round->n && round->given[i].wave == round->given[0].wave; i++) {
        const struct pass *pass = &round->given[i].pass;
        const struct perturbation *p = &pass->perturbation;
        bool noisy = p->kind == PERTURB_NOISE;

        if (pass->weights != round->step->weights || (noisy ? next->noisy : next->clean) ||
            (!noisy && p->kind != PERTURB_NONE) || (noisy && !can_adapt(p, round->step)) ||
            (next->like && !same_forms(next->like, pass->program)))
            continue;
        next->like = pass->program;
        if (noisy) {
            next->noisy = pass->program;
            next->noise = p;
        } else {
            next->clean = pass->program;
        }
    }
}

/* The turn after this one is the next update's. */
static void know_next(const struct round *round, float next_sigma)
{
    const struct next_casts *next = &round->next;
    struct pass pass = {.weights = round->step->weights};

    if (next->clean)
        next->clean->cast = source_of(&pass);
    if (!next->noisy)
        return;
    pass.perturbation = *next->noise;
    pass.perturbation.update++;
    next->noisy->cast = source_of(&pass);
    next->noisy->cast.sigma = next_sigma;
}

static void wrote(struct vector *vector)
{
    if (vector)
        cuda_written(vector);
}

void cuda_casts_plan(struct round *round, double next_sigma)
{
    for (int i = 0; i < round->n; i++) {
        struct given *given = &round->given[i];
        struct program *p = given->pass.program;
        struct cast_source wanted = source_of(&given->pass);

        given->has_casts = is_known(&wanted, &p->cast);
        p->cast = wanted;
        wrote(given->pass.gradient);
        wrote(given->pass.product);
        wrote(given->pass.states);
    }
    if (!round->step)
        return;
    for (int i = 0; i < round->update->n_exchanges; i++)
        wrote(round->update->exchanges[i].vector);
    find_next(round);
    cuda_step_written(round->step);
    know_next(round, (float)next_sigma);
}

void cuda_casts_forget(const struct round *round)
{
    for (int i = 0; i < round->n; i++)
        round->given[i].pass.program->cast.known = false;
}
