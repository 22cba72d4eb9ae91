/* A probe's sink that keeps all rows, and can stop it on the way. */
#ifndef TESTS_ENGINE_PROBE_RECORD_H
#define TESTS_ENGINE_PROBE_RECORD_H

#include "engine/probe.h"

struct probe_record {
    int64_t n_rows, room;
    struct probe_row *row; /* each table and number once, in the order in which they came first */
    int n_messages;
    char message[2048]; /* the last one */
    int n_progress;
    double done;
    struct checkpoint vectors; /* a copy */

    atomic_int request;
    int ask_at; /* number of a call of progress, from 1, that asks to stop; 0: never */
    int64_t ask_at_row;
};

void probe_record_free(struct probe_record *record);

/* A probe of this kind with every default, resolved by nobody. */
struct engine_probe probe_defaults(int kind);

/* Trains the job and fills *out with its last checkpoint; checkpoint_clear frees it. */
void train_checkpoint(const struct engine_job *job, struct checkpoint *out);

/* Opens with the rows that the record has, measures, closes; returns what measuring returned. */
int probe_record_run(struct probe_record *record, const struct engine_job *job,
                     const struct engine_probe *probe, const struct engine_probe_start *start,
                     enum engine_outcome *outcome, struct err *err);
/* The same to the end, where nothing may go wrong. */
void probe_record_whole(struct probe_record *record, const struct engine_job *job,
                        const struct engine_probe *probe, const struct engine_probe_start *start);

/* Values of a row; fails the test where there is none. */
const double *probe_row_of(const struct probe_record *record, int table, int64_t number);
int64_t probe_rows_of(const struct probe_record *record, int table);

/* The same rows with the same bits. */
void assert_rows_equal(const struct probe_record *a, const struct probe_record *b);

/* Measures in pieces, each in a probe of its own that is stopped after a few batches, a few more
 * each time, and asserts that the rows are those of `whole`. Returns how many pieces there were. */
int assert_pieces_equal(const struct probe_record *whole, const struct engine_job *job,
                        const struct engine_probe *probe, const struct engine_probe_start *start);

void assert_near(double got, double want, double tolerance);

#endif
