#include "data/augment.h"

#include <math.h>

#include "random/philox.h"

#define ATTEMPTS 10

static const double narrowest = 3.0 / 4, widest = 4.0 / 3;

static struct philox draw(const struct augment_key *key, enum augment_draw what, int number)
{
    return philox(key->seed, (uint32_t)key->sample,
                  random_stream(RANDOM_AUGMENT, (uint32_t)what, (uint32_t)number), key->pass);
}

static double unit(uint32_t word)
{
    return (double)(word >> 8) * 0x1p-24;
}

static int below(uint32_t word, int n)
{
    return (int)(unit(word) * n);
}

bool augment_flip(const struct augment_key *key)
{
    return below(draw(key, DRAW_FLIP, 0).word[0], 2) == 1;
}

void augment_corner(const struct augment_key *key, int rows, int columns, int *top, int *left)
{
    struct philox words = draw(key, DRAW_CROP, 0);

    *top = below(words.word[0], rows);
    *left = below(words.word[1], columns);
}

/* The largest window of an allowed shape, in the middle. */
static struct window central(int height, int width)
{
    struct window out = {.height = height, .width = width};
    double shape = (double)width / height;

    if (shape < narrowest)
        out.height = (int)rint(width / narrowest);
    else if (shape > widest)
        out.width = (int)rint(height * widest);
    out.top = (height - out.height) / 2;
    out.left = (width - out.width) / 2;
    return out;
}

struct window augment_resized(const struct augment_key *key, double area_min, int height, int width)
{
    double whole = (double)height * width;

    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        struct philox words = draw(key, DRAW_RESIZED, attempt);
        double area = whole * (area_min + unit(words.word[0]) * (1 - area_min));
        double shape = exp(log(narrowest) + unit(words.word[1]) * (log(widest) - log(narrowest)));
        int w = (int)rint(sqrt(area * shape)), h = (int)rint(sqrt(area / shape));

        if (w > 0 && w <= width && h > 0 && h <= height)
            return (struct window){.top = below(words.word[2], height - h + 1),
                                   .left = below(words.word[3], width - w + 1),
                                   .height = h,
                                   .width = w};
    }
    return central(height, width);
}

/* The part of first … first + side − 1 that lies in 0 … limit − 1. */
static void clip(int first, int side, int limit, int *begin, int *length)
{
    int end = first + side < limit ? first + side : limit;

    *begin = first > 0 ? first : 0;
    *length = end > *begin ? end - *begin : 0;
}

struct window augment_cutout(const struct augment_key *key, const struct job_augment *job,
                             int height, int width)
{
    int side = (int)job->cutout;
    struct window out = {0};
    struct philox words;

    if (side == 0)
        return out;
    words = draw(key, DRAW_CUTOUT, 0);
    if (unit(words.word[0]) >= job->cutout_probability)
        return out;
    clip(below(words.word[1], height) - side / 2, side, height, &out.top, &out.height);
    clip(below(words.word[2], width) - side / 2, side, width, &out.left, &out.width);
    return out;
}

struct augment_operation augment_operation(const struct augment_key *key, int place, int n)
{
    struct philox words = draw(key, DRAW_OPERATION, place);

    return (struct augment_operation){.operation = below(words.word[0], n),
                                      .negative = below(words.word[1], 2) == 1};
}
