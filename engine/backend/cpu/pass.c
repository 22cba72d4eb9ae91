/* Running passes: one after the other on all of the backend's threads, or two side by side. */
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "backend/check.h"
#include "backend/cpu/profile.h"
#include "backend/cpu/program.h"
#include "base/clock.h"

/* The gaps of a layout's weights are zero from the start and stay so: no two share them. */
void cpu_lane_use(struct cpu_backend *cpu, struct lane *lane, const struct layout *layout)
{
    if (lane->layout == layout)
        return;
    cpu_memory_close(cpu, &lane->weights);
    cpu_memory_close(cpu, &lane->spare);
    cpu_noise_room_close(cpu, &lane->noise);
    lane->layout = layout;
}

/* What only some passes need is taken by the first of them. */
int cpu_take_rooms(const struct pass *pass, struct lane *lane, struct err *err)
{
    const struct program *p = pass->program;
    size_t bytes = p->params->size * sizeof(float);
    int rc = p->keep ? 0 : cpu_memory_grow(p->cpu, &lane->arena, p->arena_bytes, err);

    cpu_lane_use(p->cpu, lane, p->params);
    if (!rc && pass->perturbation.kind != PERTURB_NONE)
        rc = cpu_memory_grow(p->cpu, &lane->weights, bytes, err);
    if (!rc && pass->perturbation.kind != PERTURB_NONE && !lane->noise.memory.bytes)
        rc = cpu_noise_room_open(p->cpu, &lane->noise, p->params, err);
    if (!rc && !pass->gradient && p->spares)
        rc = cpu_memory_grow(p->cpu, &lane->spare, bytes, err);
    return rc;
}

static float *set_weights(const struct pass *pass, const struct lane *lane)
{
    const struct program *p = pass->program;

    if (pass->perturbation.kind == PERTURB_NONE)
        return pass->weights->data;
    cpu_materialise(&(struct materialise){.kernels = p->cpu->kernels,
                                          .threads = p->threads,
                                          .layout = p->params,
                                          .weights = pass->weights->data,
                                          .perturbation = &pass->perturbation,
                                          .room = &lane->noise,
                                          .to = lane->weights.data});
    return lane->weights.data;
}

/* A host array that commands only read. */
static float *borrow(const void *host)
{
    union {
        const void *from;
        float *to;
    } u = {.from = host};

    return u.to;
}

/* Where parameter `index` has its part of a vector; NULL of one that is not there. */
static float *part_of(const struct program *p, const struct vector *vector, int index)
{
    return vector ? vector->data + p->params->tensor[index].offset : NULL;
}

/* A gradient that nobody wants goes to the spare room; where there is none, nobody writes it. */
void cpu_bind_slots(const struct pass *pass, const struct lane *lane)
{
    struct program *p = pass->program;
    const struct memory *arena = p->keep ? &p->own : &lane->arena;
    float *weights = set_weights(pass, lane);
    float *gradient = pass->gradient ? pass->gradient->data : lane->spare.data;

    p->draws = pass->draws;
    for (int i = 0; i < p->n_slots; i++) {
        struct slot *s = &p->slots[i];

        if (s->place == PLACE_ARENA)
            s->data = (float *)arena->data + s->offset / sizeof(float);
        else if (s->place == PLACE_INPUT)
            s->data = borrow(pass->inputs[s->index]);
        else if (s->place == PLACE_WEIGHTS)
            s->data = weights + p->params->tensor[s->index].offset;
        else if (s->place == PLACE_STATES)
            s->data = pass->states->data + p->states->tensor[s->index].offset;
        else if (s->place == PLACE_GRADIENT)
            s->data = gradient ? gradient + p->params->tensor[s->index].offset : NULL;
        else if (s->place == PLACE_DIRECTION)
            s->data = part_of(p, pass->direction, s->index);
        else if (s->place == PLACE_PRODUCT)
            s->data = part_of(p, pass->product, s->index);
    }
}

/* Without a direction nothing that varies runs; a program that keeps its primal makes all of it
 * even so. */
static bool runs(const struct pass *pass, const struct command *c)
{
    bool for_product = c->for_product && (pass->product || pass->program->keep);

    if (c->varies ? !pass->direction : pass->primal_kept)
        return false;
    return c->for_result || (c->for_gradient && pass->gradient) || for_product;
}

static int run_commands(const struct pass *pass, struct err *err)
{
    const struct program *p = pass->program;
    int rc = 0;

    for (int i = 0; i < p->n_commands && !rc; i++) {
        const struct command *c = &p->commands[i];
        double start;

        if (!runs(pass, c))
            continue;
        start = p->seconds ? clock_seconds() : 0;
        rc = c->run(p, c, err);
        if (p->seconds)
            p->seconds[i] += clock_seconds() - start;
    }
    return rc;
}

/* running ← (1 − m)·running + m·batch, with the unbiased variance. */
static void move_statistics(const struct pass *pass)
{
    const struct program *p = pass->program;
    float m = (float)pass->statistics_momentum, kept = (float)(1 - pass->statistics_momentum);

    for (int i = 0; i < p->graph->n_moments; i++) {
        const struct moments *moments = &p->moments[i];
        const float *mean = cpu_data(p, moments->mean), *var = cpu_data(p, moments->var);
        const float *bias = cpu_data(p, moments->bias);
        float *running_mean = pass->states->data + moments->running_mean;
        float *running_var = pass->states->data + moments->running_var;

        for (size_t c = 0; c < moments->channels; c++) {
            running_mean[c] = kept * running_mean[c] + m * (bias ? mean[c] + bias[c] : mean[c]);
            running_var[c] = kept * running_var[c] + m * (float)(var[c] * moments->unbiased);
        }
    }
}

static void clear_part(const struct program *p, const struct vector *vector, int param)
{
    memset(part_of(p, vector, param), 0, p->params->tensor[param].size * sizeof(float));
}

/* A parameter that the graph has no derivative by, or none that varies, gets zeros. */
static void clear_missing(const struct pass *pass)
{
    const struct program *p = pass->program;

    for (int i = 0; i < p->graph->n_params; i++) {
        if (pass->gradient && p->graph->params[i].gradient < 0)
            clear_part(p, pass->gradient, i);
        if (pass->product && p->graph->params[i].product < 0)
            clear_part(p, pass->product, i);
    }
}

static void copy_outputs(const struct pass *pass)
{
    const struct program *p = pass->program;

    for (int i = 0; i < p->graph->n_outputs; i++) {
        const struct slot *slot = &p->slots[p->outputs[i]];

        if (pass->direction || !slot->varies)
            memcpy(pass->outputs[i], slot->data, slot->bytes);
    }
}

static int run_pass(const struct pass *pass, const struct lane *lane, struct err *err)
{
    struct program *p = pass->program;
    int rc;

    if (pass->primal_kept && !p->primal_there)
        return err_set(err, ERR_INVALID, "pass: the program has kept nothing of an earlier pass");
    p->primal_there = false;
    cpu_bind_slots(pass, lane);
    rc = backend_check_labels(pass, p->graph, err);
    if (!rc)
        rc = run_commands(pass, err);
    if (rc)
        return rc;
    clear_missing(pass);
    copy_outputs(pass);
    if (pass->move_statistics)
        move_statistics(pass);
    p->primal_there = p->keep;
    return 0;
}

/* A pass with its outcome, for another thread to run. */
struct job {
    const struct pass *pass;
    const struct lane *lane;
    struct err err;
    int rc;
};

static void run_job(void *context)
{
    struct job *job = context;
    int threads = omp_get_max_threads();

    omp_set_num_threads(job->pass->program->threads);
    job->rc = run_pass(job->pass, job->lane, &job->err);
    omp_set_num_threads(threads);
}

static int outcome(const struct job *job, struct err *err)
{
    if (job->rc && err)
        *err = job->err;
    return job->rc;
}

static int run_beside(struct cpu_backend *cpu, const struct pass *passes, struct err *err)
{
    struct job first = {.pass = &passes[0], .lane = &cpu->lane[0]};
    struct job second = {.pass = &passes[1], .lane = &cpu->lane[1]};
    int rc = cpu->second ? 0 : cpu_team_open(&cpu->second, err);

    if (rc)
        return rc;
    if (passes[0].program->threads == 1)
        cpu_dismiss_workers(cpu);
    cpu_team_start(cpu->second, run_job, &second);
    run_job(&first);
    cpu_team_wait(cpu->second);
    rc = outcome(&first, err);
    return rc ? rc : outcome(&second, err);
}

static int run_alone(struct cpu_backend *cpu, const struct pass *pass, struct err *err)
{
    struct job job = {.pass = pass, .lane = &cpu->lane[0]};

    run_job(&job);
    return outcome(&job, err);
}

static int check_pass(const struct pass *pass, struct err *err)
{
    const struct program *p = pass->program;

    return backend_check_pass(pass, &(struct checked_program){p->graph, p->params, p->states}, err);
}

/* One pass, or the two of them that run side by side. */
static int run_some(struct cpu_backend *cpu, const struct pass *passes, int n, struct err *err)
{
    int rc = 0;

    for (int i = 0; i < n && !rc; i++) {
        rc = check_pass(&passes[i], err);
        if (!rc)
            rc = cpu_take_rooms(&passes[i], &cpu->lane[i], err);
        if (rc)
            passes[i].program->primal_there = false;
    }
    if (rc || cpu->base.counts_only)
        return rc;
    rc = n == 2 ? run_beside(cpu, passes, err) : run_alone(cpu, passes, err);
    cpu->workers = cpu->workers || passes[0].program->threads > 1;
    return rc;
}

int cpu_execute(struct backend *backend, const struct pass *passes, int n, struct err *err)
{
    int rc = 0, some;

    for (int i = 0; i < n && !rc; i += some) {
        some = i + 1 < n && passes[i].program->beside && passes[i + 1].program->beside ? 2 : 1;
        rc = run_some((struct cpu_backend *)backend, &passes[i], some, err);
    }
    return rc;
}

int cpu_profile_start(struct program *p, struct err *err)
{
    free(p->seconds);
    p->seconds = calloc((size_t)p->n_commands + 1, sizeof *p->seconds);
    return p->seconds ? 0 : err_no_memory(err);
}

bool cpu_profile_row(const struct program *p, int i, struct cpu_profile_row *out)
{
    const struct command *c;

    if (i < 0 || i >= p->n_commands || !p->seconds)
        return false;
    c = &p->commands[i];
    *out = (struct cpu_profile_row){
        .what = c->what, .algorithm = cpu_command_algorithm(c), .seconds = p->seconds[i]};
    if (c->node >= 0)
        out->shape = p->graph->values[p->graph->nodes[c->node].output[0]].shape;
    return true;
}
