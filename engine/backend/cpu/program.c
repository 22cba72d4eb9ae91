/* Opening and closing a program. */
#include "backend/cpu/program.h"

#include <omp.h>
#include <stdlib.h>

#include "backend/check.h"
#include "backend/cpu/algorithm.h"

/* oneDNN divides a primitive's work when it is created, among as many threads as the calling
 * thread's teams have: so that number is the program's while it is compiled. */
static int compile(struct program *p, struct err *err)
{
    int threads = omp_get_max_threads(), rc;

    omp_set_num_threads(p->threads);
    rc = cpu_compile(p, err);
    omp_set_num_threads(threads);
    if (!rc)
        rc = cpu_plan(p, err);
    if (!rc && p->keep)
        return cpu_memory_open(p->cpu, &p->own, p->arena_bytes, err);
    for (int i = 0; i < (p->beside ? 2 : 1) && !rc; i++)
        rc = cpu_memory_grow(p->cpu, &p->cpu->lane[i].arena, p->arena_bytes, err);
    return rc;
}

/* What a program is opened with. */
struct request {
    struct cpu_backend *cpu;
    const struct graph *graph;
    const struct layout *params, *states;
    const struct program_options *options;
};

/* Every model's first input is its batch of images. */
static int64_t samples_of(const struct graph *graph)
{
    return graph->n_inputs ? graph->values[graph->inputs[0]].shape.dim[0] : 1;
}

static void choose_like(struct program *p, const struct program *like)
{
    p->by_image = like->by_image;
    p->beside = like->beside;
    p->threads = like->threads;
    p->chosen_for = like->chosen_for;
}

static int open_as(struct program **out, const struct request *r, enum cpu_layout layout,
                   struct err *err)
{
    struct program *p = calloc(1, sizeof *p);
    int rc;

    if (!p)
        return err_no_memory(err);
    p->cpu = r->cpu;
    p->params = r->params;
    p->states = r->states;
    p->exact = r->options->exact;
    p->keep = r->options->keep_primal;
    p->graph = graph_copy(r->graph);
    if (!p->graph) {
        rc = err_no_memory(err);
    } else {
        p->samples = p->chosen_for = samples_of(p->graph);
        if (r->options->like)
            choose_like(p, r->options->like);
        else
            cpu_choose(p, layout, r->options->side_by_side);
        rc = compile(p, err);
    }
    if (rc)
        cpu_program_close(p);
    else
        *out = p;
    return rc;
}

static int open_best(struct program **out, const struct request *r, struct err *err)
{
    struct program *p = NULL;
    int rc = open_as(&p, r, r->cpu->layout, err);

    if (!rc && p->slow && r->cpu->layout == CPU_LAYOUT_BEST && !r->options->like) {
        cpu_program_close(p);
        rc = open_as(&p, r, CPU_LAYOUT_BY_IMAGE, err);
    }
    if (rc)
        return rc;
    if (p->threads > r->cpu->step_threads)
        r->cpu->step_threads = p->threads;
    *out = p;
    return 0;
}

int cpu_program_open(struct backend *backend, const struct graph *graph,
                     const struct layout *params, const struct layout *states,
                     const struct program_options *options, struct program **out, struct err *err)
{
    struct request request = {.cpu = (struct cpu_backend *)backend,
                              .graph = graph,
                              .params = params,
                              .states = states,
                              .options = options};
    int rc = backend_check_program(graph, params, states, err);

    return rc ? rc : open_best(out, &request, err);
}

void cpu_program_close(struct program *p)
{
    if (!p)
        return;
    for (int i = 0; i < p->n_convolutions; i++)
        cpu_convolution_close(p->convolutions[i]);
    for (int i = 0; i < p->n_packings; i++)
        cpu_packing_close(p->packings[i]);
    for (int i = 0; i < p->n_directs; i++)
        cpu_direct_close(p->directs[i]);
    free(p->convolutions);
    free(p->directs);
    free(p->packings);
    cpu_memory_close(p->cpu, &p->own);
    free(p->slots);
    free(p->commands);
    free(p->moments);
    free(p->outputs);
    free(p->seconds);
    graph_free(p->graph);
    free(p);
}
