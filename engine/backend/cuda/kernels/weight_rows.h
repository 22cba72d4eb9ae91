/* A block has a filter: how its numbers are walked through in the layout's order and in a form's.
 *
 * Short filters are *resident*: a row in shared memory, in the layout's order, through which
 * numbers pass from one order to the other, so that device memory is always read and written by
 * neighbours together. Long ones are read twice and go to their places one by one. */
#ifndef ENGINE_BACKEND_CUDA_WEIGHT_ROWS_H
#define ENGINE_BACKEND_CUDA_WEIGHT_ROWS_H

#include "backend/cuda/kernels/device.h"
#include "backend/cuda/kernels/update.h"

#define FOUR 4 /* numbers of a Philox block */

/* The filter of this block. Numbers count within the tensor, where noise is drawn. */
struct filter {
    const struct weight_tensor *tensor;
    int64_t first, end;  /* its numbers in the tensor */
    int64_t at;          /* of the tensor's number 0 in the layout */
    int64_t fisher;      /* of its Fisher number; elementwise: of the first */
    int64_t quad, quads; /* fours that it touches: quad … quads − 1 */
    int32_t number;      /* of the filter */
};

static __device__ inline struct filter filter_of(const struct weight_tensor *tensors,
                                                 const struct weight_row *rows, int64_t block)
{
    struct weight_row row = rows[block];
    struct filter f;

    f.tensor = tensors + row.tensor;
    f.number = row.filter;
    f.first = f.tensor->filter_size * row.filter;
    f.end = f.first + f.tensor->filter_size;
    f.at = f.tensor->offset;
    f.fisher = f.tensor->fisher_offset + (f.tensor->elementwise ? 0 : row.filter);
    f.quad = f.first / FOUR;
    f.quads = (f.end + FOUR - 1) / FOUR;
    return f;
}

/* Numbers 4·quad … of the tensor; those outside of the filter are 0. `from` is the whole vector.
 * Tensors begin at multiples of LAYOUT_ALIGN numbers, so whole fours are at 16-byte boundaries. */
static __device__ inline void load_four(const struct filter *f, const float *from, int64_t quad,
                                        float x[FOUR])
{
    int64_t e = quad * FOUR;

    from += f->at;
    if (e >= f->first && e + FOUR <= f->end) {
        sixteen_bytes four = *(const sixteen_bytes *)(from + e);

#pragma unroll
        for (int i = 0; i < FOUR; i++)
            x[i] = float_of(four.word[i]);
        return;
    }
#pragma unroll
    for (int i = 0; i < FOUR; i++)
        x[i] = e + i >= f->first && e + i < f->end ? from[e + i] : 0;
}

static __device__ inline void store_four(const struct filter *f, float *to, int64_t quad,
                                         const float x[FOUR])
{
    int64_t e = quad * FOUR;

    to += f->at;
    if (e >= f->first && e + FOUR <= f->end) {
        sixteen_bytes four;

#pragma unroll
        for (int i = 0; i < FOUR; i++)
            four.word[i] = bits_of(x[i]);
        *(sixteen_bytes *)(to + e) = four;
        return;
    }
#pragma unroll
    for (int i = 0; i < FOUR; i++)
        if (e + i >= f->first && e + i < f->end)
            to[e + i] = x[i];
}

/* Where number j of filter `number` lies in a form. */
static __device__ inline int64_t form_place(const struct weight_form *form, int32_t number,
                                            int64_t j)
{
    int64_t row = (int64_t)number * form->taps * form->pitch;

    int32_t small = (int32_t)j; /* long division is a call, and slow */

    if (form->taps == 1)
        return row + j;
    return row + small % form->taps * form->pitch + small / form->taps;
}

static __device__ inline float form_get(const struct weight_form *form, const void *base,
                                        int64_t place)
{
    const char *from = (const char *)base + form->at;

    return form->type == ELEMENT_F32 ? ((const float *)from)[place]
                                     : bf16_widen(((const bf16 *)from)[place].bits);
}

static __device__ inline void form_put(const struct weight_form *form, void *base, int64_t place,
                                       float x)
{
    char *to = (char *)base + form->at;

    if (form->type == ELEMENT_F32)
        narrow(x, (float *)to + place);
    else
        narrow(x, (bf16 *)to + place);
}

/* Walks through a filter in a form's order: thread after thread takes number i of taps·pitch,
 * which is `channel` of `tap`. Without a division but for the first. */
struct form_walk {
    int32_t i, tap, channel, taps_a_step, channels_a_step;
};

static __device__ inline struct form_walk form_walk_begin(const struct weight_form *form)
{
    int32_t i = (int32_t)threadIdx.x, step = (int32_t)blockDim.x;

    struct form_walk walk = {i, i / form->pitch, i % form->pitch, step / form->pitch,
                             step % form->pitch};

    return walk;
}

static __device__ inline void form_walk_on(const struct weight_form *form, struct form_walk *at)
{
    at->i += (int32_t)blockDim.x;
    at->tap += at->taps_a_step;
    at->channel += at->channels_a_step;
    if (at->channel >= form->pitch) {
        at->channel -= form->pitch;
        at->tap++;
    }
}

/* The numbers that the walk has reached: false past the last of them. */
static __device__ inline bool form_walk_more(const struct weight_form *form,
                                             const struct form_walk *at)
{
    return at->tap < form->taps;
}

/* The resident row to its place in a form. Follows a barrier. */
static __device__ inline void row_to_form(const struct filter *f, const struct weight_form *form,
                                          const float *row, void *base)
{
    int64_t first = (int64_t)f->number * form->taps * form->pitch;

    for (struct form_walk at = form_walk_begin(form); form_walk_more(form, &at);
         form_walk_on(form, &at)) {
        bool counts = at.channel < form->channels;

        form_put(form, base, first + at.i, counts ? row[at.channel * form->taps + at.tap] : 0);
    }
}

/* The other way round, into the resident row. A barrier follows. */
static __device__ inline void row_from_form(const struct filter *f, const struct weight_form *form,
                                            const void *base, float *row)
{
    int64_t first = (int64_t)f->number * form->taps * form->pitch;

    for (struct form_walk at = form_walk_begin(form); form_walk_more(form, &at);
         form_walk_on(form, &at))
        if (at.channel < form->channels)
            row[at.channel * form->taps + at.tap] = form_get(form, base, first + at.i);
}

/* Zeros in the padding of a long filter's form. */
static __device__ inline void pad_form(const struct filter *f, const struct weight_form *form,
                                       void *base)
{
    int64_t first = (int64_t)f->number * form->taps * form->pitch;

    if (form->pitch == form->channels)
        return;
    for (struct form_walk at = form_walk_begin(form); form_walk_more(form, &at);
         form_walk_on(form, &at))
        if (at.channel >= form->channels)
            form_put(form, base, first + at.i, 0);
}

/* Four numbers to the resident row, or at once to their places. */
template <bool RESIDENT>
static __device__ inline void put_four(const struct filter *f, const struct weight_form *form,
                                       float *row, void *base, int64_t quad, const float x[FOUR])
{
#pragma unroll
    for (int i = 0; i < FOUR; i++) {
        int64_t e = quad * FOUR + i, j = e - f->first;

        if (e < f->first || e >= f->end)
            continue;
        if (RESIDENT)
            row[j] = x[i];
        else
            form_put(form, base, form_place(form, f->number, j), x[i]);
    }
}

/* Noise is made with the change of the weights or by a pass of its own, to the same bits: what it
 * follows from is rounded in one way, whatever stands around it. */
static __device__ inline float squares_of(const float x[FOUR])
{
    float sum = product(x[0], x[0]);

#pragma unroll
    for (int i = 1; i < FOUR; i++)
        sum = twice_rounded(x[i], x[i], sum);
    return sum;
}

/* Σw² over the filter, in all threads. */
static __device__ inline float filter_squares(const struct filter *f, const float *weights)
{
    float sum = 0;

    for (int64_t quad = f->quad + threadIdx.x; quad < f->quads; quad += blockDim.x) {
        float w[FOUR];

        load_four(f, weights, quad, w);
        sum += squares_of(w);
    }
    return block_sum(sum);
}

/* What noise is drawn with. */
struct noise {
    uint64_t seed, update;
    uint32_t term;
    float sigma, eta;
    const float *fisher; /* NULL: not adapted */
};

/* z·(what scales it) for four numbers. `squares`: ‖w‖² of the filter, or of a 1-D tensor.
 * `fisher`: the filter's number, where it is not elementwise. */
static __device__ inline void noise_four(const struct filter *f, const struct noise *n,
                                         float squares, float fisher, int64_t quad, float z[FOUR])
{
    bool each = f->tensor->elementwise && n->fisher;
    float extra = f->tensor->elementwise ? 1e-16f : 0, scale = 0;

    if (!each)
        scale =
            noise_scale(n->sigma, squares, extra, n->fisher ? n->eta : 0, n->fisher ? fisher : 0);
    normal_four(n->seed, (uint32_t)quad,
                random_stream(RANDOM_NOISE, n->term, (uint32_t)f->tensor->number), n->update, z);
#pragma unroll
    for (int i = 0; i < FOUR; i++) {
        int64_t e = quad * FOUR + i;

        if (each && e < f->end)
            scale = noise_scale(n->sigma, squares, extra, n->eta, n->fisher[f->fisher + e]);
        z[i] = product(z[i], scale);
    }
}

/* Blocks and threads for the two kinds of filters. */
#define THREADS_SHORT BLOCK
#define THREADS_LONG  BLOCK_LARGEST

#endif
