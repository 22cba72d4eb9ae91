/* Spans: the lowest and highest loss of each DB_SPAN_ROWS updates of a job, kept by the writer. */
#ifndef DB_SPAN_H
#define DB_SPAN_H

#include <stdbool.h>
#include <stdint.h>

struct db_writer;
struct err;

/* NaN is higher than infinity. */
bool db_loss_lower(double a, double b);

/* The loss of update `updates`, the last of a span, has been added. */
int db_span_add(struct db_writer *writer, int64_t job, int64_t updates, struct err *err);

#endif
