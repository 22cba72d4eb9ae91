/* A pass's time, forecast: its program is compiled for as many of its samples as can be afforded,
 * each command that is unlike those before it runs a few times, in the program's order, and what it
 * takes with all samples follows from its operands' sizes. Values do not matter: what the skipped
 * commands would have made is made up. */
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#ifdef __SSE__
#include <xmmintrin.h>
#endif

#include "backend/cpu/timing.h"
#include "base/clock.h"

/* Most that a part may take. */
#define ARENA_MAX ((size_t)384 << 20)

#define CACHE_LINE 64

/* Timed rounds, after one to warm up. */
#define ROUNDS 4

/* On a busy machine it may take so many times as long. */
#define PATIENCE 4

/* ---- Running the part ---- */

static void fill(float *to, size_t bytes)
{
    for (size_t i = 0; i < bytes / sizeof *to; i++)
        to[i] = (float)((int)((uint32_t)i * UINT32_C(2654435761) >> 24) - 128) * 0x1p-8f;
}

static void fill_weights(const struct timing *timing)
{
    const struct program *p = timing->part;

    for (int i = 0; i < p->n_commands; i++)
        for (int k = 0; k < p->commands[i].n_in && timing->kind[i] == i; k++) {
            const struct slot *s = &p->slots[p->commands[i].in[k] < 0 ? 0 : p->commands[i].in[k]];

            if (p->commands[i].in[k] >= 0 && s->place == PLACE_WEIGHTS)
                fill(s->data, s->bytes);
        }
}

/* Of this thread, which computes or spins while the others of its team do: where nothing else runs,
 * this is what a clock on the wall says; on a busy machine it leaves out most of the waiting. */
static double processor_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Leaves none of what was computed before in the caches that cores have of their own: in the whole
 * pass all operands are too large for them, or were last used long ago. */
static void cool(const struct timing *timing)
{
    size_t n = timing->cold_bytes / sizeof(float);

    if (timing->part->samples == timing->whole->samples)
        return;
#pragma omp parallel num_threads(timing->part->threads)
    {
        volatile float *own = timing->cold + (size_t)omp_get_thread_num() * n;

        for (size_t i = 0; i < n; i += CACHE_LINE / sizeof *own)
            own[i] = 0;
    }
}

/* Round 0 meets cold memory and makes what is made once; its times count only for commands that no
 * later one came to. */
static int run_round(struct timing *timing, int round, double until, struct err *err)
{
    const struct program *p = timing->part;
    int rc = 0;

    for (int i = 0; i < p->n_commands && !rc; i++) {
        double start, took;

        if (timing->kind[i] != i || clock_seconds() > until)
            continue;
        cool(timing);
        start = processor_seconds();
        rc = p->commands[i].run(p, &p->commands[i], err);
        took = processor_seconds() - start;
        if (round <= 1 || took < timing->seconds[i])
            timing->seconds[i] = took;
    }
    return rc;
}

/* What is made up may make numbers that training hardly ever meets, denormal ones, with which
 * processors take many times as long. */
static void flush_denormals(int threads, bool flush)
{
#ifdef __SSE__
#pragma omp parallel num_threads(threads)
    {
        const unsigned both = 0x8040; /* of results, of operands */

        _mm_setcsr(flush ? _mm_getcsr() | both : _mm_getcsr() & ~both);
    }
#else
    (void)threads;
    (void)flush;
#endif
}

static int run_rounds(struct timing *timing, struct err *err)
{
    double start = processor_seconds(), seconds = timing->sample->seconds, took = 0;
    double until = clock_seconds() + PATIENCE * seconds;
    int threads = omp_get_max_threads(), rc = 0;

    omp_set_num_threads(timing->part->threads);
    flush_denormals(timing->part->threads, true);
    for (int round = 0; round <= ROUNDS && !rc; round++) {
        if (round > 1 && processor_seconds() - start + took > seconds)
            break;
        rc = run_round(timing, round, until, err);
        took = round == 0 ? processor_seconds() - start : took;
    }
    flush_denormals(timing->part->threads, false);
    timing->cpu->workers = timing->part->threads > 1;
    omp_set_num_threads(threads);
    return rc;
}

static int run_part(struct timing *timing, struct err *err)
{
    struct lane *lane = &timing->cpu->lane[0];
    struct pass pass = {.program = timing->part,
                        .weights = timing->weights,
                        .states = timing->states,
                        .inputs = timing->inputs,
                        .gradient = timing->gradient};
    int rc = cpu_take_rooms(&pass, lane, err);

    if (rc)
        return rc;
    cpu_bind_slots(&pass, lane);
    fill(lane->arena.data, timing->part->arena_bytes);
    fill(timing->states->data, timing->states->n * sizeof(float));
    fill_weights(timing);
    return run_rounds(timing, err);
}

/* ---- Opening the part ---- */

/* As many samples as can be afforded: whole vectors of them, for layouts by image. */
static int64_t samples_for(const struct timing *timing, const int *kind)
{
    const struct program *p = timing->whole;
    int64_t lanes = (int64_t)p->cpu->kernels->lanes, n;
    double seconds = 0, share, most = (double)ARENA_MAX / (double)(p->arena_bytes + 1);

    for (int i = 0; i < p->n_commands; i++)
        seconds += kind[i] == i ? cpu_timing_supposed(p, &p->commands[i]) : 0;
    share = timing->sample->seconds / 2 / seconds;
    share = share < most ? share : most;
    n = share >= 1 ? p->samples : (int64_t)(share * (double)p->samples);
    if (n > lanes && n < p->samples)
        n -= n % lanes;
    return n < 2 ? (p->samples < 2 ? p->samples : 2) : n;
}

static int open_inputs(struct timing *timing, struct err *err)
{
    const struct graph *g = timing->graph;

    timing->inputs = calloc((size_t)g->n_inputs + 1, sizeof *timing->inputs);
    if (!timing->inputs)
        return err_no_memory(err);
    for (int i = 0; i < g->n_inputs; i++) {
        const struct value *value = &g->values[g->inputs[i]];
        size_t bytes = (size_t)shape_elements(&value->shape) * sizeof(float);
        float *room = calloc(1, bytes);

        if (!room)
            return err_no_memory(err);
        if (value->type == VALUE_REAL)
            fill(room, bytes);
        timing->inputs[i] = room;
    }
    return 0;
}

static int open_cold(struct timing *timing, struct err *err)
{
    long bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);

    timing->cold_bytes = 2 * (size_t)(bytes > 0 ? bytes : 1 << 20);
    timing->cold = calloc((size_t)timing->part->threads, timing->cold_bytes);
    return timing->cold ? 0 : err_no_memory(err);
}

static int open_vectors(struct timing *timing, struct err *err)
{
    struct backend *backend = &timing->cpu->base;
    size_t n = timing->whole->params->size;
    int rc = backend->class->vector_open(backend, n, &timing->weights, err);

    if (!rc)
        rc = backend->class->vector_open(backend, n, &timing->gradient, err);
    if (!rc)
        rc =
            backend->class->vector_open(backend, timing->whole->states->size, &timing->states, err);
    return rc;
}

static int open_part(struct timing *timing, struct err *err)
{
    const struct program *whole = timing->whole;
    const struct pass_sample *sample = timing->sample;
    struct program_options options = {.exact = whole->exact, .like = whole};
    int rc;

    timing->kind = calloc((size_t)whole->n_commands + 1, sizeof *timing->kind);
    timing->seconds = calloc((size_t)whole->n_commands + 1, sizeof *timing->seconds);
    if (!timing->kind || !timing->seconds)
        return err_no_memory(err);
    cpu_timing_kinds(whole, timing->kind);
    rc = sample->graph(sample->context, samples_for(timing, timing->kind), &timing->graph, err);
    if (!rc)
        rc = cpu_program_open(&timing->cpu->base, timing->graph, whole->params, whole->states,
                              &options, &timing->part, err);
    if (!rc && timing->part->n_commands != whole->n_commands)
        rc = err_set(err, ERR_UNSUPPORTED, "a part of the batch is computed in another way");
    if (!rc)
        cpu_timing_kinds(timing->part, timing->kind);
    if (!rc)
        rc = open_cold(timing, err);
    if (!rc)
        rc = open_inputs(timing, err);
    return rc ? rc : open_vectors(timing, err);
}

static void close_part(struct timing *timing)
{
    const struct backend_class *class = timing->cpu->base.class;

    cpu_program_close(timing->part);
    class->vector_close(timing->weights);
    class->vector_close(timing->gradient);
    class->vector_close(timing->states);
    for (int i = 0; timing->inputs && i < timing->graph->n_inputs; i++) {
        void *room;

        memcpy(&room, &timing->inputs[i], sizeof room); /* ours, so not const */
        free(room);
    }
    free(timing->inputs);
    graph_free(timing->graph);
    free(timing->cold);
    free(timing->kind);
    free(timing->seconds);
}

int cpu_time_pass(struct backend *backend, const struct pass_sample *sample,
                  struct pass_seconds *out, struct err *err)
{
    struct timing timing = {
        .sample = sample, .whole = sample->whole, .cpu = (struct cpu_backend *)backend};
    int rc = open_part(&timing, err);

    if (!rc)
        rc = run_part(&timing, err);
    if (!rc)
        *out = cpu_timing_sum(&timing);
    close_part(&timing);
    return rc;
}
