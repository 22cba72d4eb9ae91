/* Updates as a whole: one round each, behind which the host does not wait.
 *
 * Before an update is given to the device, the host writes the row of its turn and sends what it
 * has of its inputs; the device takes the row itself (kernels/clock.cu) and writes losses to a row
 * of host memory. So the round needs no changes, and rows are the host's again once the update's
 * event has come to pass. */
#include <string.h>

#include "backend/cuda/pass.h"

int cuda_flights_open(struct cuda_backend *cuda, struct err *err)
{
    struct flights *f = &cuda->flights;
    size_t turns = UPDATES_MAX * sizeof *f->table;
    size_t values = UPDATES_MAX * RECORD_VALUES_MAX * sizeof *f->ring;
    void *host;
    int rc = cuda_room_grow(cuda, &f->room, sizeof *f->clock, err);

    if (rc || cuda->base.counts_only)
        return rc;
    f->clock = f->room.data;
    rc = runtime_cuda.host_open(&host, turns + values, err);
    if (rc)
        return rc;
    f->table = host;
    f->ring = (float *)(void *)((char *)host + turns);
    for (int i = 0; i < UPDATES_MAX && !rc; i++)
        rc = runtime_cuda.event_open(&f->flight[i].done, err);
    for (int i = 0; i < 2 && !rc; i++)
        rc = runtime_cuda.event_open(&f->sent[i], err);
    return rc;
}

void cuda_flights_close(struct cuda_backend *cuda)
{
    struct flights *f = &cuda->flights;

    for (int i = 0; i < UPDATES_MAX; i++)
        if (f->flight[i].done)
            runtime_cuda.event_close(f->flight[i].done);
    for (int i = 0; i < 2; i++)
        if (f->sent[i])
            runtime_cuda.event_close(f->sent[i]);
    cuda_room_close(cuda, &f->staged);
    cuda_room_close(cuda, &f->room);
    runtime_cuda.host_close(f->table);
}

/* ---- what fits into one round --------------------------------------------------------------- */

/* Its turn serves all passes, and it can be captured with the others. */
static bool pass_fits(const struct pass *pass, const struct pass *first)
{
    const struct perturbation *p = &pass->perturbation;
    const struct graph *graph = pass->program->graph;

    for (int o = 0; o < graph->n_outputs; o++)
        if (shape_elements(&graph->values[graph->outputs[o]].shape) != 1)
            return false;
    if (pass->direction || pass->product || pass->primal_kept)
        return false;
    return pass->draws.update == first->draws.update &&
           (p->kind != PERTURB_NOISE || p->update == first->draws.update);
}

/* The sigma of all passes with noise; false: they have several. */
static bool find_sigma(const struct update *update, double *sigma)
{
    bool found = false;

    *sigma = 0;
    for (int i = 0; i < update->n_passes; i++) {
        const struct perturbation *p = &update->passes[i].perturbation;

        if (p->kind != PERTURB_NOISE)
            continue;
        if (found && p->sigma != *sigma)
            return false;
        found = true;
        *sigma = p->sigma;
    }
    return true;
}

/* A batch stands at one place for all passes. */
static bool batches_fit(const struct update *update)
{
    const struct data_batch *known[DATA_BATCHES_MAX] = {0};

    for (int i = 0; i < update->n_passes; i++) {
        const struct data_batch *b = &update->passes[i].batch, **first;

        if (!b->data)
            continue;
        if (b->number < 0 || b->number >= DATA_BATCHES_MAX)
            return false;
        first = &known[b->number];
        if (!*first)
            *first = b;
        if ((*first)->data != b->data || (*first)->first != b->first || (*first)->pass != b->pass)
            return false;
    }
    return true;
}

static bool update_fits(const struct update *update, double *sigma)
{
    int values = 0;

    if (update->n_passes == 0 || update->n_passes > PASSES_MAX ||
        update->n_exchanges > EXCHANGES_MAX || !find_sigma(update, sigma))
        return false;
    for (int i = 0; i < update->n_passes; i++) {
        values += update->passes[i].program->graph->n_outputs;
        if (!pass_fits(&update->passes[i], &update->passes[0]))
            return false;
    }
    return values <= RECORD_VALUES_MAX && batches_fit(update);
}

/* ---- inputs -------------------------------------------------------------------------------- */

static size_t inputs_bytes(const struct program *p)
{
    size_t bytes = 0;

    for (int i = 0; i < p->graph->n_inputs; i++)
        bytes += cuda_staged_bytes(cuda_input_bytes(p, i));
    return bytes;
}

static bool same_inputs(const struct pass *a, const struct pass *b)
{
    for (int i = 0; i < a->program->graph->n_inputs; i++)
        if (a->inputs[i] != b->inputs[i])
            return false;
    return true;
}

/* Where each pass has its inputs from; the bytes of those that lie elsewhere. */
static size_t plan_inputs(struct round *round)
{
    size_t staged = 0;

    for (int i = 0; i < round->n; i++) {
        struct given *given = &round->given[i];

        if (given->pass.batch.data) {
            given->feed = FEED_NONE;
            continue;
        }
        for (int j = 0; j < i; j++) {
            const struct pass *before = &round->given[j].pass;

            if (before->program == given->pass.program)
                given->feed = !before->batch.data && same_inputs(before, &given->pass)
                                  ? FEED_KEPT
                                  : FEED_STAGED;
        }
        if (given->feed != FEED_STAGED)
            continue;
        given->staged_at = staged;
        staged += inputs_bytes(given->pass.program);
    }
    return staged;
}

static int send_pass(const struct cuda_backend *cuda, const struct given *given, struct err *err)
{
    const struct program *p = given->pass.program;
    char *elsewhere = (char *)cuda->flights.staged.data + given->staged_at;
    int rc = 0;

    for (int i = 0; i < p->graph->n_inputs && !rc; i++) {
        size_t bytes = cuda_input_bytes(p, i);
        char *own = (char *)p->own.data + p->input_at[i];

        rc = runtime_cuda.upload(given->feed == FEED_STAGED ? elsewhere : own,
                                 given->pass.inputs[i], bytes, cuda->lanes[0].stream, err);
        elsewhere += cuda_staged_bytes(bytes);
    }
    return rc;
}

/* From where they are: the host leaves them alone. */
static int send_inputs(struct cuda_backend *cuda, const struct round *round, struct err *err)
{
    struct flights *f = &cuda->flights;
    bool any = false;
    int rc = 0;

    for (int i = 0; i < round->n && !rc; i++) {
        if (round->given[i].feed != FEED_SENT && round->given[i].feed != FEED_STAGED)
            continue;
        rc = send_pass(cuda, &round->given[i], err);
        any = true;
    }
    if (!rc && any)
        rc = runtime_cuda.record(f->sent[f->begun % 2], cuda->lanes[0].stream, err);
    return rc;
}

/* ---- an update ----------------------------------------------------------------------------- */

static int prepare(struct cuda_backend *cuda, const struct update *update, struct round *round,
                   struct err *err)
{
    int rc = cuda_step_prepare(cuda, update->step, err), values = 0, place = 0;

    *round = (struct round){.step = update->step, .update = update};
    for (int i = 0; i < update->n_passes && !rc; i++) {
        struct given *given = &round->given[round->n++];

        place = i > 0 && update->wave[i] == update->wave[i - 1] ? place + 1 : 0;
        given->pass = update->passes[i];
        given->wave = update->wave[i];
        given->record_at = values;
        values += given->pass.program->graph->n_outputs;
        rc = cuda_pass_prepare(cuda, &given->pass, place, err);
    }
    return rc ? rc : cuda_room_grow(cuda, &cuda->flights.staged, plan_inputs(round), err);
}

/* The host's part of the clock: the row of this update, and once where the clock stands. */
static int write_turn(struct cuda_backend *cuda, const struct update *update, double sigma,
                      struct err *err)
{
    struct flights *f = &cuda->flights;
    struct turn_row *row = &f->table[f->begun % UPDATES_MAX];
    struct CUstream_st *stream = cuda->lanes[0].stream;
    int64_t number = (int64_t)f->begun;
    int rc;

    row->now = cuda_step_turn(update->step);
    row->now.update = update->passes[0].draws.update;
    row->now.sigma = (float)sigma;
    for (int i = 0; i < update->n_passes; i++)
        if (update->passes[i].batch.data)
            cuda_data_turn(&update->passes[i].batch, &row->now);
    row->next = (struct turn){.update = row->now.update + 1, .sigma = (float)update->next_sigma};
    if (f->clock_set)
        return 0;
    rc = runtime_cuda.upload(&f->clock->advanced, &number, sizeof number, stream, err);
    if (!rc)
        rc = runtime_cuda.wait(stream, err);
    f->clock_set = !rc;
    return rc;
}

/* Where its scalars go. */
static void take_off(struct flights *f, const struct round *round)
{
    struct in_flight *flight = &f->flight[f->begun++ % UPDATES_MAX];

    flight->n = 0;
    for (int i = 0; i < round->n; i++) {
        const struct pass *pass = &round->given[i].pass;

        for (int o = 0; o < pass->program->graph->n_outputs; o++)
            flight->to[flight->n++] = pass->outputs[o];
    }
}

static int run(struct cuda_backend *cuda, const struct update *update, double sigma,
               struct err *err)
{
    struct flights *f = &cuda->flights;
    struct round round;
    int left, rc = prepare(cuda, update, &round, err);

    if (rc || cuda->base.counts_only)
        return rc;
    rc = cuda_update_settle(&cuda->base, UPDATES_MAX - 1, &left, err);
    if (!rc)
        rc = send_inputs(cuda, &round, err);
    if (!rc)
        rc = write_turn(cuda, update, sigma, err);
    if (rc)
        return rc;
    round.next.turn = &f->clock->next;
    cuda_casts_plan(&round, update->next_sigma);
    rc = cuda_graphs_run(cuda, &round, err);
    if (!rc)
        rc =
            runtime_cuda.record(f->flight[f->begun % UPDATES_MAX].done, cuda->lanes[0].stream, err);
    if (rc) {
        cuda_casts_forget(&round);
        f->clock_set = false;
    } else {
        take_off(f, &round);
        /* The host may change the inputs of the update before from now on. */
        rc = runtime_cuda.await(f->sent[f->begun % 2], err);
    }
    return rc;
}

int cuda_update(struct backend *backend, const struct update *update, struct err *err)
{
    struct cuda_backend *cuda = (struct cuda_backend *)backend;
    double sigma;
    int left, rc = cuda_enter(cuda, err);

    if (rc)
        return rc;
    if (!update_fits(update, &sigma)) {
        rc = cuda_update_settle(backend, 0, &left, err);
        return rc ? rc : update_at_once(backend, update, err);
    }
    rc = run(cuda, update, sigma, err);
    for (int i = 0; i < update->n_passes; i++)
        update->passes[i].program->kept = !rc;
    return rc;
}

int cuda_update_settle(struct backend *backend, int in_flight, int *left, struct err *err)
{
    struct cuda_backend *cuda = (struct cuda_backend *)backend;
    struct flights *f = &cuda->flights;
    int rc = cuda_enter(cuda, err);

    while (!rc && f->begun - f->finished > (uint64_t)in_flight) {
        struct in_flight *flight = &f->flight[f->finished % UPDATES_MAX];
        const float *row = f->ring + f->finished % UPDATES_MAX * RECORD_VALUES_MAX;

        rc = runtime_cuda.await(flight->done, err);
        for (int i = 0; i < flight->n && !rc; i++)
            *flight->to[i] = row[i];
        f->finished += !rc;
    }
    *left = (int)(f->begun - f->finished);
    return rc;
}
