/* Opens and closes compiled graphs, with the memory that outlives their passes. */
#include <stdlib.h>

#include "backend/check.h"
#include "backend/cuda/program.h"
#include "graph/uses.h"

#define ALIGN 256

void *cuda_data(const struct program *p, int slot)
{
    const struct slot *s;

    if (slot < 0)
        return NULL;
    s = &p->slots[slot];
    switch (s->place) {
    case PLACE_ARENA:
        return p->arena + s->offset;
    case PLACE_STATE:
        return p->state_data + p->states->tensor[s->index].offset;
    case PLACE_PRODUCT:
        return p->pass->product->data + p->params->tensor[s->index].offset;
    default:
        return (char *)p->own.data + s->offset;
    }
}

static size_t take(size_t *at, size_t bytes)
{
    size_t begin = *at;

    *at += (bytes + ALIGN - 1) / ALIGN * ALIGN;
    return begin;
}

/* Vectors have room for the channels that images have beside their own. */
static size_t value_bytes(const struct graph *graph, int value)
{
    return (size_t)stored_channels(shape_elements(&graph->values[value].shape)) * sizeof(float);
}

static void place_own_slots(struct program *p)
{
    for (int i = 0; i < p->n_slots; i++) {
        struct slot *s = &p->slots[i];

        if (s->place == PLACE_INPUT)
            s->offset = p->input_at[s->index];
        else if (s->place == PLACE_OUTPUT)
            s->offset = p->output_at[s->index];
        else if (s->place == PLACE_CAST)
            s->offset = p->casts_at + p->param[s->index].cast;
        else if (s->place == PLACE_DIRECTION)
            s->offset = p->directions_at + p->param[s->index].cast;
        else if (s->place == PLACE_GRADIENT)
            s->offset = p->gradients_at + p->param[s->index].gradient;
    }
}

static int open_own(struct program *p, struct err *err)
{
    const struct graph *g = p->graph;
    size_t bytes = 0, outputs, turns;
    int rc;

    p->input_at = calloc((size_t)g->n_inputs + 1, sizeof *p->input_at);
    p->output_at = calloc((size_t)g->n_outputs + 1, sizeof *p->output_at);
    if (!p->input_at || !p->output_at)
        return err_no_memory(err);
    p->casts_at = take(&bytes, p->casts_bytes);
    p->gradients_at = take(&bytes, p->gradients_bytes);
    p->directions_at = take(&bytes, p->has_directions ? p->casts_bytes : 0);
    for (int i = 0; i < g->n_inputs; i++)
        p->input_at[i] = take(&bytes, value_bytes(g, g->inputs[i]));
    outputs = bytes;
    for (int i = 0; i < g->n_outputs; i++)
        p->output_at[i] = take(&bytes, value_bytes(g, g->outputs[i]));
    p->host_bytes = bytes - outputs;
    turns = take(&bytes, 2 * sizeof *p->noise_turn + sizeof *p->factor);
    rc = cuda_room_open(p->cuda, &p->own, bytes, err);
    if (rc || p->cuda->base.counts_only)
        return rc;
    /* gaps of casts and gradients are never written */
    rc = runtime_cuda.clear(p->own.data, bytes, p->cuda->lanes[0].stream, err);
    if (!rc)
        rc = runtime_cuda.host_open(&p->host, p->host_bytes, err);
    if (rc)
        return rc;
    p->noise_turn = (struct turn *)(void *)((char *)p->own.data + turns);
    p->draw_turn = p->noise_turn + 1;
    p->factor = (float *)(void *)(p->noise_turn + 2);
    place_own_slots(p);
    return 0;
}

/* Lanes are shared by all programs: each has room for the largest. */
static int grow_lanes(struct program *p, struct err *err)
{
    struct cuda_backend *cuda = p->cuda;
    size_t workspace = p->workspace_bytes > ALIGN ? p->workspace_bytes : ALIGN; /* never NULL */
    int rc = 0;

    for (int i = 0; i < LANES && !rc; i++) {
        rc = cuda_room_grow(cuda, &cuda->workspace[i], workspace, err);
        cuda->lanes[i].workspace = cuda->workspace[i].data;
    }
    return rc ? rc : cuda_room_grow(cuda, &cuda->arena[0], p->arena_bytes, err);
}

/* With the memory that it needs. */
static int compile(struct program *p, struct err *err)
{
    int rc;

    graph_directed(p->graph, p->directed);
    rc = cuda_compile(p, err);
    if (rc)
        return rc;
    cuda_data_find(p);
    rc = cuda_plan(p, err);
    if (!rc)
        rc = open_own(p, err);
    return rc ? rc : grow_lanes(p, err);
}

int cuda_program_open(struct backend *backend, const struct graph *graph,
                      const struct layout *params, const struct layout *states,
                      const struct program_options *options, struct program **out, struct err *err)
{
    struct cuda_backend *cuda = (struct cuda_backend *)backend;
    struct program *p;
    int rc = backend_check_program(graph, params, states, err);

    if (!rc)
        rc = cuda_enter(cuda, err);
    if (rc)
        return rc;
    p = calloc(1, sizeof *p);
    if (!p)
        return err_no_memory(err);
    p->cuda = cuda;
    p->params = params;
    p->states = states;
    p->keep_primal = options->keep_primal; /* the rest: all is exact, lanes need no shares */
    p->type = cuda->compute == COMPUTE_BF16 ? ELEMENT_BF16 : ELEMENT_F32;
    p->graph = graph_copy(graph);
    p->directed = calloc((size_t)graph->n_values + 1, sizeof *p->directed);
    rc = p->graph && p->directed ? compile(p, err) : err_no_memory(err);
    if (rc)
        cuda_program_close(p);
    else
        *out = p;
    return rc;
}

void cuda_program_close(struct program *p)
{
    if (!p)
        return;
    cuda_enter(p->cuda, NULL);
    cuda_settle(p->cuda, NULL);
    cuda_graphs_forget(p->cuda);
    for (int i = 0; i < p->n_commands; i++) {
        if (p->commands[i].run == cuda_run_conv)
            convolution_close(p->commands[i].u.conv.convolution);
        if (p->commands[i].run == cuda_run_product)
            product_close(p->commands[i].u.product);
    }
    cuda_forms_close(&p->casts);
    cuda_forms_close(&p->gradients);
    cuda_room_close(p->cuda, &p->own);
    runtime_cuda.host_close(p->host);
    graph_free(p->graph);
    free(p->slots);
    free(p->commands);
    free(p->param);
    free(p->input_at);
    free(p->output_at);
    free(p->directed);
    free(p);
}
