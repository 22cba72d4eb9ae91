/* Updates that were begun: when they are done, their losses go to the epoch's sums and to the sink,
 * in the order of the updates.
 *
 * A device may be some updates behind. What an update took is then the time since the one before it
 * was done, which is the time that the device needed, and the host where that is slower. */
#include <math.h>

#include "base/clock.h"
#include "base/text.h"
#include "run/state.h"

#define AHEAD_SECONDS 0.25

struct run_report *run_report_new(struct engine_run *run)
{
    struct run_pending *pending = &run->pending;

    return &pending->report[(pending->first + pending->n) % RUN_PENDING_MAX];
}

void run_report_add(struct engine_run *run)
{
    run->pending.n++;
}

/* The sum of an output over the ranks' pieces of a term; a mean counts by its share of samples. */
enum counted { BY_SHARE, ONCE };

static double sum_of_pieces(const struct engine_run *run, const struct run_report *report, int term,
                            int output, enum counted counted)
{
    int64_t n = report->samples[run->recipe.term[term].batch], begin;
    double sum = 0, samples = (double)recipe_part(&run->recipe.term[term], n, &begin);

    for (int r = 0; r < run->rank.ranks; r++) {
        struct recipe_piece piece = {0};

        recipe_piece(&piece, &run->recipe, term, (struct recipe_rank){r, run->rank.ranks}, n);
        if (piece.samples > 0)
            sum += run_real(run, &report->result[r][term][output]) *
                   (counted == BY_SHARE ? (double)piece.samples / samples : 1);
    }
    return sum;
}

static double term_loss(const struct engine_run *run, const struct run_report *report, int term)
{
    return sum_of_pieces(run, report, term, MODEL_OUTPUT_LOSS, BY_SHARE);
}

/* The mean loss over the batch of a term: over it and the parts that follow it. */
static double loss_of(const struct engine_run *run, const struct run_report *report, int term)
{
    const struct recipe_term *t = &run->recipe.term[term];
    double loss = 0, n = (double)report->samples[t->batch];

    for (int part = 0; part < t->parts; part++) {
        int64_t begin, samples = recipe_part(&t[part], report->samples[t->batch], &begin);

        loss += term_loss(run, report, term + part) * ((double)samples / n);
    }
    return loss;
}

/* Adds the reported term's passes to the epoch's sums. */
static void add_to_epoch(struct engine_run *run, const struct run_report *report)
{
    int term = run->recipe.loss_term;
    double n = (double)report->samples[run->recipe.term[term].batch];

    run->progress.loss += report->update.loss * n;
    for (int part = 0; part < run->recipe.term[term].parts; part++)
        run->progress.right += sum_of_pieces(run, report, term + part, MODEL_OUTPUT_TOP1, ONCE);
    run->progress.samples += n;
}

static int check_finite(const struct engine_run *run, const struct run_report *report,
                        struct err *err)
{
    int first = run->recipe.loss_term;

    for (int t = 0; t < run->recipe.n_terms; t++) {
        double loss = term_loss(run, report, t);
        char said[TEXT_NUMBER_BYTES];

        if (isfinite(loss))
            continue;
        text_number(loss, said);
        return err_set(err, ERR_DIVERGED, "the %s of update %llu is %s",
                       t >= first && t < first + run->recipe.term[first].parts ? "loss"
                                                                               : "perturbed loss",
                       (unsigned long long)report->update.update, said);
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

static int tell(struct engine_run *run, const struct run_report *report, struct err *err)
{
    int rc = 0;

    if (run->sink.update)
        rc = run->sink.update(run->sink.context, &report->update, err);
    if (!rc && report->measured)
        rc = tell_telemetry(run, &report->update, err);
    return rc ? rc : check_finite(run, report, err);
}

/* The oldest is done. */
static int finish(struct engine_run *run, struct err *err)
{
    struct run_pending *pending = &run->pending;
    struct run_report *report = &pending->report[pending->first];
    double now = clock_seconds();
    int perturbed = run->recipe.perturbed_term;

    pending->first = (pending->first + 1) % RUN_PENDING_MAX;
    pending->n--;
    report->update.loss = loss_of(run, report, run->recipe.loss_term);
    if (perturbed >= 0)
        report->update.perturbed_loss = loss_of(run, report, perturbed);
    report->update.seconds = now - (report->begun > pending->told ? report->begun : pending->told);
    pending->told = now;
    pending->seconds = report->update.seconds;
    add_to_epoch(run, report);
    return tell(run, report, err);
}

static int settle(struct engine_run *run, const void *in_flight, struct err *err)
{
    return run->class->settle(run->backend, *(const int *)in_flight, &run->pending.left, err);
}

/* Updates that some rank has not finished. */
static int left(struct engine_run *run)
{
    int most = 0;

    for (int r = 0; r < run->rank.ranks; r++)
        if (run_rank(run, r)->pending.left > most)
            most = run_rank(run, r)->pending.left;
    return most;
}

/* How far a device may be behind: as far as keeps it busy, but not so far that a run which is to
 * end takes long to. One is always there for it to go on with. */
static int farthest(const struct run_pending *pending)
{
    double updates = pending->seconds > 0 ? AHEAD_SECONDS / pending->seconds : 1;

    return updates < 1 ? 1 : updates < RUN_PENDING_MAX - 1 ? (int)updates : RUN_PENDING_MAX - 1;
}

int run_settle(struct engine_run *run, int in_flight, struct err *err)
{
    struct run_pending *pending = &run->pending;
    int rc = 0;

    if (in_flight > farthest(pending))
        in_flight = farthest(pending);
    do { /* one after the other, so that each is told of when it is done */
        int most = pending->n > in_flight ? pending->n - 1 : in_flight;

        rc = run_each(run, settle, &most, err);
        while (!rc && pending->n > left(run))
            rc = finish(run, err);
    } while (!rc && pending->n > in_flight);
    if (rc)
        pending->n = 0;
    return rc;
}
