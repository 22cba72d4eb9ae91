/* One update: read its batches, run its terms wave by wave, change the weights, tell the sink. */
#include <math.h>

#include "base/clock.h"
#include "base/text.h"
#include "run/state.h"

int run_load(struct engine_run *run, enum split split, uint64_t b, struct run_batch *batch,
             struct err *err)
{
    int64_t n = run->class->real == REAL_F32
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

static struct perturbation perturbation_of(const struct engine_run *run, int term, double sigma)
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
    if (t->perturbation == PERTURB_DIRECTION) {
        out.rho = run->job.method.rho;
        out.direction = run->gradient[t->needs];
    }
    return out;
}

static int execute_wave(struct engine_run *run, int wave, double sigma, struct err *err)
{
    const void *inputs[RECIPE_TERMS_MAX][MODEL_INPUTS];
    void *outputs[RECIPE_TERMS_MAX][MODEL_OUTPUTS];
    struct pass passes[RECIPE_TERMS_MAX];
    int n = 0;

    for (int t = 0; t < run->recipe.n_terms; t++) {
        const struct recipe_term *term = &run->recipe.term[t];
        const struct run_batch *batch = &run->batch[term->batch];

        if (recipe_wave(&run->recipe, t) != wave)
            continue;
        inputs[n][MODEL_INPUT_IMAGES] = batch->images;
        inputs[n][MODEL_INPUT_LABELS] = batch->labels;
        for (int o = 0; o < MODEL_OUTPUTS; o++)
            outputs[n][o] = &run->result[t][o];
        passes[n] = (struct pass){.program = program_of(&run->training[n], batch->n),
                                  .weights = run->weights,
                                  .perturbation = perturbation_of(run, t, sigma),
                                  .draws = {(uint64_t)run->job.seed, run->update, (uint32_t)t},
                                  .states = run->states,
                                  .move_statistics = term->move_statistics,
                                  .statistics_momentum = 0.1,
                                  .inputs = inputs[n],
                                  .outputs = outputs[n],
                                  .gradient = run->gradient[t]};
        n++;
    }
    return run->class->execute(run->backend, passes, n, err);
}

static int change_weights(struct engine_run *run, double lr, struct err *err)
{
    struct gradient_term terms[RECIPE_TERMS_MAX];
    struct step step = {.layout = run->params,
                        .weights = run->weights,
                        .momentum_vector = run->momentum,
                        .fisher = run->fisher,
                        .terms = terms,
                        .lr = lr,
                        .momentum = run->job.optimizer.momentum,
                        .weight_decay = run->job.optimizer.weight_decay,
                        .beta = run->job.method.beta};

    for (int t = 0; t < run->recipe.n_terms; t++) {
        const struct recipe_term *term = &run->recipe.term[t];

        if (term->weight != 0 || term->feeds_fisher)
            terms[step.n_terms++] = (struct gradient_term){.gradient = run->gradient[t],
                                                           .weight = term->weight,
                                                           .feeds_fisher = term->feeds_fisher};
    }
    return run->class->step(run->backend, &step, err);
}

/* Adds the reported term's pass to the epoch's sums. */
static void add_to_epoch(struct engine_run *run)
{
    int term = run->recipe.loss_term;
    double n = (double)run->batch[run->recipe.term[term].batch].n;

    run->progress.loss += run_real(run, &run->result[term][MODEL_OUTPUT_LOSS]) * n;
    run->progress.right += run_real(run, &run->result[term][MODEL_OUTPUT_TOP1]);
    run->progress.samples += n;
}

static int check_finite(const struct engine_run *run, struct err *err)
{
    for (int t = 0; t < run->recipe.n_terms; t++) {
        double loss = run_real(run, &run->result[t][MODEL_OUTPUT_LOSS]);
        char said[TEXT_NUMBER_BYTES];

        if (isfinite(loss))
            continue;
        text_number(loss, said);
        return err_set(err, ERR_DIVERGED, "the %s of update %llu is %s",
                       t == run->recipe.loss_term ? "loss" : "perturbed loss",
                       (unsigned long long)run->update, said);
    }
    return 0;
}

static int tell(struct engine_run *run, const struct engine_update *update, struct err *err)
{
    int rc = 0;

    if (run->sink.update)
        rc = run->sink.update(run->sink.context, update, err);
    return rc ? rc : check_finite(run, err);
}

int run_update(struct engine_run *run, struct err *err)
{
    double start = clock_seconds();
    double lr = schedule_lr(&run->job.schedule, run->job.optimizer.lr, &run->span, run->update);
    double sigma = recipe_sigma(&run->job.method, run->update, run->total);
    int perturbed = run->recipe.perturbed_term, rc;
    struct engine_update report = {.epoch =
                                       (int64_t)(run->update / run->span.updates_per_epoch) + 1,
                                   .has_perturbed = perturbed >= 0,
                                   .lr = lr,
                                   .sigma = sigma};

    rc = load_batches(run, err);
    for (int wave = 0; wave < recipe_waves(&run->recipe) && !rc; wave++)
        rc = execute_wave(run, wave, sigma, err);
    if (!rc)
        rc = change_weights(run, lr, err);
    if (rc)
        return rc;
    run->update++;
    add_to_epoch(run);
    report.update = run->update;
    report.loss = run_real(run, &run->result[run->recipe.loss_term][MODEL_OUTPUT_LOSS]);
    if (perturbed >= 0)
        report.perturbed_loss = run_real(run, &run->result[perturbed][MODEL_OUTPUT_LOSS]);
    report.seconds = clock_seconds() - start;
    return tell(run, &report, err);
}
