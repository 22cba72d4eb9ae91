/* The largest of each window, its derivative and its tangent. */
#include <math.h>
#include <string.h>

#include "backend/reference/reference.h"

/* Where in its plane the window of output pixel (p, q) has its maximum: the first of equal ones, or
 * the last NaN, as PyTorch has it. */
static int64_t place_of_largest(const struct node *node, const struct shape *x, const double *plane,
                                int64_t p, int64_t q)
{
    int64_t k = node->attr.k, place = -1;
    int64_t top = p * node->attr.stride - node->attr.pad;
    int64_t left = q * node->attr.stride - node->attr.pad;

    for (int64_t h = top < 0 ? 0 : top; h < top + k && h < x->dim[2]; h++)
        for (int64_t w = left < 0 ? 0 : left; w < left + k && w < x->dim[3]; w++) {
            double value = plane[h * x->dim[3] + w];
            if (place < 0 || value > plane[place] || isnan(value))
                place = h * x->dim[3] + w;
        }
    return place;
}

/* y ← the elements of `from` where x has the maxima of the windows of y's pixels */
static void pick(const struct node *node, const struct shape *shape, const double *x,
                 const double *from, const struct shape *y, double *to)
{
    for (int64_t i = 0; i < shape->dim[0] * shape->dim[1]; i++) {
        int64_t at = i * shape->dim[2] * shape->dim[3];
        for (int64_t p = 0; p < y->dim[2]; p++)
            for (int64_t q = 0; q < y->dim[3]; q++)
                *to++ = from[at + place_of_largest(node, shape, x + at, p, q)];
    }
}

void reference_max_pool(const struct operands *o)
{
    pick(o->node, o->in_shape[0], o->in[0], o->in[0], o->out_shape[0], o->out[0]);
}

void reference_max_pool_tangent(const struct operands *o)
{
    pick(o->node, o->in_shape[1], o->in[1], o->in[0], o->out_shape[0], o->out[0]);
}

void reference_max_pool_grad(const struct operands *o)
{
    const struct shape *y = o->in_shape[0], *x = o->in_shape[1];
    const double *dy = o->in[0];

    memset(o->out[0], 0, (size_t)shape_elements(x) * sizeof *o->out[0]);
    for (int64_t i = 0; i < x->dim[0] * x->dim[1]; i++) {
        int64_t at = i * x->dim[2] * x->dim[3];
        for (int64_t p = 0; p < y->dim[2]; p++)
            for (int64_t q = 0; q < y->dim[3]; q++)
                o->out[0][at + place_of_largest(o->node, x, o->in[1] + at, p, q)] += *dy++;
    }
}
