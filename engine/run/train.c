/* The loop of a run. Between two updates it is in one of these places, decided by `update` and
 * `progress` alone, so that a resumed run goes on just as it would have:
 *
 *   within an epoch            → next update
 *   epoch done, not reported   → evaluate, report, sums to 0; checkpoint if one is due
 *   all done and reported      → final checkpoint, end
 *
 * The end of the run is the end of its last epoch, which may be a part of one. An evaluation that
 * is interrupted leaves the epoch unreported, sums and all. */
#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/text.h"
#include "data/folder.h"
#include "job/resolve.h"
#include "run/state.h"

#define UNTESTED_NAMED 3 /* classes */

static bool epoch_unreported(const struct engine_run *run)
{
    bool end = run->update % run->span.updates_per_epoch == 0 || run->update == run->total;

    return end && run->progress.samples > 0;
}

static bool due_by_time(const struct engine_run *run)
{
    int64_t every = run->job.checkpoint.every_seconds;

    return every > 0 && clock_seconds() - run->checkpoint_seconds >= (double)every;
}

static bool due_by_epoch(const struct engine_run *run, int64_t epoch)
{
    int64_t every = run->job.checkpoint.every_epochs;

    return every > 0 && epoch % every == 0;
}

static bool due_by_probe(const struct engine_run *run)
{
    for (int i = 0; i < run->job.probes.n; i++)
        if (engine_job_probe_due(&run->job, i, (int64_t)run->span.updates_per_epoch,
                                 (int64_t)run->total, run->update))
            return true;
    return false;
}

static int tell_epoch(struct engine_run *run, const struct engine_epoch *epoch, struct err *err)
{
    char said[TEXT_NUMBER_BYTES];
    int rc = 0;

    if (run->sink.epoch)
        rc = run->sink.epoch(run->sink.context, epoch, err);
    if (rc || !epoch->evaluated || isfinite(epoch->test_loss))
        return rc;
    text_number(epoch->test_loss, said);
    return err_set(err, ERR_DIVERGED, "the test loss after update %llu is %s",
                   (unsigned long long)run->update, said);
}

static int finish_epoch(struct engine_run *run, const atomic_int *request, struct err *err)
{
    int64_t number =
        (int64_t)((run->update + run->span.updates_per_epoch - 1) / run->span.updates_per_epoch);
    struct engine_epoch epoch = {.epoch = number,
                                 .update = run->update,
                                 .train_loss = run->progress.loss / run->progress.samples,
                                 .train_top1 = run->progress.right / run->progress.samples,
                                 .gradient_evaluations =
                                     (int64_t)run->update * recipe_gradients(&run->recipe)};
    bool interrupted = false;
    int rc = 0;

    if (number % run->job.evaluate.every_epochs == 0 || run->update == run->total)
        rc = run_evaluate(run, request, &epoch, &interrupted, err);
    if (rc || interrupted)
        return rc;
    loader_report(run->loader, true, run->sink.message, run->sink.context);
    rc = tell_epoch(run, &epoch, err);
    if (rc)
        return rc;
    run->progress = (struct run_progress){0};
    /* The final checkpoint comes after the last epoch anyway. */
    if (run->update < run->total &&
        (due_by_epoch(run, number) || due_by_time(run) || due_by_probe(run)))
        return run_write_checkpoint(run, false, err);
    return 0;
}

static void announce(const struct engine_run *run)
{
    char ranks[32] = "", text[256];

    if (run->rank.ranks > 1)
        snprintf(ranks, sizeof ranks, " in %d ranks", run->rank.ranks);
    snprintf(text, sizeof text,
             "%lld parameters on %s in %s with %d thread%s%s, update %llu of %llu",
             (long long)model_parameters(run->graph), run->place.name, run->place.precision,
             run->threads, run->threads == 1 ? "" : "s", ranks, (unsigned long long)run->update,
             (unsigned long long)run->total);
    if (run->sink.message)
        run->sink.message(run->sink.context, text);
}

/* Told once, where the run begins. */
static void tell_of_untested(const struct engine_run *run)
{
    const struct image_folder *folder = run->dataset->folder;
    int first[UNTESTED_NAMED], n;
    char text[512];
    size_t used;

    if (!folder || run->update > 0 || !run->sink.message)
        return;
    n = image_folder_lacking(folder, SPLIT_TEST, first, UNTESTED_NAMED);
    if (n == 0)
        return;
    used = (size_t)snprintf(text, sizeof text, "val has no images of %d of the %d classes:", n,
                            run->dataset->classes);
    for (int i = 0; i < n && i < UNTESTED_NAMED; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, " %.100s%s",
                                 image_folder_class_name(folder, first[i]), i + 1 < n ? "," : "");
    snprintf(text + used, sizeof text - used,
             "%s; %s not tested, and the others keep the numbers that train gives them",
             n > UNTESTED_NAMED ? " …" : "", n == 1 ? "it is" : "they are");
    run->sink.message(run->sink.context, text);
}

/* One move from the place that the run is in. */
static int advance(struct engine_run *run, const atomic_int *request, struct err *err)
{
    int rc;

    if (epoch_unreported(run))
        return finish_epoch(run, request, err);
    rc = run_update(run, err);
    if (!rc && !epoch_unreported(run) && due_by_time(run))
        rc = run_write_checkpoint(run, false, err);
    return rc;
}

int engine_run_train(struct engine_run *run, const atomic_int *request,
                     enum engine_outcome *outcome, struct err *err)
{
    int rc = run_share_state(run, err);

    if (rc)
        return rc;
    announce(run);
    tell_of_untested(run);
    run->checkpoint_seconds = clock_seconds();
    for (;;) {
        int wish = atomic_load(request);

        if (wish == ENGINE_ABANDON) {
            *outcome = ENGINE_ABANDONED;
            return run_settle(run, 0, err);
        }
        if (run->update == run->total && !epoch_unreported(run)) {
            *outcome = ENGINE_FINISHED;
            return run_write_checkpoint(run, true, err);
        }
        if (wish == ENGINE_STOP) {
            *outcome = ENGINE_STOPPED;
            return run_write_checkpoint(run, false, err);
        }
        rc = advance(run, request, err);
        if (rc)
            return rc;
    }
}
