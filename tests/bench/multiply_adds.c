#include "multiply_adds.h"

double multiply_adds(const struct graph *g, const struct node *node)
{
    const struct shape *a, *b, *y = &g->values[node->output[0]].shape;
    double result = (double)shape_elements(y);

    if (node->n_inputs < 2)
        return 0;
    a = &g->values[node->input[0]].shape;
    b = &g->values[node->input[1]].shape;
    switch (node->op) {
    case OP_CONV: /* each result sums over a filter */
        return result * (double)(shape_elements(b) / b->dim[0]);
    case OP_CONV_GRAD_X: /* each dy times a filter */
        return (double)shape_elements(a) * (double)(shape_elements(b) / b->dim[0]);
    case OP_CONV_GRAD_W: /* each dy times the x below a filter */
        return (double)shape_elements(b) * result / (double)y->dim[0];
    case OP_LINEAR:
    case OP_LINEAR_GRAD_X:
        return (double)shape_elements(a) * (double)y->dim[y->rank - 1];
    case OP_LINEAR_GRAD_W:
        return (double)shape_elements(a) * (double)b->dim[b->rank - 1];
    case OP_MATMUL:
        return result * (double)a->dim[a->rank - (node->attr.transpose_a ? 2 : 1)];
    default:
        return 0;
    }
}
