#include "probe_record.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "record.h"
#include "support.h"

void assert_near(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance))
        fail_msg("%.17g is not within %g of %.17g", got, tolerance, want);
}

void probe_record_free(struct probe_record *record)
{
    free(record->row);
    checkpoint_clear(&record->vectors);
    memset(record, 0, sizeof *record);
}

static struct probe_row *find(const struct probe_record *record, int table, int64_t number)
{
    for (int64_t i = 0; i < record->n_rows; i++)
        if (record->row[i].table == table && record->row[i].number == number)
            return &record->row[i];
    return NULL;
}

static int on_row(void *context, const struct probe_row *row, struct err *err)
{
    struct probe_record *record = context;
    struct probe_row *known = find(record, row->table, row->number);

    (void)err;
    if (!known) {
        if (record->n_rows == record->room) {
            record->room = record->room ? 2 * record->room : 256;
            record->row = realloc(record->row, (size_t)record->room * sizeof *record->row);
            assert_non_null(record->row);
        }
        known = &record->row[record->n_rows++];
    }
    *known = *row;
    if (record->n_rows == record->ask_at_row)
        atomic_store(&record->request, ENGINE_STOP);
    return 0;
}

static int on_progress(void *context, const struct engine_probe_progress *progress, struct err *err)
{
    struct probe_record *record = context;

    (void)err;
    assert_true(progress->done >= record->done && progress->done <= 1);
    record->done = progress->done;
    if (++record->n_progress == record->ask_at)
        atomic_store(&record->request, ENGINE_STOP);
    return 0;
}

static int on_vectors(void *context, const struct checkpoint *vectors, struct err *err)
{
    struct probe_record *record = context;

    (void)err;
    assert_int_equal(record->vectors.n_tensors, 0);
    checkpoint_copy(&record->vectors, vectors);
    return 0;
}

static void on_message(void *context, const char *text)
{
    struct probe_record *record = context;

    record->n_messages++;
    strncpy(record->message, text, sizeof record->message - 1);
}

static void fill(void *at, const struct spec_object *object)
{
    for (int i = 0; i < object->n_fields; i++) {
        const struct spec_field *field = &object->fields[i];
        void *member = (char *)at + field->offset;

        switch (field->type) {
        case SPEC_INT:
        case SPEC_REAL:
        case SPEC_BOOL:
        case SPEC_CHOICE:
            spec_set_default(field, member);
            break;
        case SPEC_OBJECT:
            fill(member, field->object);
            break;
        default:
            fail_msg("a probe has no such member: %s", field->name);
        }
    }
}

struct engine_probe probe_defaults(int kind)
{
    struct engine_probe probe = {.kind = kind};
    int n;

    fill(&probe, &engine_probe_kinds(&n)[kind]);
    return probe;
}

void train_checkpoint(const struct engine_job *job, struct checkpoint *out)
{
    struct record *record = record_new();

    assert_int_equal(record_run_well(record, job, NULL), ENGINE_FINISHED);
    checkpoint_copy(out, &record->checkpoint);
    record_free(record);
}

int probe_record_run(struct probe_record *record, const struct engine_job *job,
                     const struct engine_probe *probe, const struct engine_probe_start *start,
                     enum engine_outcome *outcome, struct err *err)
{
    struct engine_probe_sink sink = {record, on_row, on_progress, on_vectors, on_message};
    struct engine_probe_start from = *start;
    struct engine_probe_run *run = NULL;
    int rc;

    from.rows = record->row;
    from.n_rows = record->n_rows;
    record->done = 0;
    record->n_progress = 0;
    atomic_store(&record->request, ENGINE_CONTINUE);
    rc = engine_probe_open(&run, job, probe, 2, &from, &sink, err);
    if (!rc)
        rc = engine_probe_measure(run, &record->request, outcome, err);
    engine_probe_close(run);
    return rc;
}

void probe_record_whole(struct probe_record *record, const struct engine_job *job,
                        const struct engine_probe *probe, const struct engine_probe_start *start)
{
    enum engine_outcome outcome;

    assert_ok(probe_record_run(record, job, probe, start, &outcome, err));
    assert_int_equal(outcome, ENGINE_FINISHED);
    assert_near(record->done, 1, 1e-9);
}

const double *probe_row_of(const struct probe_record *record, int table, int64_t number)
{
    const struct probe_row *row = find(record, table, number);

    if (!row)
        fail_msg("table %d has no row %lld", table, (long long)number);
    return row->value;
}

int64_t probe_rows_of(const struct probe_record *record, int table)
{
    int64_t n = 0;

    for (int64_t i = 0; i < record->n_rows; i++)
        n += record->row[i].table == table;
    return n;
}

void assert_rows_equal(const struct probe_record *a, const struct probe_record *b)
{
    assert_int_equal(a->n_rows, b->n_rows);
    for (int64_t i = 0; i < a->n_rows; i++) {
        const struct probe_row *own = &a->row[i], *other = find(b, own->table, own->number);

        if (!other || other->n != own->n ||
            memcmp(other->value, own->value, (size_t)own->n * sizeof own->value[0]) != 0)
            fail_msg("row %lld of table %d differs or is missing", (long long)own->number,
                     own->table);
    }
}

/* Rows come back in any order. */
static void reverse(struct probe_record *record)
{
    for (int64_t i = 0, j = record->n_rows - 1; i < j; i++, j--) {
        struct probe_row kept = record->row[i];

        record->row[i] = record->row[j];
        record->row[j] = kept;
    }
}

int assert_pieces_equal(const struct probe_record *whole, const struct engine_job *job,
                        const struct engine_probe *probe, const struct engine_probe_start *start)
{
    struct probe_record pieces = {0};
    enum engine_outcome outcome;
    int n = 0;

    do {
        pieces.ask_at = 2 + 5 * n;
        assert_ok(probe_record_run(&pieces, job, probe, start, &outcome, err));
        reverse(&pieces);
        n++;
    } while (outcome == ENGINE_STOPPED);
    assert_int_equal(outcome, ENGINE_FINISHED);
    assert_rows_equal(whole, &pieces);
    probe_record_free(&pieces);
    return n;
}
