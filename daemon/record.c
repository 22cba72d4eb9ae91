#include "record.h"

#include "base/clock.h"
#include "base/log.h"
#include "probe.h"

static int note(struct recorder *recorder, int rc)
{
    recorder->failed = recorder->failed || rc != 0;
    return rc;
}

static int record_update(void *context, const struct engine_update *update, struct err *err)
{
    struct recorder *recorder = context;
    struct db_loss loss = {.update = update->update,
                           .epoch = update->epoch,
                           .loss = update->loss,
                           .has_perturbed = update->has_perturbed,
                           .perturbed_loss = update->perturbed_loss,
                           .lr = update->lr,
                           .sigma = update->sigma,
                           .seconds = update->seconds};

    recorder->seconds += update->seconds;
    rate_update(recorder->rate, update->update, clock_seconds());
    return note(recorder, db_loss_add(recorder->db, recorder->job, &loss, err));
}

static int record_telemetry(void *context, const struct telemetry *telemetry, struct err *err)
{
    struct recorder *recorder = context;

    return note(recorder, db_telemetry_add(recorder->db, recorder->job, telemetry, err));
}

static int record_epoch(void *context, const struct engine_epoch *epoch, struct err *err)
{
    struct recorder *recorder = context;
    struct db_epoch row = {.epoch = epoch->epoch,
                           .update = epoch->update,
                           .train_loss = epoch->train_loss,
                           .train_top1 = epoch->train_top1,
                           .evaluated = epoch->evaluated,
                           .test_loss = epoch->test_loss,
                           .test_top1 = epoch->test_top1,
                           .test_top5 = epoch->test_top5,
                           .gradient_evaluations = epoch->gradient_evaluations,
                           .seconds = recorder->seconds,
                           .wall_ms = clock_wall_ms()};

    rate_epoch(recorder->rate, epoch->epoch, epoch->evaluated ? epoch->seconds : 0);
    return note(recorder, db_epoch_add(recorder->db, recorder->job, &row, err));
}

static int record_checkpoint(void *context, const struct checkpoint *checkpoint, bool final,
                             struct err *err)
{
    struct recorder *recorder = context;
    struct db_due due[JOB_PROBES_MAX];
    int n, rc = probe_due(recorder->job, recorder->spec, recorder->facts, checkpoint->update, due,
                          &n, err);

    if (rc)
        return rc;
    rc = note(recorder, db_checkpoint_add_due(recorder->db, recorder->job, checkpoint, final,
                                              recorder->spec->checkpoint.keep, due, n, err));
    probe_due_free(due, n);
    if (!rc && n > 0)
        recorder->wake(recorder->wake_context);
    return rc;
}

/* A message that is lost harms nothing; a database that takes no message takes no loss either, and
 * that ends the run. */
static void record_message(void *context, const char *text)
{
    struct recorder *recorder = context;

    log_info("job %lld: %s", (long long)recorder->job, text);
    db_message_add(recorder->db, recorder->job, text, NULL);
}

struct engine_sink record_sink(struct recorder *recorder)
{
    return (struct engine_sink){.context = recorder,
                                .update = record_update,
                                .telemetry = record_telemetry,
                                .epoch = record_epoch,
                                .checkpoint = record_checkpoint,
                                .message = record_message};
}
