/* Geometry of the direct convolutions by image: borders, and where each term and pixel lies. */
#include <stdlib.h>

#include "backend/cpu/program.h"

/* What the functions below build from, and the tables' memory that is left. */
struct plan {
    struct direct *direct;
    const struct convolution_shape *shape;
    size_t lanes;
    size_t *room;
};

/* A table of n, and room to repeat its last entry so that it ends with a whole tile. */
static size_t *take(struct plan *plan, size_t n)
{
    size_t *part = plan->room;

    plan->room += n + DIRECT_TILE;
    return part;
}

static const size_t *complete(size_t *table, size_t n)
{
    for (size_t i = 0; n > 0 && i < DIRECT_TILE; i++)
        table[n + i] = table[n - 1];
    return table;
}

static size_t plane(const struct plan *plan)
{
    const struct direct_border *b = &plan->direct->conv.border;

    return b->height * b->width * plan->lanes;
}

static void set_source(struct plan *plan, int64_t channels, int64_t height, int64_t width)
{
    struct direct_border *b = &plan->direct->conv.border;

    b->channels = (size_t)channels;
    b->from_height = b->height = (size_t)height;
    b->from_width = b->width = (size_t)width;
}

/* Each (channel, tap) of a filter, in the weights' order: x with its border has it at
 * (channel, r, s) from a result's place on. */
static void set_forward_terms(struct plan *plan, struct direct_class *class)
{
    const struct direct_border *b = &plan->direct->conv.border;
    size_t columns = (size_t)plan->shape->s, taps = columns * (size_t)plan->shape->r;
    size_t *x = take(plan, b->channels * taps), *w = take(plan, b->channels * taps);

    class->terms = b->channels * taps;
    for (size_t i = 0; i < class->terms; i++) {
        size_t tap = i % taps;
        x[i] = i / taps * plane(plan) + (tap / columns * b->width + tap % columns) * plan->lanes;
        w[i] = i;
    }
    class->term_x = complete(x, class->terms);
    class->term_w = complete(w, class->terms);
}

/* Pixels of `rows` rows of images. */
static void set_forward_pixels(struct plan *plan, struct direct_class *class, size_t rows)
{
    const struct convolution_shape *s = plan->shape;
    const struct direct_border *b = &plan->direct->conv.border;
    size_t stride = (size_t)s->stride, q = (size_t)s->q, pixels = (size_t)s->p * q;
    size_t *x = take(plan, rows * pixels), *y = take(plan, rows * pixels);

    class->pixels = rows * pixels;
    for (size_t i = 0; i < class->pixels; i++) {
        size_t row = i / pixels, p = i % pixels;
        x[i] = row * b->channels * plane(plan) +
               (p / q * stride * b->width + p % q * stride) * plan->lanes;
        y[i] = (row * (size_t)s->k * pixels + p) * plan->lanes;
    }
    class->pixel_x = complete(x, class->pixels);
    class->pixel_y = complete(y, class->pixels);
}

/* y[p][q] = Σ x[p·stride + r][q·stride + s], x with its border; or dw, which sums the same products
 * over the pixels of all images instead. */
static void set_forward(struct plan *plan, size_t rows)
{
    const struct convolution_shape *s = plan->shape;
    struct direct *d = plan->direct;
    struct direct_border *b = &d->conv.border;

    set_source(plan, s->c, s->h, s->w);
    if (s->pad > 0) {
        b->needed = true;
        b->top = b->left = (size_t)s->pad;
        b->height = (size_t)((s->p - 1) * s->stride + s->r);
        b->width = (size_t)((s->q - 1) * s->stride + s->s);
    }
    d->conv.n_classes = 1;
    set_forward_terms(plan, &d->classes[0]);
    set_forward_pixels(plan, &d->classes[0], rows);
    d->conv.w_out = d->classes[0].terms;
}

/* One dimension of a derivative by x: pixel h gets dy[(h + pad − r)/stride] from the r that leave
 * no remainder, r = first + j·stride. */
struct phase {
    size_t first, taps; /* r of j = 0, and how many j */
    size_t reach;       /* border before dy: the largest j of any phase */
};

static struct phase phase_of(const struct convolution_shape *s, int64_t h, int64_t size)
{
    size_t stride = (size_t)s->stride, first = (size_t)((h + s->pad) % s->stride);
    size_t n = (size_t)size;

    return (struct phase){.first = first,
                          .taps = first < n ? (n - 1 - first) / stride + 1 : 0,
                          .reach = (n - 1) / stride};
}

static void set_class_terms(struct plan *plan, struct direct_class *class, int64_t h, int64_t w)
{
    const struct convolution_shape *s = plan->shape;
    const struct direct_border *b = &plan->direct->conv.border;
    struct phase down = phase_of(s, h, s->r), right = phase_of(s, w, s->s);
    size_t taps = down.taps * right.taps, filter = (size_t)(s->c * s->r * s->s);
    size_t *x = take(plan, b->channels * taps), *by = take(plan, b->channels * taps);

    class->terms = b->channels * taps;
    for (size_t i = 0; i < class->terms; i++) {
        size_t k = i / taps, j = i % taps / right.taps, l = i % taps % right.taps;
        x[i] = k * plane(plan) + ((down.reach - j) * b->width + right.reach - l) * plan->lanes;
        by[i] = k * filter + (down.first + j * (size_t)s->stride) * (size_t)s->s + right.first +
                l * (size_t)s->stride;
    }
    class->term_x = complete(x, class->terms);
    class->term_w = complete(by, class->terms);
}

/* Pixels (h, w), (h, w + stride), … */
static void set_class_pixels(struct plan *plan, struct direct_class *class, int64_t h, int64_t w)
{
    const struct convolution_shape *s = plan->shape;
    const struct direct_border *b = &plan->direct->conv.border;
    size_t columns = (size_t)((s->w - w + s->stride - 1) / s->stride);
    size_t rows = (size_t)((s->h - h + s->stride - 1) / s->stride), n = 0;
    size_t *x = take(plan, rows * columns), *y = take(plan, rows * columns);

    for (int64_t i = h; i < s->h; i += s->stride)
        for (int64_t k = w; k < s->w; k += s->stride) {
            size_t row = (size_t)((i + s->pad) / s->stride);
            size_t column = (size_t)((k + s->pad) / s->stride);
            x[n] = (row * b->width + column) * plan->lanes;
            y[n++] = (size_t)(i * s->w + k) * plan->lanes;
        }
    class->pixels = n;
    class->pixel_x = complete(x, class->pixels);
    class->pixel_y = complete(y, class->pixels);
}

static void set_grad_x(struct plan *plan)
{
    const struct convolution_shape *s = plan->shape;
    struct direct *d = plan->direct;
    struct direct_border *b = &d->conv.border;
    int64_t down = (s->r - 1) / s->stride, right = (s->s - 1) / s->stride;

    set_source(plan, s->k, s->p, s->q);
    b->top = (size_t)down;
    b->left = (size_t)right;
    b->height = (size_t)(down + (s->h - 1 + s->pad) / s->stride + 1);
    b->width = (size_t)(right + (s->w - 1 + s->pad) / s->stride + 1);
    b->needed = b->height != b->from_height || b->width != b->from_width;
    d->conv.w_out = (size_t)(s->r * s->s);
    for (int64_t h = 0; h < s->stride && h < s->h; h++)
        for (int64_t w = 0; w < s->stride && w < s->w; w++) {
            struct direct_class *class = &d->classes[d->conv.n_classes++];
            set_class_terms(plan, class, h, w);
            set_class_pixels(plan, class, h, w);
        }
}

static void finish(struct plan *plan)
{
    const struct convolution_shape *s = plan->shape;
    struct direct *d = plan->direct;
    const struct direct_border *b = &d->conv.border;

    d->conv.classes = d->classes;
    d->conv.out_channels = (size_t)(d->direction == GRAD_X ? s->c : s->k);
    d->conv.out_pixels = (size_t)(d->direction == GRAD_X ? s->h * s->w : s->p * s->q);
    d->grad_w = (struct direct_grad_w){
        .k = (size_t)s->k, .y_plane = d->conv.out_pixels * plan->lanes, .class = d->classes[0]};
    if (b->needed)
        d->room_bytes = d->rows * b->channels * plane(plan) * sizeof(float);
}

/* No direction needs more: GRAD_X's classes divide the taps and the pixels among them. */
static size_t table_elements(const struct direct *d, const struct convolution_shape *s)
{
    size_t taps = (size_t)(s->r * s->s), channels = (size_t)(s->c > s->k ? s->c : s->k);
    size_t y = (size_t)(s->p * s->q) * d->rows, x = (size_t)(s->h * s->w);

    size_t classes = (size_t)(s->stride * s->stride);

    return 2 * (channels * taps + (y > x ? y : x)) + 4 * classes * DIRECT_TILE;
}

int cpu_direct_open(struct direct **out, size_t lanes, enum direction direction,
                    const struct convolution_shape *shape, struct err *err)
{
    struct direct *d = calloc(1, sizeof *d);
    struct plan plan = {.direct = d, .shape = shape, .lanes = lanes};

    if (!d)
        return err_no_memory(err);
    d->direction = direction;
    d->rows = ((size_t)shape->n + lanes - 1) / lanes;
    d->tables = plan.room = malloc(table_elements(d, shape) * sizeof *d->tables);
    d->classes = calloc((size_t)(shape->stride * shape->stride), sizeof *d->classes);
    if (!d->tables || !d->classes) {
        cpu_direct_close(d);
        return err_no_memory(err);
    }
    if (direction == GRAD_X)
        set_grad_x(&plan);
    else
        set_forward(&plan, direction == GRAD_W ? d->rows : 1);
    finish(&plan);
    *out = d;
    return 0;
}

void cpu_direct_close(struct direct *direct)
{
    if (!direct)
        return;
    free(direct->tables);
    free(direct->classes);
    free(direct);
}
