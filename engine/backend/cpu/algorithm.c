#include "backend/cpu/algorithm.h"

dnnl_alg_kind_t cpu_algorithm(const struct program *program, enum direction direction,
                              const struct convolution_shape *s)
{
    (void)direction;
    if (program->exact || s->r != 3 || s->s != 3 || s->stride != 1 || s->c < 32 || s->k < 32)
        return dnnl_convolution_direct;
    return dnnl_convolution_winograd;
}

/* Multiply-adds of a graph's convolutions and linear layers. */
static double work_of(const struct graph *graph)
{
    double work = 0;

    for (int i = 0; i < graph->n_nodes; i++) {
        const struct node *node = &graph->nodes[i];
        const struct shape *w, *y;

        if (node->op != OP_CONV)
            continue;
        w = &graph->values[node->input[1]].shape;
        y = &graph->values[node->output[0]].shape;
        work += (double)shape_elements(y) * (double)(w->dim[1] * w->dim[2] * w->dim[3]);
    }
    return work;
}

#define SMALL_WORK 2e7

void cpu_share_threads(struct program *program, int side_by_side)
{
    bool small = work_of(program->graph) < SMALL_WORK;

    program->threads = small ? 1 : program->cpu->threads;
    program->beside = small && side_by_side > 1 && program->cpu->threads > 1;
}
