/* One update: read its batches, begin its passes and the change of the weights. Where the passes
 * are measured, these are done one after the other; else they are the backend's as a whole. */
#include "base/clock.h"
#include "run/state.h"

static int load_batches(struct engine_run *run, struct err *err)
{
    uint64_t first = run->update * (uint64_t)run->recipe.n_batches;
    int rc = 0;

    for (int b = 0; b < run->recipe.n_batches && !rc; b++)
        rc = run_load(run, SPLIT_TRAIN, first + (uint64_t)b, &run->batch[b], err);
    return rc;
}

struct perturbation run_perturbation(const struct engine_run *run, int term, double sigma)
{
    const struct recipe_term *t = &run->recipe.term[term];
    struct perturbation out = {.kind = t->perturbation};

    if (t->perturbation == PERTURB_NOISE) {
        out.sigma = sigma;
        out.eta = run->recipe.has_fisher ? run->job.method.eta : 0;
        out.fisher = run->fisher;
        out.seed = (uint64_t)run->job.seed;
        out.update = run->update;
        out.term = (uint32_t)term;
    }
    if (perturb_needs_direction(t->perturbation)) {
        out.rho = run->job.method.rho;
        out.eta = run->job.method.eta;
        out.direction = run->gradient[t->needs];
    }
    return out;
}

/* Samples of a term's pass, and where they begin. */
static int64_t samples_of(const struct engine_run *run, int term, int64_t *begin)
{
    const struct recipe_term *t = &run->recipe.term[term];

    return recipe_part(t, run->batch[t->batch].n, begin);
}

/* Passes of an update, with room for what they point to. */
struct passes {
    int n, wave[RECIPE_TERMS_MAX];
    struct pass pass[RECIPE_TERMS_MAX];
    const void *inputs[RECIPE_TERMS_MAX][MODEL_INPUTS];
    void *outputs[RECIPE_TERMS_MAX][MODEL_OUTPUTS];
};

/* `place` is its place in its wave. */
static void add_pass(struct engine_run *run, struct passes *passes, int term, int place,
                     double sigma)
{
    const struct recipe_term *t = &run->recipe.term[term];
    const struct run_batch *batch = &run->batch[t->batch];
    struct run_report *report = run_report_new(run);
    int64_t begin, samples = samples_of(run, term, &begin);
    int n = passes->n++;

    passes->wave[n] = recipe_wave(&run->recipe, term);
    for (int o = 0; o < MODEL_OUTPUTS; o++)
        passes->outputs[n][o] = &report->result[term][o];
    passes->pass[n] = (struct pass){.program = program_of(&run->training[place], samples),
                                    .weights = run->weights,
                                    .perturbation = run_perturbation(run, term, sigma),
                                    .draws = {(uint64_t)run->job.seed, run->update, (uint32_t)term},
                                    .states = run->states,
                                    .move_statistics = t->move_statistics,
                                    .statistics_momentum = run->job.batch_norm.momentum,
                                    .outputs = passes->outputs[n],
                                    .gradient = run->gradient[term]};
    run_name_batch(run, batch, begin, passes->inputs[n], &passes->pass[n]);
}

static void add_wave(struct engine_run *run, struct passes *passes, int wave, double sigma)
{
    int place = 0;

    for (int t = 0; t < run->recipe.n_terms; t++)
        if (recipe_wave(&run->recipe, t) == wave)
            add_pass(run, passes, t, place++, sigma);
}

int run_execute_wave(struct engine_run *run, int wave, double sigma, struct err *err)
{
    struct passes passes = {0};

    add_wave(run, &passes, wave, sigma);
    return run->class->execute(run->backend, passes.pass, passes.n, err);
}

double run_share(const struct engine_run *run, int term)
{
    int64_t begin, samples = samples_of(run, term, &begin);

    return (double)samples / (double)run->batch[run->recipe.term[term].batch].n;
}

/* The change of the weights; `terms` has room for those of the recipe. */
static struct step step_of(const struct engine_run *run, double lr, struct gradient_term *terms)
{
    const struct job_optimizer *optimizer = &run->job.optimizer;
    struct step step = {.rule = run_step_rule(run),
                        .layout = run->params,
                        .weights = run->weights,
                        .momentum_vector = run->momentum,
                        .squares = run->squares,
                        .fisher = run->fisher,
                        .terms = terms,
                        .number = run->update + 1,
                        .nesterov = optimizer->nesterov,
                        .lr = lr,
                        .momentum = optimizer->momentum,
                        .weight_decay = optimizer->weight_decay,
                        .clip_norm = optimizer->clip_norm,
                        .beta1 = optimizer->beta1,
                        .beta2 = optimizer->beta2,
                        .eps = optimizer->eps,
                        .beta = run->job.method.beta};

    for (int t = 0; t < run->recipe.n_terms; t++) {
        const struct recipe_term *term = &run->recipe.term[t];
        double share = run_share(run, t);

        if (term->weight != 0 || term->feeds_fisher)
            terms[step.n_terms++] =
                (struct gradient_term){.gradient = run->gradient[t],
                                       .weight = term->weight * share,
                                       .feeds_fisher = term->feeds_fisher ? share : 0};
    }
    return step;
}

int run_change_weights(struct engine_run *run, double lr, struct err *err)
{
    struct gradient_term terms[RECIPE_TERMS_MAX];
    struct step step = step_of(run, lr, terms);

    return run->class->step(run->backend, &step, err);
}

static int begin(struct engine_run *run, double lr, double sigma, struct err *err)
{
    struct passes passes = {0};
    struct gradient_term terms[RECIPE_TERMS_MAX];
    struct step step = step_of(run, lr, terms);
    struct update update = {.passes = passes.pass,
                            .wave = passes.wave,
                            .step = &step,
                            .next_sigma =
                                recipe_sigma(&run->job.method, run->update + 1, run->total)};

    for (int wave = 0; wave < recipe_waves(&run->recipe); wave++)
        add_wave(run, &passes, wave, sigma);
    update.n_passes = passes.n;
    return run->class->update(run->backend, &update, err);
}

/* What is measured is what lies between the passes and the change. */
static int measure(struct engine_run *run, double lr, double sigma, struct err *err)
{
    int rc = run_settle(run, 0, err);

    for (int wave = 0; wave < recipe_waves(&run->recipe) && !rc; wave++)
        rc = run_execute_wave(run, wave, sigma, err);
    if (!rc)
        rc = telemetry_measure(run, sigma, err);
    return rc ? rc : run_change_weights(run, lr, err);
}

static void fill_report(const struct engine_run *run, struct run_report *report, double lr,
                        double sigma)
{
    report->update =
        (struct engine_update){.update = run->update + 1,
                               .epoch = (int64_t)(run->update / run->span.updates_per_epoch) + 1,
                               .has_perturbed = run->recipe.perturbed_term >= 0,
                               .lr = lr,
                               .sigma = sigma};
    report->measured = telemetry_due(run);
    for (int b = 0; b < run->recipe.n_batches; b++)
        report->samples[b] = run->batch[b].n;
}

/* What ends the run is the first that went wrong: a loss, it may be, of an update that this one did
 * not wait for. */
static int fail(struct engine_run *run, int rc, struct err *err)
{
    struct err earlier = {0};

    if (run_settle(run, 0, &earlier) != ERR_DIVERGED)
        return rc;
    if (err)
        *err = earlier;
    return ERR_DIVERGED;
}

int run_update(struct engine_run *run, struct err *err)
{
    double lr = schedule_lr(&run->job.schedule, run->job.optimizer.lr, &run->span, run->update);
    double sigma = recipe_sigma(&run->job.method, run->update, run->total);
    struct run_report *report = run_report_new(run);
    bool last;
    int rc;

    report->begun = clock_seconds();
    rc = load_batches(run, err);
    if (!rc)
        fill_report(run, report, lr, sigma);
    if (!rc)
        rc = report->measured ? measure(run, lr, sigma, err) : begin(run, lr, sigma, err);
    if (rc)
        return fail(run, rc, err);
    run_report_add(run);
    run->update++;
    last = run->update % run->span.updates_per_epoch == 0 || run->update == run->total;
    return run_settle(run, report->measured || last ? 0 : RUN_PENDING_MAX - 1, err);
}
