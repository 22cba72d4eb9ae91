/* One norm over all parameters: a block a filter, then all filters in one block. */
#include "backend/cuda/kernels/weight_rows.h"

struct norming {
    struct weight_norm w;
    const struct weight_tensor *tensor;
    const struct weight_row *row;
};

static __global__ void __launch_bounds__(BLOCK)
    filter_norms_kernel(const __grid_constant__ struct norming g)
{
    struct filter f = filter_of(g.tensor, g.row, blockIdx.x);
    const struct weight_form *form = &f.tensor->gradient;
    int64_t first = (int64_t)f.number * form->taps * form->pitch;
    bool scaled = g.w.kind == NORM_SCALED_DIRECTION && f.tensor->scaled;
    float sum = 0;

    for (struct form_walk at = form_walk_begin(form); form_walk_more(form, &at);
         form_walk_on(form, &at)) {
        float d = 0;

        if (at.channel >= form->channels)
            continue;
        for (int k = 0; k < g.w.mix.n; k++)
            d += g.w.mix.weight[k] * form_get(form, g.w.mix.gradient[k], first + at.i);
        if (scaled)
            d *= fabsf(g.w.weights[f.at + f.first + at.channel * form->taps + at.tap]) + g.w.eta;
        sum += d * d;
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0)
        g.w.workspace[blockIdx.x] = sum;
}

static __device__ inline double factor_of(const struct weight_norm *w, double norm)
{
    double factor;

    if (w->kind == NORM_DIRECTION)
        return w->size / (norm + 1e-12);
    if (w->kind == NORM_SCALED_DIRECTION)
        return w->size / (norm + 1e-16);
    factor = w->size / (norm + 1e-6);
    return factor > 1 ? 1 : factor; /* NaN stays NaN */
}

static __global__ void __launch_bounds__(BLOCK_LARGEST)
    whole_norm_kernel(const __grid_constant__ struct weight_norm w, int64_t rows)
{
    double sum = 0;

    for (int64_t i = threadIdx.x; i < rows; i += blockDim.x)
        sum += (double)w.workspace[i];
    sum = block_sum(sum);
    if (threadIdx.x != 0)
        return;
    *w.factor = (float)factor_of(&w, sqrt(sum));
    if (w.norm)
        *w.norm = (float)sqrt(sum);
}

int launch_weight_norm(struct CUstream_st *stream, const struct weight_norm *w)
{
    const struct weight_table *t = w->table;
    struct norming g = {*w, t->tensor, t->row};
    int64_t rows = (int64_t)t->n_short + t->n_long;
    int rc = LAUNCH(filter_norms_kernel, (unsigned)rows, BLOCK, 0, stream, g);

    return rc ? rc : LAUNCH(whole_norm_kernel, 1, BLOCK_LARGEST, 0, stream, *w, rows);
}
