/* One change of the weights, Fisher sums, and casts of the new weights, in one pass over them. */
#include "backend/cuda/kernels/weight_rows.h"

struct stepping {
    struct weight_step s;
    const struct weight_tensor *tensor;
    const struct weight_row *row;
};

/* The mixed gradient, clipped, and what feeds the Fisher sum, both at a place of the form. */
static __device__ inline float mixed(const struct weight_step *s, const struct weight_form *form,
                                     int64_t place, float clip, float *h)
{
    float d = 0;

    *h = 0;
    for (int k = 0; k < s->mix.n; k++) {
        float g = form_get(form, s->mix.gradient[k], place);

        d += s->mix.weight[k] * g;
        *h += s->feeds[k] * g;
    }
    return clip * d;
}

/* The mixed gradient of a short filter into the resident row; returns this thread's Σh². */
static __device__ inline float stage_mix(const struct weight_step *s, const struct filter *f,
                                         float clip, float *row)
{
    const struct weight_form *form = &f->tensor->gradient;
    int64_t first = (int64_t)f->number * form->taps * form->pitch;
    float squares = 0;

    for (struct form_walk at = form_walk_begin(form); form_walk_more(form, &at);
         form_walk_on(form, &at)) {
        float h;

        if (at.channel >= form->channels)
            continue;
        row[at.channel * form->taps + at.tap] = mixed(s, form, first + at.i, clip, &h);
        squares += h * h;
    }
    return squares;
}

static __device__ inline struct rule_numbers numbers_of(const struct weight_step *s)
{
    struct rule_numbers r;

    r.nesterov = s->nesterov;
    r.decoupled = s->rule == RULE_ADAMW;
    r.lr = s->turn->lr;
    r.kept = r.decoupled ? s->turn->kept : 1;
    r.rate = s->turn->rate;
    r.scale = s->turn->scale;
    r.momentum = s->momentum;
    r.weight_decay = s->weight_decay;
    r.beta1 = s->beta1;
    r.rest1 = s->rest1;
    r.beta2 = s->beta2;
    r.rest2 = s->rest2;
    r.eps = s->eps;
    return r;
}

/* Changes four weights by the mixed gradient d; w are the new ones. */
static __device__ inline void move_four(const struct weight_step *s, const struct filter *f,
                                        const struct rule_numbers *r, int64_t quad,
                                        const float d[FOUR], float w[FOUR])
{
    float m[FOUR], v[FOUR];

    load_four(f, s->weights, quad, w);
    load_four(f, s->m, quad, m);
    if (s->rule == RULE_SGD) {
#pragma unroll
        for (int i = 0; i < FOUR; i++)
            rule_sgd(r, d[i], &w[i], &m[i]);
    } else {
        load_four(f, s->v, quad, v);
#pragma unroll
        for (int i = 0; i < FOUR; i++)
            rule_adam(r, d[i], &w[i], &m[i], &v[i]);
        store_four(f, s->v, quad, v);
    }
    store_four(f, s->m, quad, m);
    store_four(f, s->weights, quad, w);
}

/* The mixed gradient of four numbers; a short filter's is in the resident row. Adds to Σh², or
 * moves the Fisher sums of a 1-D tensor. */
template <bool RESIDENT>
static __device__ inline void mix_four(const struct weight_step *s, const struct filter *f,
                                       const float *row, float clip, int64_t quad, float d[FOUR],
                                       float *squares)
{
    const struct weight_form *form = &f->tensor->gradient;
    bool each = f->tensor->elementwise && s->fisher;

#pragma unroll
    for (int i = 0; i < FOUR; i++) {
        int64_t e = quad * FOUR + i, j = e - f->first;
        float h;

        d[i] = 0;
        if (e < f->first || e >= f->end)
            continue;
        if (RESIDENT)
            d[i] = row[j];
        if (RESIDENT && !each)
            continue;
        d[i] = mixed(s, form, form_place(form, f->number, j), clip, &h);
        if (each)
            s->fisher[f->fisher + e] = s->beta * s->fisher[f->fisher + e] + h * h;
        else
            *squares += h * h;
    }
}

/* Casts of the new weights: of the resident row as it is, and with noise in it. */
static __device__ inline void cast_row(const struct weight_step *s, const struct filter *f,
                                       const struct noise *n, float squares, float fisher,
                                       float *row)
{
    if (s->clean)
        row_to_form(f, &f->tensor->cast, row, s->clean);
    if (!s->noisy)
        return;
    __syncthreads();
    for (int64_t quad = f->quad + threadIdx.x; quad < f->quads; quad += blockDim.x) {
        float z[FOUR];

        noise_four(f, n, squares, fisher, quad, z);
#pragma unroll
        for (int i = 0; i < FOUR; i++)
            if (quad * FOUR + i >= f->first && quad * FOUR + i < f->end)
                row[quad * FOUR + i - f->first] += z[i];
    }
    __syncthreads();
    row_to_form(f, &f->tensor->cast, row, s->noisy);
}

/* The same for a long filter, whose new weights each thread reads where it wrote them. */
static __device__ inline void cast_long(const struct weight_step *s, const struct filter *f,
                                        const struct noise *n, float squares, float fisher)
{
    const struct weight_form *form = &f->tensor->cast;

    for (int64_t quad = f->quad + threadIdx.x; quad < f->quads; quad += blockDim.x) {
        float w[FOUR], z[FOUR];

        load_four(f, s->weights, quad, w);
        if (s->clean)
            put_four<false>(f, form, NULL, s->clean, quad, w);
        if (!s->noisy)
            continue;
        noise_four(f, n, squares, fisher, quad, z);
#pragma unroll
        for (int i = 0; i < FOUR; i++)
            w[i] += z[i];
        put_four<false>(f, form, NULL, s->noisy, quad, w);
    }
    if (s->clean)
        pad_form(f, form, s->clean);
    if (s->noisy)
        pad_form(f, form, s->noisy);
}

static __device__ inline struct noise noise_of(const struct weight_step *s)
{
    struct noise n = {s->seed, 0, s->term, 0, s->eta, s->adapting_fisher};

    if (s->noisy) {
        n.update = s->next->update;
        n.sigma = s->next->sigma;
    }
    return n;
}

/* F ← beta·F + Σh² of the filter; every thread gets the new number, one keeps it. */
static __device__ inline float feed_filter(const struct weight_step *s, const struct filter *f,
                                           float fisher, float h_squares)
{
    if (!s->fisher || f->tensor->elementwise)
        return fisher;
    fisher = s->beta * fisher + h_squares;
    if (threadIdx.x == 0)
        s->fisher[f->fisher] = fisher;
    return fisher;
}

template <bool RESIDENT>
static __global__ void __launch_bounds__(RESIDENT ? THREADS_SHORT : THREADS_LONG)
    weight_step_kernel(const __grid_constant__ struct stepping g)
{
    SHARED_ROW(row);
    const struct weight_step *s = &g.s;
    struct filter f = filter_of(g.tensor, g.row, blockIdx.x);
    struct rule_numbers rule = numbers_of(s);
    struct noise n = noise_of(s);
    const float *known = s->fisher ? s->fisher : s->adapting_fisher;
    float clip = s->clip ? *s->clip : 1, squares = 0, h_squares = 0;
    float fisher = known && !f.tensor->elementwise ? known[f.fisher] : 0;

    if (RESIDENT) {
        h_squares = stage_mix(s, &f, clip, row);
        __syncthreads();
    }
    for (int64_t quad = f.quad + threadIdx.x; quad < f.quads; quad += blockDim.x) {
        float d[FOUR], w[FOUR];

        mix_four<RESIDENT>(s, &f, row, clip, quad, d, &h_squares);
        move_four(s, &f, &rule, quad, d, w);
        if (RESIDENT)
            put_four<true>(&f, &f.tensor->cast, row, NULL, quad, w);
        squares += squares_of(w);
    }
    squares = block_sum(squares);
    if (s->fisher)
        fisher = feed_filter(s, &f, fisher, block_sum(h_squares));
    if (RESIDENT)
        cast_row(s, &f, &n, squares, fisher, row);
    else
        cast_long(s, &f, &n, squares, fisher);
}

int launch_weight_step(struct CUstream_st *stream, const struct weight_step *s)
{
    const struct weight_table *t = s->table;
    struct stepping g = {*s, t->tensor, t->row};
    int rc = 0;

    if (t->n_short > 0)
        rc = LAUNCH(weight_step_kernel<true>, (unsigned)t->n_short, THREADS_SHORT,
                    (size_t)t->longest_short * sizeof(float), stream, g);
    g.row += t->n_short;
    if (!rc && t->n_long > 0)
        rc = LAUNCH(weight_step_kernel<false>, (unsigned)t->n_long, THREADS_LONG, 0, stream, g);
    return rc;
}
