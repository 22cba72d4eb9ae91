/* One update: read its batches, run its terms wave by wave, change the weights, tell the sink. */
#include <math.h>

#include "base/clock.h"
#include "base/text.h"
#include "run/state.h"

int run_load(struct engine_run *run, enum split split, uint64_t b, struct run_batch *batch,
             struct err *err)
{
    int64_t n;

    if (!run->loader) {
        batch->n = split == SPLIT_TRAIN ? run->job.batch_size : run->evaluation_batch;
        return 0;
    }
    n = run->class->real == REAL_F32
            ? loader_take_f32(run->loader, split, b, batch->images, batch->labels, err)
            : loader_take_f64(run->loader, split, b, batch->images, batch->labels, err);
    loader_report(run->loader, false, run->sink.message, run->sink.context);
    batch->n = n;
    return n < 0 ? (int)n : 0;
}

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

int run_execute_wave(struct engine_run *run, int wave, double sigma, struct err *err)
{
    const void *inputs[RECIPE_TERMS_MAX][MODEL_INPUTS];
    void *outputs[RECIPE_TERMS_MAX][MODEL_OUTPUTS];
    struct pass passes[RECIPE_TERMS_MAX];
    int n = 0;

    for (int t = 0; t < run->recipe.n_terms; t++) {
        const struct recipe_term *term = &run->recipe.term[t];
        const struct run_batch *batch = &run->batch[term->batch];
        int64_t begin, samples = samples_of(run, t, &begin);

        if (recipe_wave(&run->recipe, t) != wave)
            continue;
        inputs[n][MODEL_INPUT_IMAGES] =
            (const char *)batch->images + (size_t)begin * run->image_bytes;
        inputs[n][MODEL_INPUT_LABELS] = batch->labels + begin;
        for (int o = 0; o < MODEL_OUTPUTS; o++)
            outputs[n][o] = &run->result[t][o];
        passes[n] = (struct pass){.program = program_of(&run->training[n], samples),
                                  .weights = run->weights,
                                  .perturbation = run_perturbation(run, t, sigma),
                                  .draws = {(uint64_t)run->job.seed, run->update, (uint32_t)t},
                                  .states = run->states,
                                  .move_statistics = term->move_statistics,
                                  .statistics_momentum = run->job.batch_norm.momentum,
                                  .inputs = inputs[n],
                                  .outputs = outputs[n],
                                  .gradient = run->gradient[t]};
        n++;
    }
    return run->class->execute(run->backend, passes, n, err);
}

double run_share(const struct engine_run *run, int term)
{
    int64_t begin, samples = samples_of(run, term, &begin);

    return (double)samples / (double)run->batch[run->recipe.term[term].batch].n;
}

int run_change_weights(struct engine_run *run, double lr, struct err *err)
{
    struct gradient_term terms[RECIPE_TERMS_MAX];
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
    return run->class->step(run->backend, &step, err);
}

/* The mean loss over the batch of a term: over it and the parts that follow it. */
static double loss_of(const struct engine_run *run, int term)
{
    double loss = 0;

    for (int part = 0; part < run->recipe.term[term].parts; part++)
        loss += run_real(run, &run->result[term + part][MODEL_OUTPUT_LOSS]) *
                run_share(run, term + part);
    return loss;
}

/* Adds the reported term's passes to the epoch's sums. */
static void add_to_epoch(struct engine_run *run)
{
    int term = run->recipe.loss_term;
    double n = (double)run->batch[run->recipe.term[term].batch].n;

    run->progress.loss += loss_of(run, term) * n;
    for (int part = 0; part < run->recipe.term[term].parts; part++)
        run->progress.right += run_real(run, &run->result[term + part][MODEL_OUTPUT_TOP1]);
    run->progress.samples += n;
}

static int check_finite(const struct engine_run *run, struct err *err)
{
    int first = run->recipe.loss_term;

    for (int t = 0; t < run->recipe.n_terms; t++) {
        double loss = run_real(run, &run->result[t][MODEL_OUTPUT_LOSS]);
        char said[TEXT_NUMBER_BYTES];

        if (isfinite(loss))
            continue;
        text_number(loss, said);
        return err_set(err, ERR_DIVERGED, "the %s of update %llu is %s",
                       t >= first && t < first + run->recipe.term[first].parts ? "loss"
                                                                               : "perturbed loss",
                       (unsigned long long)run->update, said);
    }
    return 0;
}

static int tell_telemetry(struct engine_run *run, const struct engine_update *update,
                          struct err *err)
{
    struct telemetry *telemetry = &run->telemetry;
    bool clean = run->recipe.loss_term != run->recipe.perturbed_term;

    telemetry->update = update->update;
    telemetry->epoch = update->epoch;
    telemetry->known[TELEMETRY_CLEAN_LOSS] = clean;
    telemetry->value[TELEMETRY_CLEAN_LOSS] = clean ? update->loss : 0;
    telemetry->known[TELEMETRY_PERTURBED_LOSS] = update->has_perturbed;
    telemetry->value[TELEMETRY_PERTURBED_LOSS] = update->perturbed_loss;
    return run->sink.telemetry ? run->sink.telemetry(run->sink.context, telemetry, err) : 0;
}

static int tell(struct engine_run *run, const struct engine_update *update, bool measured,
                struct err *err)
{
    int rc = 0;

    if (run->sink.update)
        rc = run->sink.update(run->sink.context, update, err);
    if (!rc && measured)
        rc = tell_telemetry(run, update, err);
    return rc ? rc : check_finite(run, err);
}

int run_update(struct engine_run *run, struct err *err)
{
    double start = clock_seconds();
    double lr = schedule_lr(&run->job.schedule, run->job.optimizer.lr, &run->span, run->update);
    double sigma = recipe_sigma(&run->job.method, run->update, run->total);
    int perturbed = run->recipe.perturbed_term, rc;
    bool measured;
    struct engine_update report = {.epoch =
                                       (int64_t)(run->update / run->span.updates_per_epoch) + 1,
                                   .has_perturbed = perturbed >= 0,
                                   .lr = lr,
                                   .sigma = sigma};

    rc = load_batches(run, err);
    for (int wave = 0; wave < recipe_waves(&run->recipe) && !rc; wave++)
        rc = run_execute_wave(run, wave, sigma, err);
    if (!rc && telemetry_due(run))
        rc = telemetry_measure(run, sigma, err);
    measured = telemetry_due(run);
    if (!rc)
        rc = run_change_weights(run, lr, err);
    if (rc)
        return rc;
    run->update++;
    add_to_epoch(run);
    report.update = run->update;
    report.loss = loss_of(run, run->recipe.loss_term);
    if (perturbed >= 0)
        report.perturbed_loss = loss_of(run, perturbed);
    report.seconds = clock_seconds() - start;
    return tell(run, &report, measured, err);
}
