#include "data/resample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/picture.h"
#include "data/resample_kernels.h"

struct resampler {
    const struct resample_kernels *scale;
    struct resample_plan plan;
    struct axis across, down;
    int first_row, rows, seen;
    uint8_t *line; /* [rows, out_width] pixels, scaled along rows */
    size_t line_room;
};

int resampler_new(struct resampler **out, struct err *err)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return err_no_memory(err);
    (*out)->scale = resample_kernels();
    return 0;
}

static void free_axis(struct axis *axis)
{
    free(axis->first);
    free(axis->weight);
}

void resampler_free(struct resampler *resampler)
{
    if (!resampler)
        return;
    free_axis(&resampler->across);
    free_axis(&resampler->down);
    free(resampler->line);
    free(resampler);
}

static int size_axis(struct axis *axis, int n, int taps, struct err *err)
{
    axis->n = n;
    axis->taps = taps;
    if (n > axis->room) {
        free(axis->first);
        axis->first = calloc((size_t)n, sizeof *axis->first);
        axis->room = axis->first ? n : 0;
    }
    if (n * taps > axis->weight_room) {
        free(axis->weight);
        axis->weight = calloc((size_t)n * (size_t)taps, sizeof *axis->weight);
        axis->weight_room = axis->weight ? n * taps : 0;
    }
    return axis->room && axis->weight_room ? 0 : err_no_memory(err);
}

static double triangle(double x)
{
    x = fabs(x);
    return x < 1 ? 1 - x : 0;
}

/* Weights of one result whose filter has its middle at `center`; they sum to 1. Where fewer pixels
 * count than others have taps, the rest weighs nothing. */
static void weigh(struct axis *axis, int i, double center, double spread, int size)
{
    int32_t *weight = axis->weight + (size_t)i * (size_t)axis->taps;
    double sum = 0;
    int begin = (int)(center - spread + 0.5), end = (int)(center + spread + 0.5), first;

    begin = begin < 0 ? 0 : begin;
    end = end > size ? size : end;
    first = begin < size - axis->taps ? begin : size - axis->taps;
    axis->first[i] = first;
    memset(weight, 0, (size_t)axis->taps * sizeof *weight);
    for (int t = begin; t < end; t++)
        sum += triangle((t - center + 0.5) * (1 / spread));
    for (int t = begin; t < end; t++) {
        double share = triangle((t - center + 0.5) * (1 / spread));

        share = sum != 0 ? share / sum : share;
        weight[t - first] = (int32_t)(0.5 + share * (1 << RESAMPLE_BITS));
    }
}

/* `size` pixels become `scaled` results, of which n from `skip` on are wanted. */
static int plan_axis(struct axis *axis, int size, int scaled, int skip, int n, struct err *err)
{
    double scale = (double)size / scaled, spread = scale > 1 ? scale : 1;
    int most = (int)(2 * spread) + 1; /* pixels that lie within `spread` of a point */
    int rc = size_axis(axis, n, most < size ? most : size, err);

    for (int i = 0; i < n && !rc; i++)
        weigh(axis, i, (skip + i + 0.5) * scale, spread, size);
    return rc;
}

int resampler_begin(struct resampler *resampler, const struct resample_plan *plan, int *first,
                    int *n, struct err *err)
{
    struct axis *down = &resampler->down;
    size_t bytes;
    int rc = plan_axis(&resampler->across, plan->box.width, plan->width, plan->left,
                       plan->out_width, err);

    if (!rc)
        rc = plan_axis(down, plan->box.height, plan->height, plan->top, plan->out_height, err);
    if (rc)
        return rc;
    resampler->plan = *plan;
    resampler->first_row = down->first[0];
    resampler->rows = down->first[down->n - 1] + down->taps - down->first[0];
    resampler->seen = 0;
    bytes = (size_t)resampler->rows * (size_t)plan->out_width * PICTURE_PIXEL_BYTES;
    if (bytes > resampler->line_room) {
        free(resampler->line);
        resampler->line = malloc(bytes);
        resampler->line_room = resampler->line ? bytes : 0;
        if (!resampler->line)
            return err_no_memory(err);
    }
    *first = plan->box.top + resampler->first_row;
    *n = resampler->rows;
    return 0;
}

void resampler_row(void *context, const uint8_t *pixels)
{
    struct resampler *resampler = context;
    const struct axis *across = &resampler->across;
    size_t line = (size_t)resampler->seen++ * (size_t)across->n * PICTURE_PIXEL_BYTES;

    resampler->scale->across(across,
                             pixels + (size_t)resampler->plan.box.left * PICTURE_PIXEL_BYTES,
                             resampler->line + line);
}

void resampler_end(struct resampler *resampler, uint8_t *pixels)
{
    size_t width = (size_t)resampler->plan.out_width;

    for (int y = 0; y < resampler->down.n; y++) {
        size_t first = (size_t)(resampler->down.first[y] - resampler->first_row);

        resampler->scale->down(&resampler->down, y,
                               resampler->line + first * width * PICTURE_PIXEL_BYTES, width,
                               pixels + (size_t)y * width * 3);
    }
}
