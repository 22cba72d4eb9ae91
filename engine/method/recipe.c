/* The six methods (Li et al., Revisiting Random Weight Perturbation for Efficiently Improving
 * Generalization, TMLR 2024; Foret et al., Sharpness-Aware Minimization, ICLR 2021) as recipes.
 * Which members of job_method a method uses follows from its kind alone. */
#include "method/recipe.h"

#include <math.h>

static bool is_adaptive(int kind)
{
    return kind == METHOD_ARWP || kind == METHOD_M_ARWP;
}

static bool has_noise(int kind)
{
    return kind != METHOD_SGD && kind != METHOD_SAM;
}

static struct recipe_term clean_term(double weight)
{
    return (struct recipe_term){
        .perturbation = PERTURB_NONE, .weight = weight, .move_statistics = true, .needs = -1};
}

/* A step up along the clean gradient, then the gradient there; statistics are the clean pass's. */
static void sharpness_aware(struct recipe *out)
{
    out->n_terms = 2;
    out->term[0] = clean_term(0);
    out->term[1] = (struct recipe_term){.perturbation = PERTURB_DIRECTION, .weight = 1, .needs = 0};
    out->perturbed_term = 1;
}

/* The only gradient is the one at noisy weights, whose pass therefore moves the statistics. */
static void perturbed(struct recipe *out)
{
    out->n_terms = 1;
    out->term[0] = (struct recipe_term){
        .perturbation = PERTURB_NOISE, .weight = 1, .move_statistics = true, .needs = -1};
    out->perturbed_term = 0;
}

/* λ·∇L(w + ε) on one batch and (1 − λ)·∇L(w) on another. */
static void mixed(struct recipe *out, double lambda)
{
    out->n_terms = 2;
    out->n_batches = 2;
    out->term[0] = clean_term(1 - lambda);
    out->term[1] = (struct recipe_term){
        .perturbation = PERTURB_NOISE, .batch = 1, .weight = lambda, .needs = -1};
    out->perturbed_term = 1;
}

void recipe_of(struct recipe *out, const struct job_method *method)
{
    *out = (struct recipe){.n_terms = 1, .n_batches = 1, .perturbed_term = -1};
    switch (method->kind) {
    case METHOD_SAM:
        sharpness_aware(out);
        break;
    case METHOD_RWP:
    case METHOD_ARWP:
        perturbed(out);
        break;
    case METHOD_M_RWP:
    case METHOD_M_ARWP:
        mixed(out, method->lambda);
        break;
    default:
        out->term[0] = clean_term(1);
    }
    out->has_fisher = is_adaptive(method->kind);
    if (out->has_fisher)
        out->term[out->perturbed_term].feeds_fisher = true;
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
