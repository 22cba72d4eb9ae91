/* A number a channel: added to all its pixels, or their sum. */
#include "backend/cpu/kernels/lanes.h"

/* Of the lanes of a block: channel c is a lane, or by image all of them. */
INLINE lanes bias_of(const struct channel_bias *b, size_t block)
{
    lanes value = {0};

    if (b->shape.by_image)
        return splat(b->bias[block]);
    for (size_t i = 0; i < LANES && block * LANES + i < b->channels; i++)
        value[i] = b->bias[block * LANES + i];
    return value;
}

void KERNEL(channel_bias)(const void *arguments, size_t begin, size_t end)
{
    const struct channel_bias *b = arguments;
    size_t pixels = b->shape.pixels;

    for (size_t plane = begin; plane < end; plane++) {
        lanes value = bias_of(b, plane % b->shape.blocks);
        size_t at = plane * pixels * LANES;

        for (size_t p = 0; p < pixels; p++, at += LANES)
            store(b->y + at, load(b->x + at) + value);
    }
}

/* Of one block, over all images, in double. */
INLINE wide block_sum(const struct channel_sums *s, size_t block)
{
    wide sum = {0};

    for (size_t row = 0; row < s->shape.images; row++) {
        const float *dy = s->dy + (row * s->shape.blocks + block) * s->shape.pixels * LANES;

        for (size_t p = 0; p < s->shape.pixels; p++)
            sum += widen(load(dy + p * LANES));
    }
    return sum;
}

/* Lanes past the last image hold zeros in derivatives. */
void KERNEL(channel_sums)(const void *arguments, size_t begin, size_t end)
{
    const struct channel_sums *s = arguments;

    for (size_t block = begin; block < end; block++) {
        wide sum = block_sum(s, block);
        double total = 0;

        for (size_t i = 0; i < LANES; i++)
            total += sum[i];
        if (s->shape.by_image)
            s->sum[block] = (float)total;
        for (size_t i = 0; !s->shape.by_image && i < LANES && block * LANES + i < s->channels; i++)
            s->sum[block * LANES + i] = (float)sum[i];
    }
}
