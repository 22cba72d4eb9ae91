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

    drop(d, begin, end, d->x + begin, d->y + begin, 1);
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
