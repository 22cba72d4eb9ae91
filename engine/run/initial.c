#include "random/philox.h"
#include "run/state.h"

static void put(const struct engine_run *run, unsigned char *room, size_t at, float value)
{
    if (run->class->real == REAL_F32)
        ((float *)(void *)room)[at] = value;
    else
        ((double *)(void *)room)[at] = value;
}

/* The four numbers of one block. */
static void draw_block(const struct init *init, struct philox draw, double out[4])
{
    if (init->kind == INIT_NORMAL)
        random_normal4_f64(draw, out);
    for (int i = 0; i < 4; i++)
        out[i] = init->kind == INIT_NORMAL ? out[i] * init->deviation
                                           : random_symmetric(draw.word[i]) * init->bound;
}

static void draw_random(const struct engine_run *run, unsigned char *room,
                        const struct layout_tensor *at, const struct init *init, int tensor)
{
    uint32_t stream = random_stream(RANDOM_INIT, 0, (uint32_t)tensor);

    for (size_t e = 0; e < at->size; e += 4) {
        double four[4];

        draw_block(init, philox((uint64_t)run->job.seed, (uint32_t)(e / 4), stream, 0), four);
        for (size_t i = 0; i < 4 && e + i < at->size; i++)
            put(run, room, at->offset + e + i, (float)four[i]);
    }
}

static void fill(const struct engine_run *run, unsigned char *room, const struct layout *layout,
                 const struct graph_tensor *tensors)
{
    for (int t = 0; t < layout->n; t++) {
        const struct init *init = &tensors[t].init;
        const struct layout_tensor *at = &layout->tensor[t];

        if (init->kind == INIT_UNIFORM || init->kind == INIT_NORMAL)
            draw_random(run, room, at, init, t);
        else
            for (size_t e = 0; e < at->size; e++)
                put(run, room, at->offset + e, init->kind == INIT_ONE ? 1 : 0);
    }
}

/* Into the snapshot's room, whose gaps, momentum and Fisher numbers are zero. */
int run_initialise(struct engine_run *run, struct err *err)
{
    fill(run, run->snapshot.weights, run->params, run->graph->params);
    fill(run, run->snapshot.states, run->states_layout, run->graph->states);
    return snapshot_load(run, err);
}
