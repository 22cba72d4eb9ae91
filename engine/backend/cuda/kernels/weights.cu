/* Casts of perturbed weights, without a change of them, and gradients in the layout's order. */
#include "backend/cuda/kernels/weight_rows.h"

struct casting {
    struct materialise_weights m;
    const struct weight_tensor *tensor;
    const struct weight_row *row;
};

static __device__ inline float towards(const struct materialise_weights *m, const struct filter *f,
                                       float w, float d)
{
    float scale;

    if (m->change == WEIGHTS_DIRECTION || !f->tensor->scaled)
        return w + d * *m->factor;
    scale = fabsf(w) + m->eta;
    return w + *m->factor * (scale * scale * d);
}

/* Four numbers of the perturbed weights. `row`: the direction, or NULL: it is where it is. */
static __device__ inline void perturb_four(const struct materialise_weights *m,
                                           const struct filter *f, const struct noise *n,
                                           float squares, float fisher, const float *row,
                                           int64_t quad, float w[FOUR])
{
    const struct weight_form *form = &f->tensor->gradient;

    load_four(f, m->weights, quad, w);
    if (m->change == WEIGHTS_CLEAN)
        return;
    if (m->change == WEIGHTS_NOISE) {
        float z[FOUR];

        noise_four(f, n, squares, fisher, quad, z);
#pragma unroll
        for (int i = 0; i < FOUR; i++)
            w[i] += z[i];
        return;
    }
#pragma unroll
    for (int i = 0; i < FOUR; i++) {
        int64_t e = quad * FOUR + i, j = e - f->first;

        if (e >= f->first && e < f->end)
            w[i] = towards(m, f, w[i],
                           row ? row[j]
                               : form_get(form, m->direction, form_place(form, f->number, j)));
    }
}

template <bool RESIDENT>
static __global__ void __launch_bounds__(RESIDENT ? THREADS_SHORT : THREADS_LONG)
    materialise_kernel(const __grid_constant__ struct casting c)
{
    SHARED_ROW(row);
    struct filter f = filter_of(c.tensor, c.row, blockIdx.x);
    const struct weight_form *form = &f.tensor->cast;
    struct noise n = {c.m.seed, 0, c.m.term, 0, c.m.eta, c.m.fisher};
    bool directed = c.m.change == WEIGHTS_DIRECTION || c.m.change == WEIGHTS_SCALED_DIRECTION;
    float squares = 0, fisher = 0;

    if (c.m.change == WEIGHTS_NOISE) {
        n.update = c.m.turn->update;
        n.sigma = c.m.turn->sigma;
        squares = filter_squares(&f, c.m.weights);
        fisher = c.m.fisher ? c.m.fisher[f.fisher] : 0;
    }
    if (RESIDENT && directed) {
        row_from_form(&f, &f.tensor->gradient, c.m.direction, row);
        __syncthreads();
    }
    for (int64_t quad = f.quad + threadIdx.x; quad < f.quads; quad += blockDim.x) {
        float w[FOUR];

        perturb_four(&c.m, &f, &n, squares, fisher, RESIDENT ? row : NULL, quad, w);
        put_four<RESIDENT>(&f, form, row, c.m.to, quad, w);
    }
    if (RESIDENT) {
        __syncthreads();
        row_to_form(&f, form, row, c.m.to);
    } else {
        pad_form(&f, form, c.m.to);
    }
}

int launch_materialise(struct CUstream_st *stream, const struct materialise_weights *m)
{
    const struct weight_table *t = m->table;
    struct casting c = {*m, t->tensor, t->row};
    int rc = 0;

    if (t->n_short > 0)
        rc = LAUNCH(materialise_kernel<true>, (unsigned)t->n_short, THREADS_SHORT,
                    (size_t)t->longest_short * sizeof(float), stream, c);
    c.row += t->n_short;
    if (!rc && t->n_long > 0)
        rc = LAUNCH(materialise_kernel<false>, (unsigned)t->n_long, THREADS_LONG, 0, stream, c);
    return rc;
}

template <bool RESIDENT>
static __global__ void __launch_bounds__(RESIDENT ? THREADS_SHORT : THREADS_LONG)
    unpack_kernel(const struct weight_tensor *tensors, const struct weight_row *rows,
                  const void *gradient, float *to)
{
    SHARED_ROW(row);
    struct filter f = filter_of(tensors, rows, blockIdx.x);
    const struct weight_form *form = &f.tensor->gradient;

    if (RESIDENT) {
        row_from_form(&f, form, gradient, row);
        __syncthreads();
    }
    for (int64_t e = f.first + threadIdx.x; e < f.end; e += blockDim.x)
        to[f.at + e] = RESIDENT ? row[e - f.first]
                                : form_get(form, gradient, form_place(form, f.number, e - f.first));
}

int launch_gradient_unpack(struct CUstream_st *stream, const struct weight_table *t,
                           const void *gradient, float *to)
{
    int rc = 0;

    if (t->n_short > 0)
        rc = LAUNCH(unpack_kernel<true>, (unsigned)t->n_short, THREADS_SHORT,
                    (size_t)t->longest_short * sizeof(float), stream, t->tensor, t->row, gradient,
                    to);
    if (!rc && t->n_long > 0)
        rc = LAUNCH(unpack_kernel<false>, (unsigned)t->n_long, THREADS_LONG, 0, stream, t->tensor,
                    t->row + t->n_short, gradient, to);
    return rc;
}
