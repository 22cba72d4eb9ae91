/* What the CUDA backend's kernels do to weights, as their source runs on the host, against the
 * reference backend: casts of perturbed weights, changes by every rule, Fisher sums, norms. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "weight_bank.h"

#define TOLERANCE 2e-6
#define SEED      0x1234567887654321u
#define TERM      2

/* Of casts. */
static double tolerance_of(enum element type)
{
    return type == ELEMENT_F32 ? TOLERANCE : 4e-3;
}

static void compare_cast(const struct bank *b, const char *what, void *cast,
                         const struct vector *weights, const struct perturbation *p,
                         enum element type)
{
    double *got = calloc(b->layout->size, sizeof *got);
    struct vector *want;

    assert_ok(backend_reference.vector_open(b->backend, b->layout->size, &want, err));
    assert_ok(backend_reference.materialise(b->backend, b->layout, weights, p, want, err));
    bank_read_cast(b, cast, got);
    bank_compare(b, what, got, want, tolerance_of(type));
    backend_reference.vector_close(want);
    free(got);
    free(cast);
}

/* ---- materialise --------------------------------------------------------------------------- */

static float *norm_factor(const struct bank *b, enum norm_kind kind, double size, double eta)
{
    float *factor = device_new(sizeof *factor);
    float *workspace = device_new((size_t)(b->table.n_short + b->table.n_long) * sizeof *workspace);
    struct weight_norm w = {.table = &b->table,
                            .kind = kind,
                            .mix = {.n = 1, .gradient = {b->packed[0]}, .weight = {1}},
                            .size = size,
                            .weights = b->w32,
                            .eta = (float)eta,
                            .factor = factor,
                            .workspace = workspace};

    launched(launch_weight_norm(NULL, &w));
    free(workspace);
    return factor;
}

static void materialise(const struct bank *b, enum element type, const struct perturbation *p,
                        const char *what)
{
    static const enum weight_change changes[] = {
        [PERTURB_NONE] = WEIGHTS_CLEAN,
        [PERTURB_NOISE] = WEIGHTS_NOISE,
        [PERTURB_DIRECTION] = WEIGHTS_DIRECTION,
        [PERTURB_SCALED_DIRECTION] = WEIGHTS_SCALED_DIRECTION,
    };
    bool scaled = p->kind == PERTURB_SCALED_DIRECTION;
    struct turn turn = {.update = p->update, .sigma = (float)p->sigma};
    float *factor = norm_factor(b, scaled ? NORM_SCALED_DIRECTION : NORM_DIRECTION, p->rho, p->eta);
    struct materialise_weights m = {.table = &b->table,
                                    .weights = b->w32,
                                    .change = changes[p->kind],
                                    .turn = &turn,
                                    .seed = p->seed,
                                    .term = p->term,
                                    .eta = (float)p->eta,
                                    .fisher = p->eta != 0 ? b->fisher32 : NULL,
                                    .direction = b->packed[0],
                                    .factor = factor,
                                    .to = device_new(b->cast_bytes)};

    launched(launch_materialise(NULL, &m));
    compare_cast(b, what, m.to, b->weights, p, type);
    free(factor);
}

static void perturbed_casts(void **state)
{
    (void)state;
    for (int way = 0; way < 3; way++) {
        enum element type = way == 1 ? ELEMENT_BF16 : ELEMENT_F32;
        struct bank *b = bank_open(type, way == 2);
        struct perturbation p = {.sigma = 0.25,
                                 .seed = SEED,
                                 .update = 0x100000007,
                                 .term = TERM,
                                 .rho = 0.5,
                                 .direction = b->gradient[0],
                                 .fisher = b->fisher};

        materialise(b, type, &p, "clean");
        p.kind = PERTURB_NOISE;
        materialise(b, type, &p, "noise");
        p.eta = 0.5;
        materialise(b, type, &p, "adapted noise");
        p.kind = PERTURB_DIRECTION;
        materialise(b, type, &p, "direction");
        p.kind = PERTURB_SCALED_DIRECTION;
        p.eta = 0.01;
        materialise(b, type, &p, "scaled direction");
        bank_close(b);
    }
}

static void unpacked_gradients(void **state)
{
    (void)state;
    for (int way = 0; way < 3; way++) {
        struct bank *b = bank_open(way == 1 ? ELEMENT_BF16 : ELEMENT_F32, way == 2);
        float *to = device_new(b->layout->size * sizeof *to);

        launched(launch_gradient_unpack(NULL, &b->table, b->packed[1], to));
        bank_compare_floats(b, "gradient", to, b->gradient[1], 1e-7);
        free(to);
        bank_close(b);
    }
}

/* ---- step ---------------------------------------------------------------------------------- */

/* What one step is tried with. */
struct trial_step {
    const char *name;
    enum step_rule rule;
    bool nesterov;
    int n_terms;
    double weight[BANK_TERMS], feeds[BANK_TERMS];
    double clip_norm;
    bool fed, adapted;
};

static const struct trial_step trials[] = {
    {"sgd", STEP_SGD, false, 1, {1}, {0}, 0, false, false},
    {"sgd, nesterov, clipped", STEP_SGD, true, 1, {1}, {0}, 0.5, false, false},
    {"m-arwp", STEP_SGD, false, 2, {0.25, 0.75}, {0, 1}, 0, true, true},
    {"samples, clipped", STEP_SGD, false, 3, {0.5, 0.25, 0.25}, {0, 0.5, 0.5}, 2, true, true},
    {"fed, not adapted", STEP_SGD, false, 1, {1}, {1}, 0, true, false},
    {"adapted, not fed", STEP_SGD, false, 1, {1}, {0}, 0, false, true},
    {"adam", STEP_ADAM, false, 1, {1}, {0}, 0, false, false},
    {"adamw, two terms", STEP_ADAMW, false, 2, {0.5, 0.5}, {0, 1}, 1, true, true},
};

static struct step reference_step_of(const struct bank *b, const struct trial_step *t,
                                     struct gradient_term *terms)
{
    for (int k = 0; k < t->n_terms; k++)
        terms[k] = (struct gradient_term){b->gradient[k], t->weight[k], t->feeds[k]};
    return (struct step){.rule = t->rule,
                         .layout = b->layout,
                         .weights = b->weights,
                         .momentum_vector = b->m,
                         .squares = b->v,
                         .fisher = t->fed || t->adapted ? b->fisher : NULL,
                         .terms = terms,
                         .n_terms = t->n_terms,
                         .number = 3,
                         .nesterov = t->nesterov,
                         .lr = 0.05,
                         .momentum = 0.9,
                         .weight_decay = 0.01,
                         .clip_norm = t->clip_norm,
                         .beta1 = 0.9,
                         .beta2 = 0.99,
                         .eps = 1e-8,
                         .beta = 0.95};
}

static struct weight_step weight_step_of(const struct bank *b, const struct trial_step *t,
                                         const struct step *s, const struct turn turns[2])
{
    struct weight_step to = {.table = &b->table,
                             .rule = s->rule == STEP_SGD    ? RULE_SGD
                                     : s->rule == STEP_ADAM ? RULE_ADAM
                                                            : RULE_ADAMW,
                             .nesterov = s->nesterov,
                             .momentum = (float)s->momentum,
                             .weight_decay = (float)s->weight_decay,
                             .beta1 = (float)s->beta1,
                             .rest1 = (float)(1 - s->beta1),
                             .beta2 = (float)s->beta2,
                             .rest2 = (float)(1 - s->beta2),
                             .eps = (float)s->eps,
                             .turn = &turns[0],
                             .weights = b->w32,
                             .m = b->m32,
                             .v = b->v32,
                             .mix = {.n = t->n_terms},
                             .fisher = t->fed ? b->fisher32 : NULL,
                             .beta = (float)s->beta,
                             .clean = device_new(b->cast_bytes),
                             .noisy = device_new(b->cast_bytes),
                             .next = &turns[1],
                             .adapting_fisher = t->adapted ? b->fisher32 : NULL,
                             .seed = SEED,
                             .term = TERM,
                             .eta = 0.5};

    for (int k = 0; k < t->n_terms; k++) {
        to.mix.gradient[k] = b->packed[k];
        to.mix.weight[k] = (float)t->weight[k];
        to.feeds[k] = (float)t->feeds[k];
    }
    return to;
}

static float *clip_factor(const struct weight_step *s, double clip_norm)
{
    const struct weight_table *t = s->table;
    float *factor = device_new(sizeof *factor), *norm = device_new(sizeof *norm);
    float *workspace = device_new((size_t)(t->n_short + t->n_long) * sizeof *workspace);
    struct weight_norm w = {.table = t,
                            .kind = NORM_CLIP,
                            .mix = s->mix,
                            .size = clip_norm,
                            .factor = factor,
                            .norm = norm,
                            .workspace = workspace};

    launched(launch_weight_norm(NULL, &w));
    assert_true(*norm > 1 && fabsf(*factor - (float)clip_norm / *norm) < 1e-6f);
    free(workspace);
    free(norm);
    return factor;
}

static void compare_step(enum element type, bool plain, const struct trial_step *t)
{
    struct bank *b = bank_open(type, plain);
    struct gradient_term terms[BANK_TERMS];
    struct step want = reference_step_of(b, t, terms);
    double number = (double)want.number;
    struct turn turns[2] = {
        {.lr = (float)want.lr,
         .kept = (float)(1 - want.lr * want.weight_decay),
         .rate = (float)(want.lr / (1 - pow(want.beta1, number))),
         .scale = (float)(1 / sqrt(1 - pow(want.beta2, number)))},
        {.update = 3, .sigma = 0.125f},
    };
    struct weight_step got = weight_step_of(b, t, &want, turns);
    struct perturbation clean = {.kind = PERTURB_NONE};
    struct perturbation noise = {.kind = PERTURB_NOISE,
                                 .sigma = 0.125,
                                 .eta = t->adapted ? 0.5 : 0,
                                 .fisher = b->fisher,
                                 .seed = SEED,
                                 .update = 3,
                                 .term = TERM};
    float *clip = t->clip_norm > 0 ? clip_factor(&got, t->clip_norm) : NULL;

    got.clip = clip;
    launched(launch_weight_step(NULL, &got));
    assert_ok(backend_reference.step(b->backend, &want, err));
    bank_compare_floats(b, t->name, b->w32, b->weights, TOLERANCE);
    bank_compare_floats(b, t->name, b->m32, b->m, TOLERANCE);
    if (t->rule != STEP_SGD)
        bank_compare_floats(b, t->name, b->v32, b->v, TOLERANCE);
    for (size_t i = 0; i < b->layout->fisher_size; i++)
        assert_true(fabs((double)b->fisher32[i] - b->fisher->data[i]) <= 1e-5 * b->fisher->data[i]);
    compare_cast(b, t->name, got.clean, b->weights, &clean, type);
    compare_cast(b, t->name, got.noisy, b->weights, &noise, type);
    free(clip);
    bank_close(b);
}

static void every_step(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(trials); i++) {
        compare_step(ELEMENT_F32, false, &trials[i]);
        compare_step(ELEMENT_BF16, false, &trials[i]);
    }
    compare_step(ELEMENT_F32, true, &trials[2]);
}

/* Gaps of the layout are nobody's. */
static void gaps_stay(void **state)
{
    struct bank *b = bank_open(ELEMENT_BF16, false);
    struct gradient_term terms[BANK_TERMS];
    struct step want = reference_step_of(b, &trials[0], terms);
    struct turn turns[2] = {{.lr = 1}, {.update = 0}};
    struct weight_step got = weight_step_of(b, &trials[0], &want, turns);
    size_t end = 0;

    (void)state;
    launched(launch_weight_step(NULL, &got));
    for (int i = 0; i < b->layout->n; i++) {
        for (; end < b->layout->tensor[i].offset; end++)
            assert_true(b->w32[end] == 0 && b->m32[end] == 0);
        end += b->layout->tensor[i].size;
    }
    free(got.clean);
    free(got.noisy);
    bank_close(b);
}

/* ---- clock --------------------------------------------------------------------------------- */

/* A ring of three rows; the clock was set to update 7. */
static void clock_goes_round_its_table(void **state)
{
    struct turn_row rows[3];
    struct turn_clock clock = {.advanced = 7};
    float losses[2], ring[9] = {0};
    struct record record = {.clock = &clock,
                            .first = 1,
                            .n = 2,
                            .value = {&losses[0], &losses[1]},
                            .ring = ring,
                            .rows = 3,
                            .row_values = 3};

    (void)state;
    for (uint64_t i = 7; i < 12; i++) {
        rows[i % 3] = (struct turn_row){{.update = i, .lr = (float)i}, {.update = i + 1}};
        launched(launch_advance(NULL, rows, 3, &clock));
        assert_int_equal(clock.index, i);
        assert_int_equal(clock.now.update, i);
        assert_int_equal(clock.next.update, i + 1);
        assert_true(clock.now.lr == (float)i);
        losses[0] = (float)i;
        losses[1] = (float)(100 + i);
        launched(launch_record(NULL, &record));
        assert_true(ring[i % 3 * 3] == 0);
        assert_true(ring[i % 3 * 3 + 1] == (float)i && ring[i % 3 * 3 + 2] == (float)(100 + i));
    }
    assert_true(ring[9 % 3 * 3 + 1] == 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(perturbed_casts),
        cmocka_unit_test(unpacked_gradients),
        cmocka_unit_test(every_step),
        cmocka_unit_test(gaps_stay),
        cmocka_unit_test(clock_goes_round_its_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
