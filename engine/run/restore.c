/* Takes a run's state over from a checkpoint, which came from outside: all of it is checked
 * before anything changes. */
#include <math.h>
#include <string.h>

#include "base/text.h"
#include "job/weights.h"
#include "run/state.h"

static const char *role_name(enum tensor_role role)
{
    static const char *const names[] = {
        [TENSOR_PARAMETER] = "parameter",   [TENSOR_BUFFER] = "buffer",
        [TENSOR_MOMENTUM] = "momentum",     [TENSOR_SQUARES] = "mean squares",
        [TENSOR_FISHER] = "Fisher numbers", [TENSOR_PROGRESS] = "sums"};

    return names[role];
}

/* Usually it stands where this run would have put it. */
static const struct tensor *find(const struct checkpoint *in, const struct tensor *wanted,
                                 int expected)
{
    for (int i = 0; i < in->n_tensors; i++) {
        const struct tensor *tensor = &in->tensors[(expected + i) % in->n_tensors];

        if (tensor->role == wanted->role && !strcmp(tensor->name, wanted->name))
            return tensor;
    }
    return NULL;
}

static bool same_form(const struct tensor *a, const struct tensor *b)
{
    if (a->type != b->type || a->rank != b->rank)
        return false;
    for (int d = 0; d < a->rank; d++)
        if (a->dim[d] != b->dim[d])
            return false;
    return true;
}

/* Older versions' checkpoints have none. */
static bool is_digest(const struct tensor *tensor)
{
    return tensor->role == TENSOR_PROGRESS && !strcmp(tensor->name, DATASET_DIGEST_NAME);
}

static int check_tensors(const struct engine_run *run, const struct checkpoint *in, struct err *err)
{
    const struct checkpoint *own = &run->snapshot.checkpoint;
    int lacking = 0;

    for (int i = 0; i < own->n_tensors; i++)
        lacking += is_digest(&own->tensors[i]) && !find(in, &own->tensors[i], i);
    if (in->n_tensors != own->n_tensors - lacking)
        return err_set(err, ERR_CORRUPT, "the checkpoint has %d tensors, this job's have %d",
                       in->n_tensors, own->n_tensors);
    for (int i = 0; i < own->n_tensors; i++) {
        const struct tensor *wanted = &own->tensors[i];
        const struct tensor *tensor = find(in, wanted, i);

        if (!tensor && is_digest(wanted))
            continue;
        if (!tensor)
            return err_set(err, ERR_CORRUPT, "the checkpoint lacks the %s %s",
                           role_name(wanted->role), wanted->name);
        if (!same_form(tensor, wanted))
            return err_set(err, ERR_CORRUPT,
                           "the checkpoint's %s %s has another shape or type than this job's",
                           role_name(wanted->role), wanted->name);
    }
    return 0;
}

/* Samples that the reported passes of updates first … end − 1 have seen. */
static int64_t samples_seen(const struct engine_run *run, uint64_t first, uint64_t end)
{
    const struct recipe *recipe = &run->recipe;
    int64_t n = 0;

    for (uint64_t u = first; u < end; u++)
        n += sampler_batch_size(run->sampler, u * (uint64_t)recipe->n_batches +
                                                  (uint64_t)recipe->term[recipe->loss_term].batch);
    return n;
}

/* At the end of an epoch the sums are those of the whole epoch until it has been reported, then 0.
 */
static bool progress_fits(const struct engine_run *run, uint64_t update,
                          const struct run_progress *progress)
{
    uint64_t into = update % run->span.updates_per_epoch;
    uint64_t first = update - into;

    if ((into == 0 || update == run->total) && progress->samples == 0)
        return progress->loss == 0 && progress->right == 0;
    if (into == 0 && update > 0)
        first = update - run->span.updates_per_epoch;
    return progress->samples == (double)samples_seen(run, first, update) && progress->right >= 0 &&
           progress->right <= progress->samples;
}

static int check_numbers(const struct engine_run *run, const struct checkpoint *in,
                         struct run_progress *progress, struct err *err)
{
    const struct checkpoint *own = &run->snapshot.checkpoint;

    if (in->update > run->total)
        return err_set(err, ERR_CORRUPT, "the checkpoint is of update %llu, this job has %llu",
                       (unsigned long long)in->update, (unsigned long long)run->total);
    for (int i = 0; i < own->n_tensors; i++)
        if (own->tensors[i].role == TENSOR_PROGRESS && !is_digest(&own->tensors[i]))
            memcpy(progress, find(in, &own->tensors[i], i)->data, sizeof *progress);
    if (!progress_fits(run, in->update, progress))
        return err_set(err, ERR_CORRUPT, "the checkpoint's sums do not fit its update %llu",
                       (unsigned long long)in->update);
    return 0;
}

static void copy_tensors(struct engine_run *run, const struct checkpoint *in)
{
    const struct checkpoint *own = &run->snapshot.checkpoint;

    for (int i = 0; i < own->n_tensors; i++) {
        const struct tensor *from = find(in, &own->tensors[i], i);

        if (!is_digest(&own->tensors[i])) /* the run has its own */
            memcpy(run->snapshot.at[i], from->data, tensor_bytes(from));
    }
}

int engine_run_restore(struct engine_run *run, const struct checkpoint *checkpoint, struct err *err)
{
    struct run_progress progress = {0};
    int rc = dataset_digest_check(&run->snapshot.dataset, checkpoint, err);

    if (!rc)
        rc = check_tensors(run, checkpoint, err);
    if (!rc)
        rc = check_numbers(run, checkpoint, &progress, err);
    if (rc)
        return rc;
    copy_tensors(run, checkpoint);
    rc = snapshot_load(run, err);
    if (rc)
        return rc;
    run->update = checkpoint->update;
    run->progress = progress;
    return 0;
}

/* ---- Weights to begin with ---- */

struct complaint {
    struct err *err;
    int n;
};

static void complain(void *context, const char *pointer, const char *message)
{
    struct complaint *complaint = context;

    (void)pointer;
    if (complaint->n++ == 0)
        err_set(complaint->err, ERR_INVALID, "%s", message);
}

static double value_at(const struct tensor *tensor, size_t i)
{
    return tensor->type == TENSOR_F32 ? (double)((const float *)tensor->data)[i]
                                      : ((const double *)tensor->data)[i];
}

/* A first loss that is NaN would not say where that came from. */
static int check_values(const struct engine_run *run, const struct tensor *tensor, bool variance,
                        struct err *err)
{
    size_t n = tensor_elements(tensor);

    for (size_t i = 0; i < n; i++) {
        double value = value_at(tensor, i);
        bool held = run->class->real == REAL_F64 || isfinite((float)value);
        char said[TEXT_NUMBER_BYTES];

        if (held && isfinite(value) && (!variance || value >= 0))
            continue;
        text_number(value, said);
        return err_set(err, ERR_INVALID, "%s has the value %s%s: no %s to begin with", tensor->name,
                       said,
                       isfinite(value) && !held ? ", which is infinite in single precision" : "",
                       held && isfinite(value) ? "variance" : "weights");
    }
    return 0;
}

static int check_all(const struct engine_run *run, const struct checkpoint *in,
                     const struct graph_tensor *wanted, int n, struct err *err)
{
    static const char variance[] = "running_var";
    int rc = 0;

    for (int i = 0; i < n && !rc; i++) {
        const char *dot = strrchr(wanted[i].name, '.');

        rc = check_values(run, weights_find(in->tensors, in->n_tensors, &wanted[i]),
                          dot && strcmp(dot + 1, variance) == 0, err);
    }
    return rc;
}

/* Rounded to the backend's type, as a cast does it. */
static void take_over(const struct engine_run *run, const struct tensor *tensor,
                      unsigned char *room)
{
    size_t n = tensor_elements(tensor);

    for (size_t i = 0; i < n; i++) {
        double value = value_at(tensor, i);

        if (run->class->real == REAL_F32)
            ((float *)(void *)room)[i] = (float)value;
        else
            ((double *)(void *)room)[i] = value;
    }
}

static void take_all(const struct engine_run *run, const struct checkpoint *in,
                     const struct graph_tensor *wanted, const struct layout *layout,
                     unsigned char *room)
{
    for (int i = 0; i < layout->n; i++) {
        size_t offset = layout->tensor[i].offset * real_bytes(run->class->real);

        take_over(run, weights_find(in->tensors, in->n_tensors, &wanted[i]), room + offset);
    }
}

int engine_run_begin_from(struct engine_run *run, const struct checkpoint *checkpoint,
                          struct err *err)
{
    struct complaint complaint = {.err = err};
    struct problems problems = {.tell = complain, .to = &complaint};
    int rc;

    weights_compare(run->graph, checkpoint->tensors, checkpoint->n_tensors, &problems);
    if (problems.n)
        return ERR_INVALID;
    rc = check_all(run, checkpoint, run->graph->params, run->graph->n_params, err);
    if (!rc)
        rc = check_all(run, checkpoint, run->graph->states, run->graph->n_states, err);
    if (rc)
        return rc;
    take_all(run, checkpoint, run->graph->params, run->params, run->snapshot.weights);
    take_all(run, checkpoint, run->graph->states, run->states_layout, run->snapshot.states);
    return snapshot_load(run, err);
}
