/* A run's state as named tensors, both ways.
 *
 * Which tensors a checkpoint has, in which order, follows from the job alone: parameters; buffers
 * (running statistics, and num_batches_tracked as PyTorch has it); momentum, mean squares and
 * Fisher numbers under their parameter's name; the dataset's digest; progress. Their data points
 * into the snapshot's room. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "run/state.h"

#define PROGRESS_NUMBERS 3

_Static_assert(sizeof(struct run_progress) == PROGRESS_NUMBERS * sizeof(double), "no gaps");
_Static_assert(sizeof(struct dataset_digest) == DATASET_DIGEST_NUMBERS * sizeof(int64_t),
               "nor there");

static enum tensor_type real_tensor(const struct engine_run *run)
{
    return run->class->real == REAL_F32 ? TENSOR_F32 : TENSOR_F64;
}

/* Room for one more tensor; `snapshot_tensors` has counted them. */
static struct tensor *append(struct engine_run *run, enum tensor_role role, enum tensor_type type,
                             void *data)
{
    struct checkpoint *checkpoint = &run->snapshot.checkpoint;
    struct tensor *tensor = &checkpoint->tensors[checkpoint->n_tensors];

    *tensor = (struct tensor){.role = role, .type = type, .data = data};
    run->snapshot.at[checkpoint->n_tensors++] = data;
    return tensor;
}

static void append_all(struct engine_run *run, enum tensor_role role,
                       const struct graph_tensor *like, const struct layout *layout,
                       unsigned char *room)
{
    for (int t = 0; t < layout->n; t++) {
        unsigned char *data = room + layout->tensor[t].offset * real_bytes(run->class->real);
        struct tensor *tensor = append(run, role, real_tensor(run), data);

        memcpy(tensor->name, like[t].name, sizeof tensor->name);
        tensor->rank = like[t].shape.rank;
        for (int d = 0; d < tensor->rank; d++)
            tensor->dim[d] = like[t].shape.dim[d];
    }
}

static void append_fisher(struct engine_run *run)
{
    for (int t = 0; t < run->params->n; t++) {
        const struct layout_tensor *at = &run->params->tensor[t];
        unsigned char *data =
            run->snapshot.fisher + at->fisher_offset * real_bytes(run->class->real);
        struct tensor *tensor = append(run, TENSOR_FISHER, real_tensor(run), data);

        memcpy(tensor->name, run->graph->params[t].name, sizeof tensor->name);
        tensor->rank = 1;
        tensor->dim[0] = (int64_t)at->fisher_size;
    }
}

/* PyTorch counts, for each batch norm, how often its statistics were moved. */
static void append_tracked(struct engine_run *run)
{
    static const char suffix[] = "running_mean";

    for (int i = 0; i < run->graph->n_moments; i++) {
        const char *mean = run->graph->states[run->graph->moments[i].running_mean].name;
        struct tensor *tensor =
            append(run, TENSOR_BUFFER, TENSOR_I64, &run->snapshot.batches_tracked);

        snprintf(tensor->name, sizeof tensor->name, "%.*snum_batches_tracked",
                 (int)(strlen(mean) - strlen(suffix)), mean);
    }
}

static void append_dataset(struct engine_run *run)
{
    struct tensor *tensor = append(run, TENSOR_PROGRESS, TENSOR_I64, &run->snapshot.dataset);

    strcpy(tensor->name, DATASET_DIGEST_NAME);
    tensor->rank = 1;
    tensor->dim[0] = DATASET_DIGEST_NUMBERS;
}

static void append_progress(struct engine_run *run)
{
    struct tensor *tensor = append(run, TENSOR_PROGRESS, TENSOR_F64, &run->snapshot.progress);

    strcpy(tensor->name, "progress");
    tensor->rank = 1;
    tensor->dim[0] = PROGRESS_NUMBERS;
}

int snapshot_tensors(const struct engine_run *run)
{
    int per_parameter = 2 + (run->squares != NULL) + (run->fisher != NULL);

    return run->params->n * per_parameter + run->states_layout->n + run->graph->n_moments + 2;
}

static int open_tensors(struct engine_run *run, struct err *err)
{
    int n = snapshot_tensors(run);
    struct snapshot *room = &run->snapshot;

    room->checkpoint.tensors = calloc((size_t)n, sizeof *room->checkpoint.tensors);
    room->at = calloc((size_t)n, sizeof *room->at);
    if (!room->checkpoint.tensors || !room->at)
        return err_no_memory(err);
    append_all(run, TENSOR_PARAMETER, run->graph->params, run->params, room->weights);
    append_all(run, TENSOR_BUFFER, run->graph->states, run->states_layout, room->states);
    append_tracked(run);
    append_all(run, TENSOR_MOMENTUM, run->graph->params, run->params, room->momentum);
    if (run->squares)
        append_all(run, TENSOR_SQUARES, run->graph->params, run->params, room->squares);
    if (run->fisher)
        append_fisher(run);
    append_dataset(run);
    append_progress(run);
    return 0;
}

int snapshot_open(struct engine_run *run, struct err *err)
{
    struct snapshot *room = &run->snapshot;
    size_t size = real_bytes(run->class->real);

    room->weights = calloc(run->params->size, size);
    room->momentum = calloc(run->params->size, size);
    room->squares = calloc(run->squares ? run->params->size : 1, size);
    room->states = calloc(run->states_layout->size, size);
    room->fisher = calloc(run->fisher ? run->params->fisher_size : 1, size);
    if (!room->weights || !room->momentum || !room->squares || !room->states || !room->fisher)
        return err_no_memory(err);
    return open_tensors(run, err);
}

void snapshot_close(struct engine_run *run)
{
    free(run->snapshot.weights);
    free(run->snapshot.momentum);
    free(run->snapshot.squares);
    free(run->snapshot.states);
    free(run->snapshot.fisher);
    free(run->snapshot.checkpoint.tensors);
    free(run->snapshot.at);
}

/* Each pass that moves the statistics moves those of all batch norms. */
static int64_t batches_tracked(const struct engine_run *run, uint64_t update)
{
    int64_t moves = 0;

    for (int t = 0; t < run->recipe.n_terms; t++)
        moves += run->recipe.term[t].move_statistics;
    return (int64_t)update * moves;
}

static int take(struct engine_run *run, struct err *err)
{
    const struct backend_class *class = run->class;
    struct snapshot *room = &run->snapshot;
    int rc = class->vector_read(run->weights, 0, run->params->size, room->weights, err);

    if (!rc)
        rc = class->vector_read(run->momentum, 0, run->params->size, room->momentum, err);
    if (!rc && run->squares)
        rc = class->vector_read(run->squares, 0, run->params->size, room->squares, err);
    if (!rc)
        rc = class->vector_read(run->states, 0, run->states_layout->size, room->states, err);
    if (!rc && run->fisher)
        rc = class->vector_read(run->fisher, 0, run->params->fisher_size, room->fisher, err);
    room->checkpoint.update = run->update;
    room->batches_tracked = batches_tracked(run, run->update);
    room->progress = run->progress;
    return rc;
}

int run_write_checkpoint(struct engine_run *run, bool final, struct err *err)
{
    int rc = run_settle(run, 0, err);

    if (!rc)
        rc = take(run, err);
    if (!rc && run->sink.checkpoint)
        rc = run->sink.checkpoint(run->sink.context, &run->snapshot.checkpoint, final, err);
    run->checkpoint_seconds = clock_seconds();
    return rc;
}

int snapshot_load(struct engine_run *run, struct err *err)
{
    const struct backend_class *class = run->class;
    const struct snapshot *room = &run->snapshot;
    int rc = class->vector_write(run->weights, 0, run->params->size, room->weights, err);

    if (!rc)
        rc = class->vector_write(run->momentum, 0, run->params->size, room->momentum, err);
    if (!rc && run->squares)
        rc = class->vector_write(run->squares, 0, run->params->size, room->squares, err);
    if (!rc)
        rc = class->vector_write(run->states, 0, run->states_layout->size, room->states, err);
    if (!rc && run->fisher)
        rc = class->vector_write(run->fisher, 0, run->params->fisher_size, room->fisher, err);
    return rc;
}
