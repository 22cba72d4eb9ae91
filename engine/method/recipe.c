/* The methods (Li et al., Revisiting Random Weight Perturbation for Efficiently Improving
 * Generalization, TMLR 2024; Foret et al., Sharpness-Aware Minimization, ICLR 2021;
 * Kwon et al., ASAM, ICML 2021; Bisla et al., Low-Pass Filtering SGD, AISTATS 2022) as recipes.
 * Which members of job_method a method uses follows from its kind alone. */
#include "method/recipe.h"

#include <math.h>

static bool is_adaptive(int kind)
{
    return kind == METHOD_ARWP || kind == METHOD_M_ARWP;
}

static bool has_noise(int kind)
{
    return kind != METHOD_SGD && kind != METHOD_SAM && kind != METHOD_ASAM;
}

static struct recipe_term *append(struct recipe *out, enum perturbation_kind perturbation,
                                  double weight, bool move_statistics)
{
    struct recipe_term *term = &out->term[out->n_terms++];

    *term = (struct recipe_term){.perturbation = perturbation,
                                 .parts = 1,
                                 .weight = weight,
                                 .move_statistics = move_statistics,
                                 .needs = -1};
    return term;
}

/* A step up along the clean gradient, then the gradient there. */
static void sharpness_aware(struct recipe *out, const struct job_method *method)
{
    bool scaled = method->kind == METHOD_ASAM;
    struct recipe_term *term;

    append(out, PERTURB_NONE, 0, method->statistics != STATISTICS_PERTURBED);
    out->perturbed_term = out->n_terms;
    term = append(out, scaled ? PERTURB_SCALED_DIRECTION : PERTURB_DIRECTION, 1,
                  method->statistics != STATISTICS_CLEAN);
    term->needs = 0;
}

/* The perturbed gradient: a term a part of the batch. The parts of one batch come one after the
 * other, whether or not they move the statistics: each alone has all of the device. */
static void noisy(struct recipe *out, const struct job_method *method, int batch, double weight)
{
    int parts = method->samples > 1 ? (int)method->samples : 1;

    out->perturbed_term = out->n_terms;
    for (int part = 0; part < parts; part++) {
        struct recipe_term *term =
            append(out, PERTURB_NOISE, weight, method->statistics != STATISTICS_CLEAN);

        term->batch = batch;
        term->part = part;
        term->parts = parts;
        term->feeds_fisher = is_adaptive(method->kind);
        if (part > 0)
            term->needs = out->n_terms - 2;
    }
}

/* The only gradient is the one at noisy weights. */
static void perturbed(struct recipe *out, const struct job_method *method)
{
    struct recipe_term *term;

    noisy(out, method, 0, 1);
    if (method->statistics == STATISTICS_PERTURBED)
        return;
    out->loss_term = out->n_terms;
    term = append(out, PERTURB_NONE, 0, true);
    term->forward_only = true;
    term->needs = out->n_terms - 2;
}

/* λ·∇L(w + ε) on one batch and (1 − λ)·∇L(w) on another. */
static void mixed(struct recipe *out, const struct job_method *method)
{
    out->n_batches = 2;
    append(out, PERTURB_NONE, 1 - method->lambda, method->statistics != STATISTICS_PERTURBED);
    noisy(out, method, 1, method->lambda);
    if (method->samples > 1 || method->statistics == STATISTICS_BOTH)
        out->term[1].needs = 0;
}

void recipe_of(struct recipe *out, const struct job_method *method)
{
    *out = (struct recipe){.n_batches = 1, .perturbed_term = -1};
    switch (method->kind) {
    case METHOD_SAM:
    case METHOD_ASAM:
        sharpness_aware(out, method);
        break;
    case METHOD_RWP:
    case METHOD_ARWP:
        perturbed(out, method);
        break;
    case METHOD_M_RWP:
    case METHOD_M_ARWP:
        mixed(out, method);
        break;
    default:
        append(out, PERTURB_NONE, 1, true);
    }
    out->has_fisher = is_adaptive(method->kind);
}

int64_t recipe_part(const struct recipe_term *term, int64_t n, int64_t *begin)
{
    *begin = n * term->part / term->parts;
    return n * (term->part + 1) / term->parts - *begin;
}

/* Terms of a term's wave, and how many of them come before it. */
static int wave_terms(const struct recipe *recipe, int term, int *before)
{
    int wave = recipe_wave(recipe, term), n = 0;

    for (int t = 0; t < recipe->n_terms; t++) {
        if (t == term)
            *before = n;
        n += recipe_wave(recipe, t) == wave;
    }
    return n;
}

/* In units of 1/ranks of a term, the line of n terms has n·ranks of them and a rank's stretch n. */
bool recipe_piece(struct recipe_piece *out, const struct recipe *recipe, int term,
                  struct recipe_rank rank, int64_t n)
{
    int before = 0, terms = wave_terms(recipe, term, &before);
    int first = before * rank.ranks; /* unit of the line */
    int from = rank.rank * terms - first, to = from + terms;
    int64_t begin, samples = recipe_part(&recipe->term[term], n, &begin), at;

    from = from > 0 ? from : 0;
    to = to < rank.ranks ? to : rank.ranks;
    if (from >= to)
        return false;
    at = samples * from / rank.ranks;
    *out = (struct recipe_piece){.number = rank.rank - first / terms,
                                 .begin = begin + at,
                                 .samples = samples * to / rank.ranks - at};
    return true;
}

int recipe_owner(const struct recipe *recipe, int term, int ranks, int64_t n)
{
    struct recipe_piece piece;
    int rank = 0;

    while (rank + 1 < ranks &&
           !(recipe_piece(&piece, recipe, term, (struct recipe_rank){rank, ranks}, n) &&
             piece.samples > 0))
        rank++;
    return rank;
}

int recipe_rank_width(const struct recipe *recipe, struct recipe_rank rank)
{
    int width[RECIPE_TERMS_MAX] = {0}, widest = 1;

    for (int t = 0; t < recipe->n_terms; t++) {
        struct recipe_piece piece;
        int wave = recipe_wave(recipe, t);

        width[wave] += recipe_piece(&piece, recipe, t, rank, 1);
        if (width[wave] > widest)
            widest = width[wave];
    }
    return widest;
}

uint32_t recipe_draws(int term, int piece)
{
    _Static_assert(RECIPE_TERMS_MAX <= 16 && 16 * RECIPE_RANKS_MAX <= 256, "8 bits");

    return (uint32_t)(term + 16 * piece);
}

int recipe_gradients(const struct recipe *recipe)
{
    int n = 0;

    for (int t = 0; t < recipe->n_terms; t++)
        n += recipe->term[t].part == 0 && !recipe->term[t].forward_only;
    return n;
}

int recipe_wave(const struct recipe *recipe, int term)
{
    int wave = 0;

    for (int t = recipe->term[term].needs; t >= 0; t = recipe->term[t].needs)
        wave++;
    return wave;
}

int recipe_waves(const struct recipe *recipe)
{
    int waves = 0;

    for (int t = 0; t < recipe->n_terms; t++)
        if (recipe_wave(recipe, t) >= waves)
            waves = recipe_wave(recipe, t) + 1;
    return waves;
}

int recipe_width(const struct recipe *recipe)
{
    int width[RECIPE_TERMS_MAX] = {0}, widest = 0;

    for (int t = 0; t < recipe->n_terms; t++) {
        int wave = recipe_wave(recipe, t);

        width[wave]++;
        if (width[wave] > widest)
            widest = width[wave];
    }
    return widest;
}

double recipe_sigma(const struct job_method *method, uint64_t u, uint64_t total)
{
    double share = (double)u / (double)total;

    if (!has_noise(method->kind))
        return 0;
    return method->sigma * (1 + method->ramp * (1 - cos(M_PI * share)) / 2);
}
