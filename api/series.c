/* Recorded series (losses, epochs, telemetry), streamed: rows are read in blocks while the socket
 * takes them, so that memory does not grow with their number. The series ends where the job was
 * when the request came.
 *
 * Thinning turns each bucket of rows into its two extremes. Of losses, which may be a million, the
 * database knows those of short spans, so only the others are read one by one. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_write.h"
#include "negotiate.h"
#include "routes.h"
#include "series.h"

#define BLOCK_ROWS 512

enum series_kind { SERIES_LOSSES, SERIES_EPOCHS, SERIES_TELEMETRY };

/* A row of one of the series. */
struct row {
    int64_t at; /* update or epoch */
    double key; /* what thinning keeps the extremes of; not of losses */
    union {
        struct db_loss loss;
        struct db_epoch epoch;
        struct telemetry telemetry;
    };
};

struct series {
    struct api *api;
    int64_t job, after, left;
    int64_t of, taken, rows; /* recorded behind the first `after`; read of them; written */
    int64_t bucket;          /* rows that become two, of losses: updates; 0: no thinning */
    enum series_kind kind;
    bool csv, begun, ended;
    bool limited; /* the client's limit leaves rows for another request */
    struct text text;
    size_t sent;
    /* thinning: the extremes of the present bucket */
    int64_t in_bucket;
    struct row low, high, last;
    int64_t shown; /* `at` of the last row that was written */
};

/* NaN is higher than infinity. */
static bool is_higher(const struct row *a, const struct row *b)
{
    double x = a->key, y = b->key;

    return !isnan(y) && (isnan(x) || x > y);
}

static void put_csv_number(struct text *out, bool known, double value)
{
    char number[TEXT_NUMBER_BYTES] = "";

    if (known)
        text_number(value, number);
    text_append(out, ",%s", number);
}

static void loss_csv(struct text *out, const struct db_loss *loss)
{
    text_append(out, "%llu,%lld", (unsigned long long)loss->update, (long long)loss->epoch);
    put_csv_number(out, true, loss->loss);
    put_csv_number(out, loss->has_perturbed, loss->perturbed_loss);
    put_csv_number(out, true, loss->lr);
    put_csv_number(out, true, loss->sigma);
    put_csv_number(out, true, loss->seconds);
    text_append(out, "\n");
}

static void epoch_csv(struct text *out, const struct db_epoch *epoch)
{
    text_append(out, "%lld,%llu", (long long)epoch->epoch, (unsigned long long)epoch->update);
    put_csv_number(out, true, epoch->train_loss);
    put_csv_number(out, true, epoch->train_top1);
    put_csv_number(out, epoch->evaluated, epoch->test_loss);
    put_csv_number(out, epoch->evaluated, epoch->test_top1);
    put_csv_number(out, epoch->evaluated, epoch->test_top5);
    text_append(out, ",%lld", (long long)epoch->gradient_evaluations);
    put_csv_number(out, true, epoch->seconds);
    text_append(out, "\n");
}

static void telemetry_csv(struct text *out, const struct telemetry *telemetry)
{
    text_append(out, "%llu,%lld", (unsigned long long)telemetry->update,
                (long long)telemetry->epoch);
    for (int i = 0; i < TELEMETRY_VALUES; i++)
        put_csv_number(out, telemetry->known[i], telemetry->value[i]);
    text_append(out, "\n");
}

static void put_or_null(struct text *out, const char *key, bool known, double value)
{
    if (known)
        json_put_real(out, key, value);
    else
        json_put_null(out, key);
}

void loss_json(struct text *out, const struct db_loss *loss)
{
    json_open(out, '{');
    json_put_int(out, "update", (int64_t)loss->update);
    json_put_int(out, "epoch", loss->epoch);
    json_put_real(out, "loss", loss->loss);
    put_or_null(out, "perturbed_loss", loss->has_perturbed, loss->perturbed_loss);
    json_put_real(out, "lr", loss->lr);
    json_put_real(out, "sigma", loss->sigma);
    json_put_real(out, "seconds", loss->seconds);
    json_close(out, '}');
}

void epoch_json(struct text *out, const struct db_epoch *epoch)
{
    json_open(out, '{');
    json_put_int(out, "epoch", epoch->epoch);
    json_put_int(out, "update", (int64_t)epoch->update);
    json_put_real(out, "train_loss", epoch->train_loss);
    json_put_real(out, "train_top1", epoch->train_top1);
    put_or_null(out, "test_loss", epoch->evaluated, epoch->test_loss);
    put_or_null(out, "test_top1", epoch->evaluated, epoch->test_top1);
    put_or_null(out, "test_top5", epoch->evaluated, epoch->test_top5);
    json_put_int(out, "gradient_evaluations", epoch->gradient_evaluations);
    json_put_real(out, "seconds", epoch->seconds);
    json_put_time(out, "at", epoch->wall_ms);
    json_close(out, '}');
}

void telemetry_json(struct text *out, const struct telemetry *telemetry)
{
    json_open(out, '{');
    json_put_int(out, "update", (int64_t)telemetry->update);
    json_put_int(out, "epoch", telemetry->epoch);
    for (int i = 0; i < TELEMETRY_VALUES; i++)
        put_or_null(out, telemetry_names[i], telemetry->known[i], telemetry->value[i]);
    json_close(out, '}');
}

static void write_row(struct series *series, const struct row *row)
{
    struct text *out = &series->text;

    if (series->kind == SERIES_LOSSES)
        (series->csv ? loss_csv : loss_json)(out, &row->loss);
    else if (series->kind == SERIES_EPOCHS)
        (series->csv ? epoch_csv : epoch_json)(out, &row->epoch);
    else
        (series->csv ? telemetry_csv : telemetry_json)(out, &row->telemetry);
}

static void put_row(struct series *series, const struct row *row)
{
    struct text *out = &series->text;

    if (row->at <= series->shown)
        return;
    if (!series->csv && series->rows > 0)
        text_append(out, ",\n");
    write_row(series, row);
    series->rows++;
    series->shown = row->at;
}

static void end_bucket(struct series *series)
{
    bool low_first = series->low.at < series->high.at;

    if (series->in_bucket == 0)
        return;
    put_row(series, low_first ? &series->low : &series->high);
    put_row(series, low_first ? &series->high : &series->low);
    series->in_bucket = 0;
}

static int take_row(struct series *series, const struct row *row)
{
    series->after = row->at;
    series->left--;
    series->taken++;
    if (series->bucket == 0) {
        put_row(series, row);
        return 0;
    }
    if (series->in_bucket == 0 || is_higher(&series->low, row))
        series->low = *row;
    if (series->in_bucket == 0 || is_higher(row, &series->high))
        series->high = *row;
    series->last = *row;
    if (++series->in_bucket == series->bucket)
        end_bucket(series);
    return 0;
}

static int take_loss(void *context, const struct db_loss *loss)
{
    struct row row = {.at = (int64_t)loss->update, .loss = *loss};

    return take_row(context, &row);
}

static int take_epoch(void *context, const struct db_epoch *epoch)
{
    struct row row = {.at = epoch->epoch, .key = epoch->train_loss, .epoch = *epoch};

    return take_row(context, &row);
}

static int take_telemetry(void *context, const struct telemetry *telemetry)
{
    struct row row = {.at = (int64_t)telemetry->update, .telemetry = *telemetry};
    enum telemetry_value which = telemetry->known[TELEMETRY_PERTURBED_LOSS]
                                     ? TELEMETRY_PERTURBED_LOSS
                                     : TELEMETRY_CLEAN_LOSS;

    row.key = telemetry->value[which];
    return take_row(context, &row);
}

static void put_head(struct text *out, enum series_kind kind)
{
    static const char *const heads[] = {
        [SERIES_LOSSES] = "update,epoch,loss,perturbed_loss,lr,sigma,seconds",
        [SERIES_EPOCHS] = "epoch,update,train_loss,train_top1,test_loss,test_top1,test_top5,"
                          "gradient_evaluations,seconds",
        [SERIES_TELEMETRY] = "update,epoch"};

    text_append(out, "%s", heads[kind]);
    for (int i = 0; i < TELEMETRY_VALUES && kind == SERIES_TELEMETRY; i++)
        text_append(out, ",%s", telemetry_names[i]);
    text_append(out, "\n");
}

static void begin(struct series *series)
{
    static const char *const names[] = {"losses", "epochs", "telemetry"};
    struct text *out = &series->text;

    series->begun = true;
    if (series->csv)
        put_head(out, series->kind);
    else
        text_append(out, "{\"job\":%lld,\"%s\":[\n", (long long)series->job, names[series->kind]);
}

static void end(struct series *series, bool more)
{
    series->ended = true;
    end_bucket(series);
    if (series->bucket && series->taken > 0)
        put_row(series, &series->last);
    if (series->csv)
        return;
    text_append(&series->text, "\n],\"thinned\":%s,\"of\":%lld,\"next_after\":",
                series->rows < series->taken ? "true" : "false", (long long)series->of);
    text_append(&series->text, more ? "%lld}\n" : "null}\n", (long long)series->after);
}

/* The next bucket of losses. They end at multiples of DB_SPAN_ROWS, if they are that long. */
static int advance_bucket(struct series *series, struct db_reader *reader, struct err *err)
{
    int64_t part = series->bucket % DB_SPAN_ROWS == 0 ? series->after % DB_SPAN_ROWS : 0;
    int64_t n = series->bucket - part < series->left ? series->bucket - part : series->left;
    struct db_extremes found;
    int rc = db_losses_extremes(reader, series->job, (uint64_t)series->after,
                                (uint64_t)(series->after + n), &found, err);

    if (rc)
        return rc;
    series->after += n;
    series->left -= n;
    series->taken += found.rows;
    if (found.rows) {
        series->low = (struct row){.at = (int64_t)found.low.update, .loss = found.low};
        series->high = (struct row){.at = (int64_t)found.high.update, .loss = found.high};
        series->last = (struct row){.at = (int64_t)found.last.update, .loss = found.last};
        series->in_bucket = found.rows;
        end_bucket(series);
    }
    if (series->left == 0)
        end(series, series->limited);
    return 0;
}

/* The next block of rows; 0 or an error. */
static int advance(struct series *series, struct db_reader *reader, struct err *err)
{
    int64_t n = series->left < BLOCK_ROWS ? series->left : BLOCK_ROWS, before = series->taken;
    uint64_t after = (uint64_t)series->after;
    int rc = 0;

    if (series->bucket && series->kind == SERIES_LOSSES)
        return advance_bucket(series, reader, err);
    if (n > 0 && series->kind == SERIES_LOSSES)
        rc = db_losses_each(reader, series->job, after, n, take_loss, series, err);
    else if (n > 0 && series->kind == SERIES_EPOCHS)
        rc = db_epochs_each(reader, series->job, series->after, n, take_epoch, series, err);
    else if (n > 0)
        rc = db_telemetry_each(reader, series->job, after, n, take_telemetry, series, err);
    if (rc == 0 && series->taken - before < BLOCK_ROWS)
        end(series, series->limited && series->left == 0);
    return rc;
}

static ssize_t series_read(void *context, uint64_t position, char *out, size_t size)
{
    struct series *series = context;
    size_t n;

    (void)position;
    if (series->sent == series->text.length) {
        struct db_reader *reader;
        int rc = 0;

        if (series->ended)
            return STREAM_END;
        series->text.length = series->sent = 0;
        if (readers_take(series->api->readers, &reader, NULL))
            return STREAM_FAIL;
        if (!series->begun)
            begin(series);
        while (rc == 0 && !series->ended && series->text.length < size)
            rc = advance(series, reader, NULL);
        readers_give(series->api->readers, reader);
        if (rc || series->text.failed)
            return STREAM_FAIL;
        if (series->text.length == 0)
            return STREAM_END;
    }
    n = series->text.length - series->sent;
    n = n < size ? n : size;
    memcpy(out, series->text.data + series->sent, n);
    series->sent += n;
    return (ssize_t)n;
}

static void series_close(void *context)
{
    struct series *series = context;

    text_free(&series->text);
    free(series);
}

/* Sets `of`: rows behind `after`; losses and epochs as the job's summary knows them. The job must
 * be there. */
static int count_rows(struct request *request, struct series *series, struct err *err)
{
    struct db_reader *reader;
    struct db_job job;
    int rc = readers_take(request->api->readers, &reader, err);

    if (rc)
        return rc;
    rc = db_job_get(reader, request->id, &job, err);
    if (!rc) {
        series->of =
            (series->kind == SERIES_EPOCHS ? job.epoch : (int64_t)job.updates_done) - series->after;
        series->of = series->of < 0 ? 0 : series->of;
        db_job_free(&job);
    }
    if (!rc && series->kind == SERIES_TELEMETRY)
        rc = db_telemetry_count(reader, series->job, (uint64_t)series->after, &series->of, err);
    readers_give(request->api->readers, reader);
    return rc;
}

/* Buckets of losses are whole spans of the database unless they are shorter. */
static int64_t bucket_of(const struct series *series, int64_t rows, int64_t buckets)
{
    int64_t part = series->after % DB_SPAN_ROWS, bucket = (rows + buckets - 1) / buckets;

    if (series->kind != SERIES_LOSSES || bucket <= DB_SPAN_ROWS)
        return bucket;
    bucket = (rows + part + buckets - 1) / buckets;
    return (bucket + DB_SPAN_ROWS - 1) / DB_SPAN_ROWS * DB_SPAN_ROWS;
}

/* What is read, as buckets. */
static void thin(struct series *series, int64_t points, struct reply *reply)
{
    if (series->left <= points)
        return;
    series->bucket = bucket_of(series, series->left, (points - 1) / 2);
    reply_header(reply, "Rwpd-Thinned", "points=%lld; of=%lld", (long long)points,
                 (long long)series->left);
}

static int series_start(struct request *request, struct reply *reply, enum series_kind kind,
                        struct err *err)
{
    static const char *const types[] = {"application/json", "text/csv", NULL};
    const struct query_value *value = request->value, *format = &value[SERIES_FORMAT];
    struct series *series = calloc(1, sizeof *series);
    int rc;

    if (!series)
        return err_no_memory(err);
    *series = (struct series){.api = request->api, .job = request->id, .kind = kind};
    series->after = value[SERIES_AFTER].number;
    rc = count_rows(request, series, err);
    if (rc) {
        free(series);
        return rc;
    }
    series->limited = value[SERIES_LIMIT].number < series->of;
    series->left = series->limited ? value[SERIES_LIMIT].number : series->of;
    series->shown = -1;
    series->csv = format->given ? format->number == 1 : negotiate(request->accept, types) == 1;
    if (value[SERIES_POINTS].given)
        thin(series, value[SERIES_POINTS].number, reply);
    reply->type = series->csv ? "text/csv; charset=utf-8" : "application/json";
    reply_header(reply, "Vary", "Accept");
    reply->stream = (struct stream){series_read, series_close, series, -1};
    return 0;
}

int losses_get(struct request *request, struct reply *reply, struct err *err)
{
    return series_start(request, reply, SERIES_LOSSES, err);
}

int epochs_get(struct request *request, struct reply *reply, struct err *err)
{
    return series_start(request, reply, SERIES_EPOCHS, err);
}

int telemetry_get(struct request *request, struct reply *reply, struct err *err)
{
    return series_start(request, reply, SERIES_TELEMETRY, err);
}
