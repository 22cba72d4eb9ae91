/* Deleting jobs that have ended: one, or all of a sweep with it. One transaction takes away all by
 * which a job is seen; what it recorded goes afterwards, see removal.c. So a crash leaves the job
 * or nothing that shows. */
#include "base/clock.h"
#include "db/probe.h"
#include "db/sweep.h"
#include "inside.h"
#include "steps.h"

_Static_assert(JOB_QUEUED == 0 && JOB_RUNNING == 1 && JOB_PAUSED == 2 && JOB_STATES == 6 &&
                   PROBE_QUEUED == 0 && PROBE_RUNNING == 1 && DB_JOB_GONE == -1,
               "the statements here have them as numbers");

/* The ids of the jobs that are to go: ?1 or, where that is 0, those of the sweep ?2. */
#define DOOMED                                                                                     \
    "(SELECT ?1 WHERE ?1 <> 0 UNION ALL SELECT id FROM job INDEXED BY job_of_sweep "               \
    "WHERE sweep <> 0 AND sweep = ?2)"

struct delete_op {
    struct db_op op;
    int64_t job, sweep; /* one of the two; the other is 0 */
};

/* 1: there is a row, with two numbers. */
static int ask(struct db_writer *writer, const char *text, const struct delete_op *own,
               int64_t out[2], struct err *err)
{
    sqlite3_stmt *row;
    int code = sql_query(&writer->rows, &row, err, text, "ii", own->job, own->sweep);

    if (!code)
        code = sql_step(&writer->rows, row, err);
    if (code <= 0)
        return code;
    out[0] = sqlite3_column_int64(row, 0);
    out[1] = sqlite3_column_int64(row, 1);
    sql_done(row);
    return 1;
}

/* ---- Whether it may go ---- */

static int check_job(struct db_writer *writer, const struct delete_op *own, struct err *err)
{
    static const char text[] = "SELECT state, sweep FROM job WHERE id = ?1 AND state >= 0 "
                               "AND ?2 = 0";
    int64_t found[2];
    int code = ask(writer, text, own, found, err);

    if (code < 0)
        return code;
    if (code == 0)
        return err_set(err, ERR_NOT_FOUND, "there is no job %lld", (long long)own->job);
    if (found[0] <= JOB_PAUSED)
        return err_set(err, ERR_CONFLICT, "job %lld is %s: cancel it first", (long long)own->job,
                       job_state_name((enum job_state)found[0]));
    if (found[1])
        return err_set(err, ERR_CONFLICT,
                       "job %lld is one of sweep %lld, which can only be deleted as a whole",
                       (long long)own->job, (long long)found[1]);
    return 0;
}

static int check_sweep(struct db_writer *writer, const struct delete_op *own, struct err *err)
{
    static const char exists[] = "SELECT id, max_running FROM sweep WHERE id = ?2 AND ?1 = 0";
    static const char waits[] = "SELECT id, state FROM job WHERE id IN " DOOMED
                                " AND state IN (0, 1, 2) ORDER BY id LIMIT 1";
    int64_t found[2];
    int code = ask(writer, exists, own, found, err);

    if (code == 0)
        return err_set(err, ERR_NOT_FOUND, "there is no sweep %lld", (long long)own->sweep);
    if (code > 0)
        code = ask(writer, waits, own, found, err);
    if (code <= 0)
        return code;
    return err_set(err, ERR_CONFLICT, "job %lld of sweep %lld is %s: cancel the sweep first",
                   (long long)found[0], (long long)own->sweep,
                   job_state_name((enum job_state)found[1]));
}

/* The same as keeps a checkpoint (checkpoint_write.c) and an upload (upload.c), for all that these
 * jobs have. */
static int check_unused(struct db_writer *writer, const struct delete_op *own, struct err *err)
{
    static const struct {
        const char *text, *format;
    } users[] = {
        {"SELECT job, number FROM probe WHERE job IN " DOOMED " AND state IN (0, 1) LIMIT 1",
         "job %lld has probe %lld, which has not ended: cancel it first"},
        {"SELECT id, init_job FROM job WHERE init_job <> 0 AND init_job IN " DOOMED
         " AND state IN (0, 1, 2) AND checkpoint_updates = 0 LIMIT 1",
         "job %lld is to begin with a checkpoint of job %lld"},
        {"SELECT job, other_job FROM probe WHERE other_job <> 0 AND other_job IN " DOOMED
         " AND state IN (0, 1) LIMIT 1",
         "a probe of job %lld needs a checkpoint of job %lld"},
        {"SELECT job.id, json_extract(one.value, '$.other.job') FROM job, "
         "json_each(job.spec, '$.probes') AS one WHERE job.state IN (0, 1, 2) AND "
         "json_extract(one.value, '$.other.job') IN " DOOMED " LIMIT 1",
         "a probe of job %lld needs a checkpoint of job %lld"},
    };
    int code = 0;

    for (size_t i = 0; !code && i < sizeof users / sizeof *users; i++) {
        int64_t found[2];

        code = ask(writer, users[i].text, own, found, err);
        if (code == 1)
            code = err_set(err, ERR_CONFLICT, users[i].format, (long long)found[0],
                           (long long)found[1]);
    }
    return code;
}

/* ---- Taking it away ---- */

/* The jobs' rows come last: after that the sweep has none by which they could be found. */
static int take_away(struct db_writer *writer, const struct delete_op *own, struct err *err)
{
    static const char told[] =
        "INSERT INTO deleted SELECT ?3 + row_number() OVER (ORDER BY id), id, ?4 FROM job "
        "WHERE id IN " DOOMED;
    static const char *const texts[] = {
        "DELETE FROM estimate WHERE job IN " DOOMED,
        "DELETE FROM death WHERE job IN " DOOMED,
        "UPDATE probe SET idempotency_key = NULL, fingerprint = NULL WHERE job IN " DOOMED,
        "DELETE FROM sweep WHERE id = ?2 AND ?1 = 0",
        "UPDATE job SET state = -1, name = '', reason = NULL, spec = '', idempotency_key = NULL, "
        "fingerprint = NULL, init_job = 0, init_upload = 0, sweep = 0 WHERE id IN " DOOMED,
    };
    int code = sql_run(&writer->rows, err, told, "iiii", own->job, own->sweep,
                       writer->next_sequence, clock_wall_ms());

    if (!code)
        writer->next_sequence += sqlite3_changes64(writer->rows.handle);
    for (size_t i = 0; !code && i < sizeof texts / sizeof *texts; i++)
        code = sql_run(&writer->rows, err, texts[i], "ii", own->job, own->sweep);
    return code;
}

static int apply_delete(struct db_writer *writer, struct db_op *op, struct err *err)
{
    const struct delete_op *own = (struct delete_op *)op;
    int code = db_sums_flush(writer, err);

    if (!code)
        code = own->sweep ? check_sweep(writer, own, err) : check_job(writer, own, err);
    if (!code)
        code = check_unused(writer, own, err);
    return code ? code : take_away(writer, own, err);
}

static void deleted(struct db_queue *queue, struct db_op *op)
{
    (void)op;
    db_removal_go_on(queue);
}

static int submit(struct db *db, int64_t job, int64_t sweep, struct err *err)
{
    struct delete_op own = {.op = {.kind = OP_DURABLE, .apply = apply_delete, .committed = deleted},
                            .job = job,
                            .sweep = sweep};

    return db_queue_submit(db->queue, &own.op, err);
}

int db_job_delete(struct db *db, int64_t id, struct err *err)
{
    if (id < 1)
        return err_set(err, ERR_NOT_FOUND, "there is no job %lld", (long long)id);
    return submit(db, id, 0, err);
}

int db_sweep_delete(struct db *db, int64_t id, struct err *err)
{
    if (id < 1)
        return err_set(err, ERR_NOT_FOUND, "there is no sweep %lld", (long long)id);
    return submit(db, 0, id, err);
}
