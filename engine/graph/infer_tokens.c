/* Shapes of what works on tokens, on attention's heads, and of products of matrices. */
#include "graph/infer_parts.h"

/* The shape of an image's patches. */
static int patches_shape(struct inference *f, const struct shape *x, struct shape *y)
{
    int64_t size = f->node->attr.k;

    if (size < 1 || x->dim[2] % size || x->dim[3] % size)
        return err_set(f->err, ERR_INVALID, "%s: patches of %lldx%lld on a %lldx%lld image",
                       f->name, (long long)size, (long long)size, (long long)x->dim[2],
                       (long long)x->dim[3]);
    *y = shape_of(3, x->dim[0], (x->dim[2] / size) * (x->dim[3] / size), size * size * x->dim[1]);
    return 0;
}

int infer_patches(struct inference *f)
{
    return patches_shape(f, f->in[0], &f->out[0]);
}

int infer_patches_grad(struct inference *f)
{
    struct shape y;

    if (infer_given_shape(f, 4) || patches_shape(f, &f->out[0], &y))
        return ERR_INVALID;
    return infer_expect_shape(f, "dy", f->in[0], &y);
}

int infer_prepend(struct inference *f)
{
    const struct shape *x = f->in[0];
    struct shape token = shape_of(3, (int64_t)1, (int64_t)1, x->dim[2]);

    f->out[0] = shape_of(3, x->dim[0], x->dim[1] + 1, x->dim[2]);
    return infer_expect_shape(f, "token", f->in[1], &token);
}

int infer_drop_first(struct inference *f)
{
    const struct shape *dy = f->in[0];

    if (dy->dim[1] < 2)
        return err_set(f->err, ERR_INVALID, "%s: there is one token only", f->name);
    f->out[0] = shape_of(3, dy->dim[0], dy->dim[1] - 1, dy->dim[2]);
    return 0;
}

static int token_shape(struct inference *f, const struct shape *x, struct shape *y)
{
    int64_t number = f->node->attr.index;

    if (number < 0 || number >= x->dim[1])
        return err_set(f->err, ERR_INVALID, "%s: there is no token %lld of %lld", f->name,
                       (long long)number, (long long)x->dim[1]);
    *y = shape_of(2, x->dim[0], x->dim[2]);
    return 0;
}

int infer_token(struct inference *f)
{
    return token_shape(f, f->in[0], &f->out[0]);
}

int infer_token_grad(struct inference *f)
{
    struct shape y;

    if (infer_given_shape(f, 3) || token_shape(f, &f->out[0], &y))
        return ERR_INVALID;
    return infer_expect_shape(f, "dy", f->in[0], &y);
}

int infer_add_each(struct inference *f)
{
    struct shape each = *f->in[0];

    f->out[0] = each;
    each.dim[0] = 1;
    return infer_expect_shape(f, "b", f->in[1], &each);
}

int infer_sum_each(struct inference *f)
{
    const struct shape *dy = f->in[0], *db = &f->out[0];

    if (infer_given_shape(f, 0))
        return ERR_INVALID;
    if (db->dim[0] != 1 || shape_elements(db) != shape_elements(dy) / dy->dim[0])
        return err_set(f->err, ERR_INVALID,
                       "%s: a sample of dy has %lld numbers, the result %lld for each of %lld",
                       f->name, (long long)(shape_elements(dy) / dy->dim[0]),
                       (long long)(shape_elements(db) / db->dim[0]), (long long)db->dim[0]);
    return 0;
}

int infer_split_heads(struct inference *f)
{
    const struct shape *x = f->in[0];
    int64_t parts = f->node->attr.parts, heads = f->node->attr.k;

    if (parts < 1 || parts > NODE_OUTPUTS_MAX || heads < 1 || x->dim[2] % (parts * heads))
        return err_set(f->err, ERR_INVALID, "%s: %lld features into %lld parts of %lld heads",
                       f->name, (long long)x->dim[2], (long long)parts, (long long)heads);
    for (int64_t i = 0; i < parts; i++)
        f->out[i] = shape_of(4, x->dim[0], heads, x->dim[1], x->dim[2] / (parts * heads));
    return 0;
}

int infer_merge_heads(struct inference *f)
{
    static const char *const names[] = {"a", "b", "c"};
    const struct shape *a = f->in[0];

    for (int i = 1; i < f->node->n_inputs; i++)
        if (infer_expect_shape(f, names[i], f->in[i], a))
            return ERR_INVALID;
    f->out[0] = shape_of(3, a->dim[0], a->dim[2], f->node->n_inputs * a->dim[1] * a->dim[3]);
    return 0;
}

/* The number of a matrix's rows, or of its columns, after transposing. */
static int64_t side(const struct shape *matrix, bool columns, bool transposed)
{
    return matrix->dim[matrix->rank - (columns != transposed ? 1 : 2)];
}

int infer_matmul(struct inference *f)
{
    const struct shape *a = f->in[0], *b = f->in[1];
    bool across_a = f->node->attr.transpose_a, across_b = f->node->attr.transpose_b;
    struct shape like_a = *b;

    if (a->rank < 2 || b->rank != a->rank)
        return err_set(f->err, ERR_INVALID,
                       "%s: a has %d dimensions, b %d; both need as many, at "
                       "least two",
                       f->name, a->rank, b->rank);
    for (int i = 0; i < a->rank - 2; i++)
        like_a.dim[i] = a->dim[i];
    if (infer_expect_shape(f, "b", b, &like_a))
        return ERR_INVALID;
    if (side(a, true, across_a) != side(b, false, across_b))
        return err_set(f->err, ERR_INVALID, "%s: a has %lld columns, b %lld rows", f->name,
                       (long long)side(a, true, across_a), (long long)side(b, false, across_b));
    f->out[0] = *a;
    f->out[0].dim[a->rank - 2] = side(a, false, across_a);
    f->out[0].dim[a->rank - 1] = side(b, true, across_b);
    return 0;
}
