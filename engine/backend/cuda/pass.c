/* Running passes: the work of each goes to a lane. Two lanes run side by side; what several passes
 * of a wave have on one runs in their order.
 *
 * Lane 1 begins after all that lane 0 was given before, and lane 0 goes on after it. What changes
 * from update to update (noise, dropout, rates) is on the device in a turn, so that the same round
 * may be captured once and replayed. Passes that are executed have turns of their own; those of an
 * update have its clock's, which it advances first. */
#include "backend/cuda/pass.h"

#include <limits.h>
#include <string.h>

#include "backend/check.h"

static int check_pass(const struct pass *pass, struct err *err)
{
    const struct program *p = pass->program;

    if (pass->primal_kept && !(p->keep_primal && p->kept))
        return err_set(err, ERR_INVALID, "pass: the program has kept nothing of an earlier pass");
    return backend_check_pass(pass, &(struct checked_program){p->graph, p->params, p->states}, err);
}

static int check_inputs(const struct pass *pass, struct err *err)
{
    return pass->batch.data ? cuda_data_check(pass, err)
                            : backend_check_labels(pass, pass->program->graph, err);
}

size_t cuda_input_bytes(const struct program *p, int i)
{
    return (size_t)shape_elements(&p->graph->values[p->graph->inputs[i]].shape) * sizeof(float);
}

/* Inputs and turns, in lane 0's order. */
static int send(struct cuda_backend *cuda, const struct pass *pass, struct err *err)
{
    const struct program *p = pass->program;
    const struct graph *graph = p->graph;
    struct turn noise = {.update = pass->perturbation.update,
                         .sigma = (float)pass->perturbation.sigma};
    struct turn draws = {.update = pass->draws.update};
    int rc = 0;

    if (pass->batch.data)
        cuda_data_turn(&pass->batch, &draws);
    for (int i = 0; i < graph->n_inputs && !pass->batch.data && !rc; i++)
        rc = runtime_cuda.upload((char *)p->own.data + p->input_at[i], pass->inputs[i],
                                 cuda_input_bytes(p, i), cuda->lanes[0].stream, err);
    if (!rc && pass->perturbation.kind == PERTURB_NOISE)
        rc = cuda_turn_write(cuda, &noise, p->noise_turn, err);
    if (!rc && (graph->n_dropouts > 0 || pass->batch.data))
        rc = cuda_turn_write(cuda, &draws, p->draw_turn, err);
    return rc;
}

static int set_weights(const struct pass *pass, const struct turn *turn, const struct lane *lane,
                       struct err *err)
{
    const struct program *p = pass->program;
    struct materialisation m = {.forms = &p->casts,
                                .layout = p->params,
                                .weights = pass->weights->data,
                                .perturbation = pass->perturbation,
                                .turn = turn,
                                .factor = p->factor,
                                .to = (char *)p->own.data + p->casts_at,
                                .to_bytes = p->casts_bytes};

    return cuda_materialise(&m, lane->stream, err);
}

/* A direction lies as the weights do. */
static int set_direction(const struct pass *pass, const struct lane *lane, struct err *err)
{
    const struct program *p = pass->program;
    struct materialisation m = {.forms = &p->casts,
                                .layout = p->params,
                                .weights = pass->direction->data,
                                .to = (char *)p->own.data + p->directions_at,
                                .to_bytes = p->casts_bytes};

    return cuda_materialise(&m, lane->stream, err);
}

struct clearing {
    const struct program *program;
    float *product;
};

static int go_clear(const void *context, struct CUstream_st *stream, struct err *err)
{
    const struct clearing *work = context;
    const struct program *p = work->program;
    int rc = 0;

    for (int i = 0; i < p->graph->n_params && !rc; i++) {
        const struct layout_tensor *t = &p->params->tensor[i];

        if (p->graph->params[i].product < 0)
            rc =
                runtime_cuda.clear(work->product + t->offset, t->size * sizeof(float), stream, err);
    }
    return rc;
}

/* Products that are zero for every direction. */
static int clear_products(const struct pass *pass, const struct lane *lane, struct err *err)
{
    const struct program *p = pass->program;
    struct clearing work = {p, pass->product->data};
    struct launch launch = {
        .what = "clear", .go = go_clear, .work = &work, .work_bytes = sizeof work};

    for (int i = 0; i < p->graph->n_params; i++)
        if (p->graph->params[i].product < 0 && launch.n == 0)
            cuda_use(&launch, pass->product->data, p->params->size * sizeof(float), true);
    return launch.n ? runtime_cuda.launch(&launch, lane->stream, err) : 0;
}

/* A command of a pass, as it may be done later. */
struct work {
    struct pass pass;
    const struct command *command;
    const struct lane *lane;
    const struct turn *draws;
    char *arena;
};

static void bind(const struct work *work)
{
    struct program *p = work->pass.program;

    p->pass = &work->pass;
    p->arena = work->arena;
    p->draws = work->draws;
    p->state_data = work->pass.states ? work->pass.states->data : NULL;
}

static int go(const void *context, struct CUstream_st *stream, struct err *err)
{
    const struct work *work = context;

    (void)stream; /* the lane's */
    bind(work);
    return work->command->run(work->pass.program, work->command, work->lane, err);
}

static int launch_command(const struct work *work, struct err *err)
{
    const struct program *p = work->pass.program;
    const struct command *c = work->command;
    struct launch launch = {.what = c->what, .go = go, .work = work, .work_bytes = sizeof *work};

    for (int i = 0; i < c->n_in; i++)
        if (c->in[i] >= 0)
            cuda_use(&launch, cuda_data(p, c->in[i]), p->slots[c->in[i]].bytes, false);
    for (int i = 0; i < c->n_out; i++)
        if (c->out[i] >= 0)
            cuda_use(&launch, cuda_data(p, c->out[i]), p->slots[c->out[i]].bytes, true);
    if (c->run == cuda_run_dropout)
        cuda_use(&launch, p->draws, sizeof *p->draws, false);
    if (c->moments >= 0 && p->pass->move_statistics)
        cuda_use(&launch, p->state_data, p->states->size * sizeof(float), true);
    cuda_use(&launch, work->lane->workspace, c->workspace_bytes, true);
    return runtime_cuda.launch(&launch, work->lane->stream, err);
}

struct unpack {
    const struct program *program;
    const void *from;
    float *to;
};

static int go_unpack(const void *context, struct CUstream_st *stream, struct err *err)
{
    const struct unpack *u = context;

    return cuda_launched(
        launch_gradient_unpack(stream, &u->program->gradients.table, u->from, u->to),
        "gradient_unpack", err);
}

/* From the forms that commands leave them in. Parameters that the graph has no derivative by have
 * zeros there. */
static int give_gradient(const struct pass *pass, const struct lane *lane, struct err *err)
{
    const struct program *p = pass->program;
    struct unpack work = {p, (char *)p->own.data + p->gradients_at, pass->gradient->data};
    struct launch launch = {
        .what = "gradient_unpack", .go = go_unpack, .work = &work, .work_bytes = sizeof work};

    cuda_use(&launch, work.from, p->gradients_bytes, false);
    cuda_use(&launch, work.to, p->params->size * sizeof(float), true);
    return runtime_cuda.launch(&launch, lane->stream, err);
}

/* What was kept of an earlier pass lies in the lane's arena, which others have used since: it is
 * computed again. */
static bool is_wanted(const struct pass *pass, const struct command *command)
{
    if (command->directed)
        return pass->direction;
    return pass->gradient || command->for_outputs || (pass->direction && command->for_products);
}

/* Inputs of a pass of an update that lie elsewhere, to where its program reads them. */
struct feeding {
    const struct program *program;
    const char *from;
};

static int go_feed(const void *context, struct CUstream_st *stream, struct err *err)
{
    const struct feeding *work = context;
    const struct program *p = work->program;
    const char *from = work->from;
    int rc = 0;

    for (int i = 0; i < p->graph->n_inputs && !rc; i++) {
        size_t bytes = cuda_input_bytes(p, i);

        rc = runtime_cuda.copy((char *)p->own.data + p->input_at[i], from, bytes, stream, err);
        from += cuda_staged_bytes(bytes);
    }
    return rc;
}

static int feed(const struct cuda_backend *cuda, const struct given *given, const struct lane *lane,
                struct err *err)
{
    const struct program *p = given->pass.program;
    struct feeding work = {p, (char *)cuda->flights.staged.data + given->staged_at};
    struct launch launch = {
        .what = "inputs", .go = go_feed, .work = &work, .work_bytes = sizeof work};
    const char *from = work.from;

    if (given->feed != FEED_STAGED)
        return 0;
    for (int i = 0; i < p->graph->n_inputs; i++) {
        size_t bytes = cuda_input_bytes(p, i);

        cuda_use(&launch, from, bytes, false);
        cuda_use(&launch, (char *)p->own.data + p->input_at[i], bytes, true);
        from += cuda_staged_bytes(bytes);
    }
    return runtime_cuda.launch(&launch, lane->stream, err);
}

static int go_record(const void *work, struct CUstream_st *stream, struct err *err)
{
    return cuda_launched(launch_record(stream, work), "record", err);
}

/* Losses and counts of a pass of an update, before another one of its program overwrites them. */
static int record(const struct cuda_backend *cuda, const struct given *given,
                  const struct lane *lane, struct err *err)
{
    const struct program *p = given->pass.program;
    const struct flights *f = &cuda->flights;
    struct record r = {.clock = f->clock,
                       .first = given->record_at,
                       .n = p->graph->n_outputs,
                       .ring = f->ring,
                       .rows = UPDATES_MAX,
                       .row_values = RECORD_VALUES_MAX};
    struct launch launch = {.what = "record", .go = go_record, .work = &r, .work_bytes = sizeof r};

    for (int o = 0; o < r.n; o++) {
        r.value[o] = (const float *)(void *)((char *)p->own.data + p->output_at[o]);
        cuda_use(&launch, r.value[o], sizeof *r.value[o], false);
    }
    cuda_use(&launch, r.clock, sizeof *r.clock, false);
    return r.n > 0 ? runtime_cuda.launch(&launch, lane->stream, err) : 0;
}

static int run_commands(struct work *work, struct err *err)
{
    const struct program *p = work->pass.program;
    int rc = 0;

    bind(work);
    for (int i = 0; i < p->n_commands && !rc; i++) {
        work->command = &p->commands[i];
        if (work->pass.batch.data && i == p->images)
            rc = cuda_data_give(&work->pass, cuda_data(p, work->command->out[0]), work->lane, err);
        else if (is_wanted(&work->pass, work->command))
            rc = launch_command(work, err);
    }
    return rc;
}

static int run_pass(const struct given *given, struct cuda_backend *cuda, int number, bool update,
                    struct err *err)
{
    const struct lane *lane = &cuda->lanes[number];
    const struct pass *pass = &given->pass;
    const struct turn *now = update ? &cuda->flights.clock->now : NULL;
    struct work work = {.pass = *pass,
                        .lane = lane,
                        .draws = now ? now : pass->program->draw_turn,
                        .arena = cuda->arena[number].data};
    int rc = feed(cuda, given, lane, err);

    if (!rc && !given->has_casts)
        rc = set_weights(pass, now ? now : pass->program->noise_turn, lane, err);
    if (!rc && pass->direction)
        rc = set_direction(pass, lane, err);
    if (!rc && pass->product)
        rc = clear_products(pass, lane, err);
    if (!rc)
        rc = run_commands(&work, err);
    if (!rc && pass->gradient)
        rc = give_gradient(pass, lane, err);
    return rc || !update ? rc : record(cuda, given, lane, err);
}

/* The passes `first` … `end` − 1. When it returns, lane 0 ends after all of them: what belongs
 * between two waves, or before the step, is given to lane 0 then. */
static int give_wave(struct cuda_backend *cuda, const struct round *round, int first, int end,
                     struct err *err)
{
    struct CUstream_st *one = cuda->lanes[0].stream, *two = cuda->lanes[1].stream;
    bool both = end - first > 1;
    int rc = both ? runtime_cuda.record(cuda->forked, one, err) : 0;

    if (!rc && both)
        rc = runtime_cuda.follow(two, cuda->forked, err);
    for (int i = first; i < end && !rc; i++)
        rc = run_pass(&round->given[i], cuda, (i - first) % LANES, round->step, err);
    if (!rc && both)
        rc = runtime_cuda.record(cuda->joined, two, err);
    return rc || !both ? rc : runtime_cuda.follow(one, cuda->joined, err);
}

static int go_advance(const void *work, struct CUstream_st *stream, struct err *err)
{
    const struct flights *f = work;

    return cuda_launched(launch_advance(stream, f->table, UPDATES_MAX, f->clock), "advance", err);
}

static int advance(struct cuda_backend *cuda, struct err *err)
{
    const struct flights *f = &cuda->flights;
    struct launch launch = {
        .what = "advance", .go = go_advance, .work = f, .work_bytes = sizeof *f};

    cuda_use(&launch, &f->clock->advanced, sizeof f->clock->advanced, false);
    cuda_use(&launch, f->clock, sizeof *f->clock, true);
    return runtime_cuda.launch(&launch, cuda->lanes[0].stream, err);
}

int cuda_give(struct cuda_backend *cuda, const struct round *round, struct err *err)
{
    int rc = round->step ? advance(cuda, err) : 0, next = 0;

    for (int first = 0, end; first < round->n && !rc; first = end) {
        for (end = first; end < round->n && round->given[end].wave == round->given[first].wave;)
            end++;
        if (round->step)
            rc = update_exchange(round->update, &next, round->given[first].wave, err);
        if (!rc)
            rc = give_wave(cuda, round, first, end, err);
    }
    if (!rc && round->step)
        rc = update_exchange(round->update, &next, INT_MAX, err);
    if (rc || !round->step)
        return rc;
    return cuda_step_give(cuda, round->step, &cuda->flights.clock->now, &round->next, err);
}

static int fetch(struct cuda_backend *cuda, const struct pass *passes, int n, struct err *err)
{
    int rc = 0;

    for (int i = 0; i < n && !rc; i++) {
        const struct program *p = passes[i].program;

        if (p->host_bytes > 0)
            rc = runtime_cuda.download(p->host, (char *)p->own.data + p->output_at[0],
                                       p->host_bytes, cuda->lanes[0].stream, err);
    }
    if (!rc)
        rc = runtime_cuda.wait(cuda->lanes[0].stream, err);
    for (int i = 0; i < n && !rc; i++) {
        const struct program *p = passes[i].program;

        for (int o = 0; o < p->graph->n_outputs; o++)
            if (passes[i].direction || !p->directed[p->graph->outputs[o]])
                memcpy(passes[i].outputs[o], (char *)p->host + p->output_at[o] - p->output_at[0],
                       (size_t)shape_elements(&p->graph->values[p->graph->outputs[o]].shape) *
                           sizeof(float));
    }
    return rc;
}

/* Room for the second lane's activations is taken by the first two passes that run side by side. */
int cuda_pass_prepare(struct cuda_backend *cuda, const struct pass *pass, int place,
                      struct err *err)
{
    int rc = check_pass(pass, err);

    if (!rc && !cuda->base.counts_only) /* then there are none */
        rc = check_inputs(pass, err);
    if (!rc && place % LANES > 0)
        rc = cuda_room_grow(cuda, &cuda->arena[place % LANES], pass->program->arena_bytes, err);
    return rc;
}

/* Passes that depend on nothing of each other, so many that they are one round. */
static int run_round(struct cuda_backend *cuda, const struct pass *passes, int n, struct err *err)
{
    struct round round = {.n = n};
    int rc = 0;

    for (int i = 0; i < n && !rc; i++) {
        round.given[i].pass = passes[i];
        rc = cuda_pass_prepare(cuda, &passes[i], i, err);
    }
    if (cuda->base.counts_only)
        return rc;
    for (int i = 0; i < n && !rc; i++)
        rc = send(cuda, &passes[i], err);
    if (rc)
        return rc;
    cuda_casts_plan(&round, 0);
    rc = cuda_graphs_run(cuda, &round, err);
    if (!rc)
        rc = fetch(cuda, passes, n, err);
    if (rc)
        cuda_casts_forget(&round);
    return rc;
}

int cuda_execute(struct backend *backend, const struct pass *passes, int n, struct err *err)
{
    struct cuda_backend *cuda = (struct cuda_backend *)backend;
    int rc = cuda_enter(cuda, err);

    for (int first = 0, some; first < n && !rc; first += some) {
        some = n - first < PASSES_MAX ? n - first : PASSES_MAX;
        rc = run_round(cuda, passes + first, some, err);
    }
    for (int i = 0; i < n; i++)
        passes[i].program->kept = !rc;
    return rc;
}
