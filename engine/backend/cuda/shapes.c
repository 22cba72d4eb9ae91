/* Convolutions as cuDNN is asked for them: with channels as stored. */
#include "backend/cuda/program.h"

bool cuda_conv_direction(enum op op, enum conv_direction *out)
{
    if (op == OP_CONV)
        *out = CONV_FORWARD;
    else if (op == OP_CONV_GRAD_X)
        *out = CONV_GRAD_X;
    else if (op == OP_CONV_GRAD_W)
        *out = CONV_GRAD_W;
    else
        return false;
    return true;
}

struct conv_shape cuda_conv_shape(const struct graph *graph, const struct node *node)
{
    const struct shape *first = &graph->values[node->input[0]].shape;
    const struct shape *second = &graph->values[node->input[1]].shape;
    const struct shape *out = &graph->values[node->output[0]].shape;
    const struct shape *x = node->op == OP_CONV_GRAD_X ? out : first;
    const struct shape *w = node->op == OP_CONV_GRAD_W ? out : second;
    const struct shape *y = node->op == OP_CONV ? out : node->op == OP_CONV_GRAD_X ? first : second;

    return (struct conv_shape){.n = x->dim[0],
                               .c = stored_channels(x->dim[1]),
                               .h = x->dim[2],
                               .w = x->dim[3],
                               .k = stored_channels(w->dim[0]),
                               .r = w->dim[2],
                               .s = w->dim[3],
                               .p = y->dim[2],
                               .q = y->dim[3],
                               .stride = node->attr.stride,
                               .pad = node->attr.pad};
}
