#include "probe/start.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "job/weights.h"
#include "probe/tables.h"

struct complaint {
    struct err *err;
    const char *whose;
    int n;
};

static void complain(void *context, const char *pointer, const char *message)
{
    struct complaint *complaint = context;

    (void)pointer;
    if (complaint->n++ == 0)
        err_set(complaint->err, ERR_INVALID, "%s: %s", complaint->whose, message);
}

static double element(const struct tensor *tensor, size_t i)
{
    return tensor->type == TENSOR_F32 ? (double)((const float *)tensor->data)[i]
                                      : ((const double *)tensor->data)[i];
}

/* What the backend computes with. */
static double rounded(const struct engine_probe_run *run, double value)
{
    return run->class->real == REAL_F32 ? (double)(float)value : value;
}

static void take_all(const struct engine_probe_run *run, const struct checkpoint *from,
                     const struct graph_tensor *wanted, const struct layout *layout, double *to)
{
    for (int t = 0; t < layout->n; t++) {
        const struct tensor *tensor = weights_find(from->tensors, from->n_tensors, &wanted[t]);

        for (size_t i = 0; i < layout->tensor[t].size; i++)
            to[layout->tensor[t].offset + i] = rounded(run, element(tensor, i));
    }
}

/* Weights and running statistics into arrays of their own. */
static int take_weights(const struct engine_probe_run *run, const struct checkpoint *from,
                        const char *whose, double **w, double **s, struct err *err)
{
    struct complaint complaint = {.err = err, .whose = whose};
    struct problems problems = {.tell = complain, .to = &complaint};

    weights_compare(run->graph, from->tensors, from->n_tensors, &problems);
    if (problems.n)
        return ERR_INVALID;
    *w = calloc(run->params->size, sizeof **w);
    *s = calloc(run->states_layout->size + 1, sizeof **s);
    if (!*w || !*s)
        return err_no_memory(err);
    take_all(run, from, run->graph->params, run->params, *w);
    take_all(run, from, run->graph->states, run->states_layout, *s);
    return 0;
}

/* The tensor with this name, whatever it is for. */
static int take_given_tensor(const struct checkpoint *from, const char *prefix,
                             const struct graph_tensor *wanted, float *to, struct err *err)
{
    const struct tensor *tensor =
        weights_find_named(from->tensors, from->n_tensors, prefix, wanted->name);

    if (!tensor)
        return err_set(err, ERR_INVALID, "the given vectors: %s%s is missing", prefix,
                       wanted->name);
    if (!weights_fit(tensor, wanted))
        return err_set(err, ERR_INVALID,
                       "the given vectors: %s%s has another shape or type than the parameter",
                       prefix, wanted->name);
    for (size_t i = 0; i < tensor_elements(tensor); i++)
        to[i] = (float)element(tensor, i);
    return 0;
}

/* `alone`: names without a prefix will do. */
static int take_given(struct engine_probe_run *run, const struct checkpoint *from, int which,
                      const char *prefix, bool alone, struct err *err)
{
    int rc = 0;

    prefix = weights_prefix(run->graph, from->tensors, from->n_tensors, prefix, alone);
    run->given[which] = calloc(run->params->size, sizeof *run->given[which]);
    if (!run->given[which])
        return err_no_memory(err);
    for (int t = 0; t < run->params->n && !rc; t++)
        rc = take_given_tensor(from, prefix, &run->graph->params[t],
                               run->given[which] + run->params->tensor[t].offset, err);
    return rc;
}

static int take_vectors(struct engine_probe_run *run, const struct checkpoint *from,
                        struct err *err)
{
    const struct engine_probe *probe = &run->probe;
    bool x = probe->x.direction == DIRECTION_GIVEN, y = probe->y.direction == DIRECTION_GIVEN;
    int rc = 0;

    if (!engine_probe_needs_vectors(probe))
        return 0;
    if (!from)
        return err_set(err, ERR_INVALID, "/upload: no vectors were given");
    if (probe->kind == PROBE_SPECTRUM)
        return take_given(run, from, 0, "start/", true, err);
    if (x)
        rc = take_given(run, from, 0, "x/", !y, err);
    if (!rc && y)
        rc = take_given(run, from, 1, "y/", !x, err);
    return rc;
}

static int take_fisher(struct engine_probe_run *run, const struct checkpoint *from, double *room,
                       struct err *err)
{
    for (int t = 0; t < run->params->n; t++) {
        const struct layout_tensor *at = &run->params->tensor[t];
        const struct tensor *tensor = NULL;

        for (int i = 0; i < from->n_tensors && !tensor; i++)
            if (from->tensors[i].role == TENSOR_FISHER &&
                !strcmp(from->tensors[i].name, run->graph->params[t].name))
                tensor = &from->tensors[i];
        if (!tensor || tensor->type == TENSOR_I64 || tensor_elements(tensor) != at->fisher_size)
            return err_set(err, ERR_INVALID,
                           "/adaptive: the checkpoint has no Fisher numbers of "
                           "%s, or not as many as the model",
                           run->graph->params[t].name);
        for (size_t i = 0; i < at->fisher_size; i++)
            room[at->fisher_offset + i] = element(tensor, i);
    }
    return probe_write(run, run->fisher, room, run->params->fisher_size, err);
}

static int open_fisher(struct engine_probe_run *run, const struct checkpoint *from, struct err *err)
{
    double *room;
    int rc;

    if (!engine_probe_needs_fisher(&run->probe))
        return 0;
    rc = run->class->vector_open(run->backend, run->params->fisher_size, &run->fisher, err);
    if (rc)
        return rc;
    room = calloc(run->params->fisher_size, sizeof *room);
    if (!room)
        return err_no_memory(err);
    rc = take_fisher(run, from, room, err);
    free(room);
    return rc;
}

/* Rows that this probe cannot have told are left out. */
static int take_rows(struct engine_probe_run *run, const struct engine_probe_start *start,
                     struct err *err)
{
    int n_tables, rc = 0;
    const struct probe_table *tables = engine_probe_tables(run->probe.kind, &n_tables);

    for (int64_t i = 0; i < start->n_rows && !rc; i++) {
        const struct probe_row *row = &start->rows[i];

        if (row->table > TABLE_SUMMARY && row->table < n_tables && row->number >= 0 &&
            row->n == tables[row->table].n_columns)
            rc = rows_put(run->rows, row, err);
    }
    return rc;
}

int probe_take_start(struct engine_probe_run *run, const struct engine_probe_start *start,
                     struct err *err)
{
    int rc = take_weights(run, start->weights, "the checkpoint", &run->w, &run->s, err);

    if (!rc && engine_probe_needs_other(&run->probe)) {
        if (!start->other)
            return err_set(err, ERR_INVALID, "/other: no other weights were given");
        rc =
            take_weights(run, start->other, "the other weights", &run->other_w, &run->other_s, err);
    }
    if (!rc)
        rc = take_vectors(run, start->vectors, err);
    if (!rc)
        rc = open_fisher(run, start->weights, err);
    return rc ? rc : take_rows(run, start, err);
}
