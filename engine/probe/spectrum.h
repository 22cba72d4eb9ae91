/* What the files of a spectrum share: spectrum.c (the runs and what follows from them), trace.c,
 * layers.c. */
#ifndef ENGINE_PROBE_SPECTRUM_H
#define ENGINE_PROBE_SPECTRUM_H

#include "probe/state.h"

/* A row of a table of nodes, from its column "value" on. */
enum { NODE_VALUE, NODE_WEIGHT, NODE_RESIDUAL, NODE_COLUMNS };

/* The nodes of a finished Lanczos run, from row `first` of a table on. A run is finished when
 * these rows are there: they are told from the last to the first. */
struct nodes {
    int n; /* 0: the run is not finished */
    int table;
    int64_t first;
    int skip; /* columns before "value" */
};

struct nodes nodes_find(const struct engine_probe_run *run, int table, int64_t first,
                        int64_t steps);
const double *node_at(const struct engine_probe_run *run, const struct nodes *nodes, int i);
/* Σ weight·value: vᵀHv of the start v of length 1. */
double nodes_mean(const struct engine_probe_run *run, const struct nodes *nodes);
/* Tells the nodes of the run that `lanczos` has just done, with `before` as their first columns. */
int nodes_tell(struct engine_probe_run *run, const struct lanczos *lanczos,
               const struct nodes *where, const double *before, struct err *err);

/* trace.c: fills trace and its error in the summary. */
double trace_cost(const struct engine_probe_run *run);
int64_t trace_products(const struct engine_probe_run *run);
int trace_measure(struct engine_probe_run *run, struct err *err);
/* Where a draw of one parameter's block stands (param −1: of the whole). */
int64_t trace_row(const struct engine_probe_run *run, int64_t draw, int param);

/* layers.c */
double layers_cost(const struct engine_probe_run *run);
int64_t layers_products(const struct engine_probe_run *run);
int layers_measure(struct engine_probe_run *run, struct err *err);

#endif
