/* Shapes of what works on rows of features: the last dimension; those before it count rows. */
#include "graph/infer_parts.h"

static int64_t last(const struct shape *shape)
{
    return shape->dim[shape->rank - 1];
}

static int64_t rows(const struct shape *shape)
{
    return shape_elements(shape) / last(shape);
}

/* Numbers of a weight for each output. */
static int64_t features_in(const struct shape *w)
{
    return shape_elements(w) / w->dim[0];
}

static struct shape with_last(const struct shape *shape, int64_t features)
{
    struct shape changed = *shape;

    changed.dim[shape->rank - 1] = features;
    return changed;
}

/* Without the last dimension; a single row is [1]. */
static struct shape without_last(const struct shape *shape)
{
    struct shape changed = *shape;

    if (shape->rank == 1)
        return shape_of(1, (int64_t)1);
    changed.rank--;
    return changed;
}

int infer_linear(struct inference *f)
{
    const struct shape *x = f->in[0], *w = f->in[1];
    struct shape outputs = shape_of(1, w->dim[0]);

    if (w->rank < 2)
        return err_set(f->err, ERR_INVALID, "%s: w has one dimension; it needs two or more",
                       f->name);
    if (last(x) != features_in(w))
        return err_set(f->err, ERR_INVALID, "%s: x has %lld features, w wants %lld", f->name,
                       (long long)last(x), (long long)features_in(w));
    f->out[0] = with_last(x, w->dim[0]);
    return f->in[2] ? infer_expect_shape(f, "b", f->in[2], &outputs) : 0;
}

int infer_linear_grad_x(struct inference *f)
{
    const struct shape *dy = f->in[0], *w = f->in[1];

    if (last(dy) != w->dim[0])
        return err_set(f->err, ERR_INVALID, "%s: dy has %lld features, w makes %lld", f->name,
                       (long long)last(dy), (long long)w->dim[0]);
    f->out[0] = with_last(dy, features_in(w));
    return 0;
}

int infer_linear_grad_w(struct inference *f)
{
    const struct shape *x = f->in[0], *dy = f->in[1];

    if (rows(x) != rows(dy))
        return err_set(f->err, ERR_INVALID, "%s: x has %lld rows, dy %lld", f->name,
                       (long long)rows(x), (long long)rows(dy));
    f->out[0] = shape_of(2, last(dy), last(x));
    if (!f->node->attr.shape.rank)
        return 0;
    if (infer_given_shape(f, 0))
        return ERR_INVALID;
    if (f->out[0].dim[0] != last(dy) || features_in(&f->out[0]) != last(x))
        return err_set(f->err, ERR_INVALID, "%s: the result's shape has not %lld rows of %lld",
                       f->name, (long long)last(dy), (long long)last(x));
    return 0;
}

int infer_sum_rows(struct inference *f)
{
    f->out[0] = shape_of(1, last(f->in[0]));
    return 0;
}

int infer_layer_norm(struct inference *f)
{
    const struct shape *x = f->in[0];
    struct shape features = shape_of(1, last(x));

    f->out[0] = *x;
    f->out[1] = f->out[2] = without_last(x);
    if (infer_expect_shape(f, "gamma", f->in[1], &features))
        return ERR_INVALID;
    return infer_expect_shape(f, "beta", f->in[2], &features);
}

int infer_layer_norm_grad(struct inference *f)
{
    const struct shape *x = f->in[1];
    struct shape features = shape_of(1, last(x)), each = without_last(x);

    f->out[0] = *x;
    f->out[1] = f->out[2] = features;
    if (infer_expect_shape(f, "dy", f->in[0], x) ||
        infer_expect_shape(f, "gamma", f->in[2], &features) ||
        infer_expect_shape(f, "mean", f->in[3], &each))
        return ERR_INVALID;
    return infer_expect_shape(f, "var", f->in[4], &each);
}

/* Inputs from `first` on: gamma and what else is a feature each, up to mean and var, a row each. */
static int expect_norm(struct inference *f, const struct shape *x, int first, int n_features,
                       const char *const *names)
{
    struct shape features = shape_of(1, last(x)), each = without_last(x);

    for (int i = 0; i < f->node->n_inputs - first; i++)
        if (infer_expect_shape(f, names[i], f->in[first + i], i < n_features ? &features : &each))
            return ERR_INVALID;
    return 0;
}

int infer_layer_norm_tangent(struct inference *f)
{
    const struct shape *x = f->in[0];

    f->out[0] = *x;
    if (infer_expect_shape(f, "Rx", f->in[1], x))
        return ERR_INVALID;
    return expect_norm(f, x, 2, 3, (const char *[]){"gamma", "Rgamma", "Rbeta", "mean", "var"});
}

int infer_layer_norm_grad_tangent(struct inference *f)
{
    const struct shape *x = f->in[2];

    f->out[0] = *x;
    f->out[1] = f->out[2] = shape_of(1, last(x));
    if (infer_expect_shape(f, "dy", f->in[0], x) || infer_expect_shape(f, "Rdy", f->in[1], x) ||
        infer_expect_shape(f, "Rx", f->in[3], x))
        return ERR_INVALID;
    return expect_norm(f, x, 4, 2, (const char *[]){"gamma", "Rgamma", "mean", "var"});
}
