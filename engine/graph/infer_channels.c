/* Shapes of what works on the channels of images: batch norm in all its forms, biases. */
#include "graph/infer_parts.h"

/* Inputs from `first` on are vectors of x's channels. */
static int expect_channels(struct inference *f, const struct shape *x, int first,
                           const char *const *names)
{
    struct shape channels = shape_of(1, x->dim[1]);

    for (int i = first; i < f->node->n_inputs; i++)
        if (infer_expect_shape(f, names[i - first], f->in[i], &channels))
            return ERR_INVALID;
    return 0;
}

int infer_batch_norm(struct inference *f)
{
    const struct shape *x = f->in[0];

    if (expect_channels(f, x, 1, (const char *[]){"gamma", "beta"}))
        return ERR_INVALID;
    if (shape_elements(x) == x->dim[1])
        return err_set(f->err, ERR_INVALID,
                       "%s: one value a channel has no variance; training needs a larger batch "
                       "or larger images",
                       f->name);
    f->out[0] = *x;
    f->out[1] = f->out[2] = *f->in[1];
    return 0;
}

int infer_batch_norm_eval(struct inference *f)
{
    f->out[0] = *f->in[0];
    return expect_channels(f, f->in[0], 1, (const char *[]){"gamma", "beta", "mean", "var"});
}

int infer_batch_norm_grad(struct inference *f)
{
    f->out[0] = *f->in[1];
    f->out[1] = f->out[2] = *f->in[2];
    if (infer_expect_shape(f, "dy", f->in[0], f->in[1]))
        return ERR_INVALID;
    return expect_channels(f, f->in[1], 2, (const char *[]){"gamma", "mean", "var"});
}

int infer_bias(struct inference *f)
{
    f->out[0] = *f->in[0];
    return expect_channels(f, f->in[0], 1, (const char *[]){"b"});
}

int infer_sum_channels(struct inference *f)
{
    f->out[0] = shape_of(1, f->in[0]->dim[1]);
    return 0;
}

int infer_batch_norm_scale(struct inference *f)
{
    f->out[0] = *f->in[0];
    return expect_channels(f, f->in[0], 1, (const char *[]){"gamma", "var"});
}

int infer_batch_norm_eval_grad(struct inference *f)
{
    f->out[0] = f->out[1] = *f->in[2];
    if (infer_expect_shape(f, "dy", f->in[0], f->in[1]))
        return ERR_INVALID;
    return expect_channels(f, f->in[1], 2, (const char *[]){"mean", "var"});
}

int infer_batch_norm_dot(struct inference *f)
{
    f->out[0] = *f->in[2];
    if (infer_expect_shape(f, "dy", f->in[0], f->in[1]))
        return ERR_INVALID;
    return expect_channels(f, f->in[1], 2, (const char *[]){"var"});
}

int infer_batch_norm_tangent(struct inference *f)
{
    f->out[0] = *f->in[0];
    if (infer_expect_shape(f, "Rx", f->in[1], f->in[0]))
        return ERR_INVALID;
    return expect_channels(f, f->in[0], 2,
                           (const char *[]){"gamma", "Rgamma", "Rbeta", "mean", "var"});
}

int infer_batch_norm_grad_tangent(struct inference *f)
{
    const struct shape *x = f->in[2];

    f->out[0] = *x;
    f->out[1] = f->out[2] = *f->in[4];
    if (infer_expect_shape(f, "dy", f->in[0], x) || infer_expect_shape(f, "Rdy", f->in[1], x) ||
        infer_expect_shape(f, "Rx", f->in[3], x))
        return ERR_INVALID;
    return expect_channels(f, x, 4, (const char *[]){"gamma", "Rgamma", "mean", "var"});
}
