/* What the reading functions share. A reader has a connection a file; that of checkpoints.db is
 * opened when it is first needed, because most readers never do. */
#ifndef DB_READER_H
#define DB_READER_H

#include "base/probe.h"
#include "db/db.h"
#include "sql.h"

struct db_reader {
    struct sql rows, checkpoints; /* checkpoints.handle is NULL while not opened */
    char checkpoints_path[PATH_MAX];
};

int db_reader_checkpoints(struct db_reader *reader, struct sql **out, struct err *err);

/* Several statements that see the same state. db_read_end keeps `code`, if it is an error. */
int db_read_begin(struct sql *sql, struct err *err);
int db_read_end(struct sql *sql, int code);

/* From `column` on, in the order of the lists below. */
void db_read_loss(sqlite3_stmt *statement, int column, struct db_loss *out);
void db_read_epoch(sqlite3_stmt *statement, int column, struct db_epoch *out);

void db_read_estimate(sqlite3_stmt *statement, int column, struct db_estimate *out,
                      struct db_taken *taken);
void db_read_telemetry(sqlite3_stmt *statement, int column, struct telemetry *out);

/* Whose first columns are part, number and data. */
int db_read_probe_row(struct db_reader *reader, sqlite3_stmt *row, struct probe_row *out,
                      struct err *err);

#define DB_LOSS_COLUMNS "updates, epoch, loss, perturbed_loss, lr, sigma, seconds"
#define DB_EPOCH_COLUMNS                                                                           \
    "epoch, updates, train_loss, train_top1, test_loss, test_top1, test_top5, "                    \
    "gradient_evaluations, seconds, wall_ms"
#define DB_ESTIMATE_COLUMNS                                                                        \
    "signature, bytes, update_seconds, evaluation_seconds, run_seconds, earlier, held_bytes, "     \
    "device_bytes, held_device_bytes, ran_device, ran_precision"
#define DB_TELEMETRY_COLUMNS                                                                       \
    "updates, epoch, clean_loss, perturbed_loss, perturbation_norm, gradient_norm, "               \
    "perturbed_gradient_norm, cosine, fisher_scale_min, fisher_scale_median, fisher_scale_max"

#endif
