/* Dropout: masks are drawn for an element's place in row-major order, whatever the layout. */
#include "backend/cpu/kernels/draws.h"

#define CHUNK 32 /* elements that eight counters draw for */

/* The words of elements first … first + CHUNK − 1; `first` is a multiple of CHUNK. */
INLINE void chunk_words(const struct dropout *d, uint64_t first, uint32_t out[CHUNK])
{
    struct counters drawn = draw(d->seed, (uint32_t)(first / 4), d->stream, d->step);

    for (size_t i = 0; i < CHUNK; i++)
        out[i] = (uint32_t)drawn.word[i % 4][i / 4];
}

typedef float floats __attribute__((vector_size(64), may_alias));
typedef float loose_floats __attribute__((vector_size(64), may_alias, aligned(4)));

/* The low halves of a and b, in turns. */
INLINE words in_turns(words a, words b)
{
    return (a & 0xffffffffu) | b << 32;
}

/* Sixteen elements. */
INLINE void drop_vector(const struct dropout *d, words drawn, const float *x, float *y)
{
    ints kept = (ints)((half_words)drawn >> 8) >= (int32_t)d->threshold;
    floats scaled = *(const loose_floats *)x * d->scale;

    *(loose_floats *)y = (floats)((ints)scaled & kept);
}

/* A whole chunk of a dense array, from element `first` on. Its words stand by counter: word 0, 1, 2
 * and 3 of one are four elements. */
INLINE void drop_chunk(const struct dropout *d, uint64_t first)
{
    struct counters drawn = draw(d->seed, (uint32_t)(first / 4), d->stream, d->step);
    words a = in_turns(drawn.word[0], drawn.word[1]), b = in_turns(drawn.word[2], drawn.word[3]);
    words low = __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
    words high = __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);

    drop_vector(d, low, d->x + first, d->y + first);
    drop_vector(d, high, d->x + first + CHUNK / 2, d->y + first + CHUNK / 2);
}

/* Elements [begin, end), of which number `begin` lies at x and the others `step` apart. */
INLINE void drop(const struct dropout *d, uint64_t begin, uint64_t end, const float *x, float *y,
                 size_t step)
{
    for (uint64_t first = begin / CHUNK * CHUNK; first < end; first += CHUNK) {
        uint64_t from = first < begin ? begin : first;
        uint64_t to = end - first < CHUNK ? end : first + CHUNK;
        uint32_t word[CHUNK];

        chunk_words(d, first, word);
        for (uint64_t e = from; e < to; e++) {
            size_t at = (size_t)(e - begin) * step;
            y[at] = word[e - first] >> 8 >= d->threshold ? x[at] * d->scale : 0;
        }
    }
}

void KERNEL(dropout)(const void *arguments, size_t begin, size_t end)
{
    const struct dropout *d = arguments;
    uint64_t whole = (begin + CHUNK - 1) / CHUNK * CHUNK, past = end / CHUNK * CHUNK;

    if (whole >= past) {
        drop(d, begin, end, d->x + begin, d->y + begin, 1);
        return;
    }
    drop(d, begin, whole, d->x + begin, d->y + begin, 1);
    for (uint64_t first = whole; first < past; first += CHUNK)
        drop_chunk(d, first);
    drop(d, past, end, d->x + past, d->y + past, 1);
}

/* Lanes that are no channel or image become zeros: the operation is its own derivative. */
void KERNEL(dropout_blocked)(const void *arguments, size_t begin, size_t end)
{
    const struct dropout *d = arguments;
    size_t pixels = d->shape.pixels;

    for (size_t plane = begin; plane < end; plane++) {
        struct dense_lanes from = dense_lanes_of(&d->shape, d->channels, plane);
        const float *x = d->x + plane * pixels * LANES;
        float *y = d->y + plane * pixels * LANES;

        for (size_t i = 0; i < LANES; i++) {
            uint64_t first = (from.at + i * from.step) * pixels;

            if (i < from.n)
                drop(d, first, first + pixels, x + i, y + i, LANES);
            for (size_t p = 0; i >= from.n && p < pixels; p++)
                y[p * LANES + i] = 0;
        }
    }
}
