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

/* Samples of the batch that a term reads. */
static int64_t batch_samples(const struct engine_run *run, int term)
{
    return run->batch[run->recipe.term[term].batch].n;
}

double run_share(const struct engine_run *run, int term)
{
    int64_t n = batch_samples(run, term), begin;

    return (double)recipe_part(&run->recipe.term[term], n, &begin) / (double)n;
}

/* Passes of an update on a rank, with room for what they point to. */
struct passes {
    int n, wave[RECIPE_TERMS_MAX];
    struct pass pass[RECIPE_TERMS_MAX];
    const void *inputs[RECIPE_TERMS_MAX][MODEL_INPUTS];
    void *outputs[RECIPE_TERMS_MAX][MODEL_OUTPUTS];
    int n_exchanges;
    struct exchange exchange[2 * RECIPE_TERMS_MAX];
};

/* Whether the rank's pieces of a term move the running statistics. */
static bool moves_statistics(const struct engine_run *run, int term)
{
    return run->recipe.term[term].move_statistics &&
           recipe_owner(&run->recipe, term, run->rank.ranks, batch_samples(run, term)) ==
               run->rank.rank;
}

/* `place` is its place in its wave. */
static void add_pass(struct engine_run *run, struct passes *passes, int term, int place,
                     const struct recipe_piece *piece, double sigma)
{
    const struct run_batch *batch = &run->batch[run->recipe.term[term].batch];
    struct run_report *report = run_report_new(run_rank(run, 0));
    int n = passes->n++;

    passes->wave[n] = recipe_wave(&run->recipe, term);
    for (int o = 0; o < MODEL_OUTPUTS; o++)
        passes->outputs[n][o] = &report->result[run->rank.rank][term][o];
    passes->pass[n] = (struct pass){
        .program = program_of(&run->training[place], piece->samples),
        .weights = run->weights,
        .perturbation = run_perturbation(run, term, sigma),
        .draws = {(uint64_t)run->job.seed, run->update, recipe_draws(term, piece->number)},
        .states = run->states,
        .move_statistics = moves_statistics(run, term),
        .statistics_momentum = run->job.batch_norm.momentum,
        .outputs = passes->outputs[n],
        .gradient = run->gradient[term]};
    run_name_batch(run, batch, piece->begin, passes->inputs[n], &passes->pass[n]);
}

/* All ranks get the term's gradient, the mean of its pieces', and what became of the statistics. */
static void add_exchanges(struct engine_run *run, struct passes *passes, int term,
                          const struct recipe_piece *piece)
{
    const struct recipe_term *t = &run->recipe.term[term];
    struct exchange *out = passes->exchange;
    int64_t n = batch_samples(run, term), begin;
    double share = (double)piece->samples / (double)recipe_part(t, n, &begin);
    int wave = recipe_wave(&run->recipe, term), *count = &passes->n_exchanges;

    if (run->gradient[term])
        out[(*count)++] =
            (struct exchange){wave, run->gradient[term], run->params->size, -1, share};
    if (t->move_statistics && run->states_layout->size > 0)
        out[(*count)++] =
            (struct exchange){wave, run->states, run->states_layout->size,
                              recipe_owner(&run->recipe, term, run->rank.ranks, n), 0};
}

static void add_wave(struct engine_run *run, struct passes *passes, int wave, double sigma)
{
    int place = 0;

    for (int t = 0; t < run->recipe.n_terms; t++) {
        struct recipe_piece piece = {0};
        bool taken;

        if (recipe_wave(&run->recipe, t) != wave)
            continue;
        taken = recipe_piece(&piece, &run->recipe, t, run->rank, batch_samples(run, t));
        if (piece.samples > 0)
            add_pass(run, passes, t, place, &piece, sigma);
        place += taken;
        if (run->communicator)
            add_exchanges(run, passes, t, &piece);
    }
}

int run_execute_wave(struct engine_run *run, int wave, double sigma, struct err *err)
{
    struct passes passes = {0};
    int rc = 0;

    add_wave(run, &passes, wave, sigma);
    if (passes.n > 0)
        rc = run->class->execute(run->backend, passes.pass, passes.n, err);
    for (int i = 0; i < passes.n_exchanges && !rc; i++)
        rc = run->communicator->class->exchange(run->communicator, run->rank.rank,
                                                &passes.exchange[i], err);
    return rc;
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

/* The numbers of the update under way. */
struct numbers {
    double lr, sigma;
};

static int begin(struct engine_run *run, const void *context, struct err *err)
{
    const struct numbers *numbers = context;
    struct passes passes = {0};
    struct gradient_term terms[RECIPE_TERMS_MAX];
    struct step step = step_of(run, numbers->lr, terms);
    struct update update = {.passes = passes.pass,
                            .wave = passes.wave,
                            .communicator = run->communicator,
                            .rank = run->rank.rank,
                            .exchanges = passes.exchange,
                            .step = &step,
                            .next_sigma =
                                recipe_sigma(&run->job.method, run->update + 1, run->total)};

    for (int wave = 0; wave < recipe_waves(&run->recipe); wave++)
        add_wave(run, &passes, wave, numbers->sigma);
    update.n_passes = passes.n;
    update.n_exchanges = passes.n_exchanges;
    return run->class->update(run->backend, &update, err);
}

/* What is measured is what lies between the passes and the change. */
static int measure(struct engine_run *run, const void *context, struct err *err)
{
    const struct numbers *numbers = context;
    int rc = 0;

    for (int wave = 0; wave < recipe_waves(&run->recipe) && !rc; wave++)
        rc = run_execute_wave(run, wave, numbers->sigma, err);
    if (!rc && run->rank.rank == 0)
        rc = telemetry_measure(run, numbers->sigma, err);
    return rc ? rc : run_change_weights(run, numbers->lr, err);
}

static void fill_report(const struct engine_run *run, struct run_report *report,
                        const struct numbers *numbers)
{
    report->update =
        (struct engine_update){.update = run->update + 1,
                               .epoch = (int64_t)(run->update / run->span.updates_per_epoch) + 1,
                               .has_perturbed = run->recipe.perturbed_term >= 0,
                               .lr = numbers->lr,
                               .sigma = numbers->sigma};
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
    struct numbers numbers = {
        .lr = schedule_lr(&run->job.schedule, run->job.optimizer.lr, &run->span, run->update),
        .sigma = recipe_sigma(&run->job.method, run->update, run->total)};
    struct run_report *report = run_report_new(run);
    bool last;
    int rc;

    report->begun = clock_seconds();
    rc = load_batches(run, err);
    if (!rc)
        fill_report(run, report, &numbers);
    if (!rc && report->measured)
        rc = run_settle(run, 0, err);
    if (!rc)
        rc = run_each(run, report->measured ? measure : begin, &numbers, err);
    if (rc)
        return fail(run, rc, err);
    run_report_add(run);
    run->update++;
    last = run->update % run->span.updates_per_epoch == 0 || run->update == run->total;
    return run_settle(run, report->measured || last ? 0 : RUN_PENDING_MAX - 1, err);
}
