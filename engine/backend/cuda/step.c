/* One change of the weights. Vectors are in the layout's order, as gradients are given to them. */
#include <math.h>

#include "backend/check.h"
#include "backend/cuda/pass.h"

static int check(const struct step *s, struct err *err)
{
    if (s->n_terms > UPDATE_TERMS_MAX)
        return err_set(err, ERR_UNSUPPORTED, "step: the CUDA backend mixes %d gradients at most",
                       UPDATE_TERMS_MAX);
    return backend_check_step(s, err);
}

struct turn cuda_step_turn(const struct step *s)
{
    double t = (double)s->number;
    struct turn turn = {.lr = (float)s->lr, .kept = 1};

    if (s->rule == STEP_ADAMW)
        turn.kept = (float)(1 - s->lr * s->weight_decay);
    if (step_has_squares(s->rule)) {
        turn.rate = (float)(s->lr / (1 - pow(s->beta1, t)));
        turn.scale = (float)(1 / sqrt(1 - pow(s->beta2, t)));
    }
    return turn;
}

static struct gradient_mix mix_of(const struct step *s)
{
    struct gradient_mix mix = {.n = s->n_terms};

    for (int k = 0; k < s->n_terms; k++) {
        mix.gradient[k] = s->terms[k].gradient->data;
        mix.weight[k] = (float)s->terms[k].weight;
    }
    return mix;
}

static void use_gradients(struct launch *launch, const struct step *s)
{
    for (int k = 0; k < s->n_terms; k++)
        cuda_use(launch, s->terms[k].gradient->data, s->layout->size * sizeof(float), false);
}

static int go_clip(const void *work, struct CUstream_st *stream, struct err *err)
{
    return cuda_launched(launch_weight_norm(stream, work), "weight_norm", err);
}

static int clip(struct cuda_backend *cuda, const struct step *s, const struct forms *forms,
                struct err *err)
{
    struct weight_norm norm = {.table = &forms->table,
                               .kind = NORM_CLIP,
                               .mix = mix_of(s),
                               .size = s->clip_norm,
                               .factor = cuda->clip,
                               .workspace = forms->scratch};
    struct launch launch = {
        .what = "weight_norm", .go = go_clip, .work = &norm, .work_bytes = sizeof norm};

    use_gradients(&launch, s);
    cuda_use(&launch, cuda->clip, sizeof *cuda->clip, true);
    return runtime_cuda.launch(&launch, cuda->lanes[0].stream, err);
}

static void *casts_of(const struct program *p)
{
    return p ? (char *)p->own.data + p->casts_at : NULL;
}

static void make_next(struct weight_step *a, const struct next_casts *next)
{
    a->clean = casts_of(next->clean);
    a->noisy = casts_of(next->noisy);
    a->next = next->turn;
    if (!next->noisy)
        return;
    a->seed = next->noise->seed;
    a->term = next->noise->term;
    a->eta = (float)next->noise->eta;
    a->adapting_fisher = next->noise->eta != 0 ? next->noise->fisher->data : NULL;
}

static struct weight_step arguments(const struct cuda_backend *cuda, const struct step *s,
                                    const struct forms *forms, const struct turn *turn)
{
    static const enum weight_rule rules[] = {
        [STEP_SGD] = RULE_SGD, [STEP_ADAM] = RULE_ADAM, [STEP_ADAMW] = RULE_ADAMW};
    struct weight_step a = {.table = &forms->table,
                            .rule = rules[s->rule],
                            .nesterov = s->nesterov,
                            .momentum = (float)s->momentum,
                            .weight_decay = (float)s->weight_decay,
                            .beta1 = (float)s->beta1,
                            .rest1 = (float)(1 - s->beta1),
                            .beta2 = (float)s->beta2,
                            .rest2 = (float)(1 - s->beta2),
                            .eps = (float)s->eps,
                            .turn = turn,
                            .weights = s->weights->data,
                            .m = s->momentum_vector->data,
                            .v = step_has_squares(s->rule) ? s->squares->data : NULL,
                            .mix = mix_of(s),
                            .clip = s->clip_norm > 0 ? cuda->clip : NULL,
                            .fisher = step_feeds_fisher(s) ? s->fisher->data : NULL,
                            .beta = (float)s->beta};

    for (int k = 0; k < s->n_terms; k++)
        a.feeds[k] = (float)s->terms[k].feeds_fisher;
    return a;
}

static int go_change(const void *work, struct CUstream_st *stream, struct err *err)
{
    return cuda_launched(launch_weight_step(stream, work), "weight_step", err);
}

static void use_next(struct launch *launch, const struct weight_step *a,
                     const struct next_casts *next)
{
    cuda_use(launch, a->next, sizeof *a->next, false);
    if (next->clean)
        cuda_use(launch, a->clean, next->clean->casts_bytes, true);
    if (next->noisy)
        cuda_use(launch, a->noisy, next->noisy->casts_bytes, true);
    if (a->adapting_fisher && a->adapting_fisher != a->fisher)
        cuda_use(launch, a->adapting_fisher, next->noise->fisher->n * sizeof(float), false);
}

static int change(struct cuda_backend *cuda, const struct step *s, const struct forms *forms,
                  const struct turn *turn, const struct next_casts *next, struct err *err)
{
    struct weight_step a = arguments(cuda, s, forms, turn);
    struct launch launch = {
        .what = "weight_step", .go = go_change, .work = &a, .work_bytes = sizeof a};
    size_t bytes = s->layout->size * sizeof(float);

    use_gradients(&launch, s);
    cuda_use(&launch, a.turn, sizeof *a.turn, false);
    cuda_use(&launch, a.clip, sizeof *a.clip, false);
    cuda_use(&launch, a.weights, bytes, true);
    cuda_use(&launch, a.m, bytes, true);
    cuda_use(&launch, a.v, bytes, true);
    cuda_use(&launch, a.fisher, s->layout->fisher_size * sizeof(float), true);
    if (next && next->like) {
        make_next(&a, next);
        use_next(&launch, &a, next);
    }
    return runtime_cuda.launch(&launch, cuda->lanes[0].stream, err);
}

int cuda_step_prepare(struct cuda_backend *cuda, const struct step *s, struct err *err)
{
    const struct forms *forms;
    int rc = check(s, err);

    return rc ? rc : cuda_plain_forms(cuda, s->layout, &forms, err);
}

/* Forms of the casts come with gradients in the layout's order, as the plain ones do. */
int cuda_step_give(struct cuda_backend *cuda, const struct step *s, const struct turn *turn,
                   const struct next_casts *next, struct err *err)
{
    const struct forms *forms;
    int rc = cuda_plain_forms(cuda, s->layout, &forms, err);

    if (!rc && next && next->like)
        forms = &next->like->casts;
    if (!rc && s->clip_norm > 0)
        rc = clip(cuda, s, forms, err);
    return rc ? rc : change(cuda, s, forms, turn, next, err);
}

void cuda_step_written(const struct step *s)
{
    cuda_written(s->weights);
    cuda_written(s->momentum_vector);
    if (step_has_squares(s->rule))
        cuda_written(s->squares);
    if (step_feeds_fisher(s))
        cuda_written(s->fisher);
}

int cuda_step(struct backend *backend, const struct step *s, struct err *err)
{
    struct cuda_backend *cuda = (struct cuda_backend *)backend;
    struct turn turn = cuda_step_turn(s);
    int rc = cuda_enter(cuda, err);

    if (!rc)
        rc = cuda_step_prepare(cuda, s, err);
    if (rc || backend->counts_only)
        return rc;
    rc = cuda_turn_write(cuda, &turn, cuda->step_turn, err);
    if (rc)
        return rc;
    cuda_step_written(s);
    return cuda_step_give(cuda, s, cuda->step_turn, NULL, err);
}
