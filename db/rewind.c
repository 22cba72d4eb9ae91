/* One history: what a dead or stopped run recorded beyond the checkpoint that it goes on from is
 * removed before it goes on, in the transaction that makes the job running. */
#include "span.h"
#include "writer.h"

static int64_t changes(struct db_writer *writer)
{
    return sqlite3_changes64(writer->rows.handle);
}

static int remove_beyond(struct db_writer *writer, int64_t job, int64_t updates, struct err *err)
{
    static const char losses[] = "DELETE FROM loss WHERE job = ? AND updates > ?";
    static const char spans[] = "DELETE FROM span WHERE job = ? AND number > ?";
    static const char epochs[] = "DELETE FROM epoch WHERE job = ? AND updates > ?";
    static const char telemetry[] = "DELETE FROM telemetry WHERE job = ? AND updates > ?";
    static const char events[] =
        "DELETE FROM event WHERE job = ?1 AND "
        "(kind = ?2 AND number > (SELECT coalesce(max(epoch), 0) FROM epoch WHERE job = ?1) OR "
        "kind IN (?3, ?4) AND number > ?5)";
    int code = sql_run(&writer->rows, err, losses, "ii", job, updates);

    if (code)
        return code;
    writer->losses -= changes(writer);
    code = sql_run(&writer->rows, err, spans, "ii", job, updates / DB_SPAN_ROWS);
    if (!code)
        code = sql_run(&writer->rows, err, epochs, "ii", job, updates);
    if (!code)
        code = sql_run(&writer->rows, err, telemetry, "ii", job, updates);
    if (!code)
        code = sql_run(&writer->rows, err, events, "iiiii", job, (int64_t)EVENT_EPOCH,
                       (int64_t)EVENT_CHECKPOINT, (int64_t)EVENT_TELEMETRY, updates);
    return code;
}

int db_best_again(struct db_writer *writer, int64_t job, struct err *err)
{
    static const char text[] =
        "UPDATE job SET (best_epoch, best_top1) = (SELECT epoch, test_top1 FROM "
        "(SELECT epoch, test_top1 FROM epoch WHERE job = ?1 AND typeof(test_top1) = 'real' "
        "UNION ALL SELECT 0, NULL) ORDER BY test_top1 DESC, epoch LIMIT 1) WHERE id = ?1";

    return sql_run(&writer->rows, err, text, "i", job);
}

/* The summary as the rows that are left have it. */
static int summarise(struct db_writer *writer, int64_t job, int64_t updates, struct err *err)
{
    static const char losses[] =
        "UPDATE job SET updates_done = ?2, (loss, perturbed_loss) = "
        "(SELECT loss, perturbed_loss FROM loss WHERE job = ?1 ORDER BY updates DESC LIMIT 1), "
        "seconds = (SELECT total(seconds) FROM loss WHERE job = ?1 AND seconds < 9e999) "
        "WHERE id = ?1";
    static const char epochs[] =
        "UPDATE job SET epoch = 0, gradient_evaluations = 0, train_loss = NULL, train_top1 = NULL, "
        "test_loss = NULL, test_top1 = NULL, test_top5 = NULL WHERE id = ?1";
    static const char trained[] =
        "UPDATE job SET (epoch, gradient_evaluations, train_loss, train_top1) = "
        "(SELECT epoch, gradient_evaluations, train_loss, train_top1 FROM epoch WHERE job = ?1 "
        "ORDER BY epoch DESC LIMIT 1) WHERE id = ?1 AND EXISTS (SELECT 1 FROM epoch WHERE job = "
        "?1)";
    static const char tested[] =
        "UPDATE job SET (test_loss, test_top1, test_top5) = "
        "(SELECT test_loss, test_top1, test_top5 FROM epoch WHERE job = ?1 AND test_loss IS NOT "
        "NULL ORDER BY epoch DESC LIMIT 1) WHERE id = ?1";
    int code = sql_run(&writer->rows, err, losses, "ii", job, updates);

    if (!code)
        code = sql_run(&writer->rows, err, epochs, "i", job);
    if (!code)
        code = sql_run(&writer->rows, err, trained, "i", job);
    if (!code)
        code = sql_run(&writer->rows, err, tested, "i", job);
    return code ? code : db_best_again(writer, job, err);
}

/* 1: something is recorded beyond `updates`, or the summary is not of them. A run that was stopped
 * goes on where its records end, and a long history is not walked through for nothing. */
static int has_more(struct db_writer *writer, int64_t job, int64_t updates, struct err *err)
{
    static const char text[] =
        "SELECT updates_done <> ?2 OR EXISTS (SELECT 1 FROM loss WHERE job = ?1 AND updates > ?2) "
        "OR coalesce((SELECT updates > ?2 FROM epoch WHERE job = ?1 ORDER BY epoch DESC LIMIT 1), "
        "0) FROM job WHERE id = ?1";
    int64_t more;
    int code = sql_integer(&writer->rows, &more, err, text, "ii", job, updates);

    return code <= 0 ? code : (int)more;
}

int db_rewind(struct db_writer *writer, int64_t job, int64_t updates, struct err *err)
{
    int code = db_sums_flush(writer, err);

    if (!code)
        code = has_more(writer, job, updates, err);
    if (code <= 0)
        return code;
    code = remove_beyond(writer, job, updates, err);
    return code ? code : summarise(writer, job, updates, err);
}
