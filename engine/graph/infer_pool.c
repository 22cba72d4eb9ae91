/* Shapes of max-pooling. */
#include "graph/infer_parts.h"

/* Every window has at least one pixel in it: the padding is at most half a window. */
static int pool_shape(struct inference *f, const struct shape *x, struct shape *y)
{
    int64_t k = f->node->attr.k, stride = f->node->attr.stride, pad = f->node->attr.pad;

    if (k < 1 || stride < 1 || pad < 0 || 2 * pad > k)
        return err_set(f->err, ERR_INVALID, "%s: window %lld, stride %lld, pad %lld", f->name,
                       (long long)k, (long long)stride, (long long)pad);
    for (int i = 2; i < 4; i++)
        if (x->dim[i] + 2 * pad < k)
            return err_set(f->err, ERR_INVALID, "%s: a %lldx%lld window on a %lldx%lld image",
                           f->name, (long long)k, (long long)k, (long long)x->dim[2],
                           (long long)x->dim[3]);
    *y = shape_of(4, x->dim[0], x->dim[1], (x->dim[2] + 2 * pad - k) / stride + 1,
                  (x->dim[3] + 2 * pad - k) / stride + 1);
    return 0;
}

int infer_max_pool(struct inference *f)
{
    return pool_shape(f, f->in[0], &f->out[0]);
}

int infer_max_pool_grad(struct inference *f)
{
    struct shape y;

    f->out[0] = *f->in[1];
    if (pool_shape(f, f->in[1], &y))
        return ERR_INVALID;
    return infer_expect_shape(f, "dy", f->in[0], &y);
}

int infer_max_pool_tangent(struct inference *f)
{
    if (infer_expect_shape(f, "Rx", f->in[0], f->in[1]))
        return ERR_INVALID;
    return pool_shape(f, f->in[1], &f->out[0]);
}
