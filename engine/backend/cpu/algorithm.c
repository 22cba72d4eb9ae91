#include "backend/cpu/algorithm.h"

#include <math.h>

#include "base/cleanup.h"

/* Winograd's F(4×4, 3×3) does a quarter of the multiplications, in tiles of 4×4 results, but has
 * the weights and each tile to transform. Measured against oneDNN's direct algorithm (2.6.3,
 * AVX-512, one and two threads, 16 to 512 channels, images from 2×2 to 32×32, batches of 16 to
 * 128), its share of the direct algorithm's time is about (floor + by_tile/tiles)/filled, where
 * `filled` is how much of the tiles lies within the images.
 *
 * Ours keeps all of the weights' points in the cache of a core, oneDNN's works on blocks of them.
 * Time of ours over oneDNN's, by channels and pixels, batch 128: 32, 16×16 0.72; 64, 8×8 0.73; 64,
 * 32×32 0.74; 128, 4×4 0.75; 128, 16×16 0.85; 256, 8×8 0.68; 512, 4×4 0.9. Derivatives by the
 * weights: 32, 16×16 0.84; 64, 8×8 0.9; 64, 32×32 0.88; 128, 16×16 1.02; 512, 4×4 1.02. */
static const struct {
    int64_t channels; /* the smaller of input and output channels, from here on */
    double floor, by_tile[3];
} winograd_cost[] = {
    {48, 0.50, {[FORWARD] = 26, [GRAD_X] = 32, [GRAD_W] = 20}},
    {16, 0.66, {[FORWARD] = 26, [GRAD_X] = 26, [GRAD_W] = 40}},
};
#define OWN_WINOGRAD_POINTS        (300 * 300) /* most channels of x times channels of y */
#define OWN_WINOGRAD_GRAD_W_POINTS (64 * 64)

/* The formula is good to a tenth; within that the more accurate algorithm is taken. */
#define WINOGRAD_BELOW 0.95

static int64_t round_up(int64_t n, size_t multiple)
{
    int64_t m = (int64_t)multiple;

    return (n + m - 1) / m * m;
}

double cpu_winograd_share(enum direction direction, const struct convolution_shape *s, size_t lanes)
{
    bool from_y = direction != GRAD_X; /* whose 4×4 results the tiles are */
    double h = (double)(from_y ? s->p : s->h), w = (double)(from_y ? s->q : s->w);
    double image_tiles = ceil(h / 4) * ceil(w / 4), filled = h * w / (16 * image_tiles);
    double tiles = (double)s->n * image_tiles;
    int64_t fewer = s->c < s->k ? s->c : s->k, channels = round_up(fewer, lanes);

    if (2 * fewer < channels || s->r != 3 || s->s != 3 || s->stride != 1 || s->pad > 1)
        return INFINITY;
    for (size_t i = 0; i < ARRAY_LENGTH(winograd_cost); i++)
        if (channels >= winograd_cost[i].channels)
            return (winograd_cost[i].floor + winograd_cost[i].by_tile[direction] / tiles) / filled;
    return INFINITY;
}

enum algorithm cpu_algorithm(const struct program *program, enum direction direction,
                             const struct convolution_shape *s)
{
    int64_t most = direction == GRAD_W ? OWN_WINOGRAD_GRAD_W_POINTS : OWN_WINOGRAD_POINTS;
    struct convolution_shape whole = *s;
    double share;

    if (program->chosen_for != program->samples)
        whole.n = program->chosen_for;
    share = cpu_winograd_share(direction, &whole, program->cpu->kernels->lanes);

    if (program->exact || share >= WINOGRAD_BELOW)
        return ALGORITHM_DIRECT;
    return s->pad == 1 && s->c * s->k <= most ? ALGORITHM_WINOGRAD : ALGORITHM_ONEDNN_WINOGRAD;
}

struct convolution_shape cpu_conv_shape(const struct graph *graph, const struct node *node, int x,
                                        int w, int y)
{
    const struct shape *image = &graph->values[x].shape, *filters = &graph->values[w].shape;
    const struct shape *result = &graph->values[y].shape;

    return (struct convolution_shape){.n = image->dim[0],
                                      .c = image->dim[1],
                                      .h = image->dim[2],
                                      .w = image->dim[3],
                                      .k = filters->dim[0],
                                      .r = filters->dim[2],
                                      .s = filters->dim[3],
                                      .p = result->dim[2],
                                      .q = result->dim[3],
                                      .stride = node->attr.stride,
                                      .pad = node->attr.pad};
}

/* Multiply-adds of a graph's way forward: of convolutions and linear layers as they are, and of
 * convolutions as each layout does them. */
struct work {
    double plain;
    double by_channel; /* channels in whole blocks; less where Winograd saves some */
    double by_image;   /* images in whole rows */
};

static void add_work(struct work *work, const struct program *p, const struct node *node)
{
    struct convolution_shape s =
        cpu_conv_shape(p->graph, node, node->input[0], node->input[1], node->output[0]);
    size_t lanes = p->cpu->kernels->lanes;
    double one = (double)(s.r * s.s * s.p * s.q), plain = one * (double)(s.n * s.c * s.k);
    bool winograd = cpu_algorithm(p, FORWARD, &s) != ALGORITHM_DIRECT;
    bool images = p->graph->nodes[p->graph->values[node->input[0]].node].op == OP_INPUT;
    double channels = (double)((images ? s.c : round_up(s.c, lanes)) * round_up(s.k, lanes));

    work->plain += plain;
    work->by_channel +=
        one * (double)s.n * channels * (winograd ? cpu_winograd_share(FORWARD, &s, lanes) : 1);
    work->by_image += plain * (double)round_up(s.n, lanes) / (double)s.n;
}

/* A row of weights for each number of the result. */
static double linear_work(const struct program *p, const struct node *node)
{
    const struct shape *w = &p->graph->values[node->input[1]].shape;
    const struct shape *y = &p->graph->values[node->output[0]].shape;

    return (double)shape_elements(y) * (double)(shape_elements(w) / w->dim[0]);
}

/* Tangents, which come after the first direction, are not counted: a loss has the layout and the
 * threads that it has without them. */
static struct work work_of(const struct program *p)
{
    struct work work = {0};

    for (int i = 0; i < p->graph->n_nodes; i++) {
        const struct node *node = &p->graph->nodes[i];

        if (node->op == OP_DIRECTION)
            break;
        if (node->op == OP_CONV)
            add_work(&work, p, node);
        else if (node->op == OP_LINEAR)
            work.plain += linear_work(p, node);
    }
    return work;
}

/* Our direct convolutions by image reach about 1/1.15 of the speed of oneDNN's by channel. Measured
 * on nets of 8, 12, 16, 24 and 32 channels, images of 8×8, 28×28 and 32×32, batches of 30 to 128:
 * time by image over time by channel is 0.6, 0.8 to 1.0, 1.1 to 1.5, 0.8 to 1.2, 1.1 to 1.9. */
#define BY_IMAGE_COST 1.15

/* A pass over fewer multiply-adds (a millisecond or so, one way) is done by one thread: a second
 * one brings a tenth or two where cores are idle, and costs milliseconds where they are not. */
#define ONE_THREAD_BELOW 2e7

/* Two passes side by side, each with half of the threads, against one after the other with all, two
 * threads, m-RWP: resnet width 8, [1,1,1], 8×8, batch 30: 0.39 against 0.75 ms (both with one
 * thread a pass); width 16: 1.3 against 1.7; width 32: 4.7 against 5.2; 28×28, batch 128, width 8:
 * 23 against 26; width 16: 58 against 61; ResNet-18, batch 128, width 16: 174 against 180; width
 * 32: 498 against 503; width 64: 1590 against 1575. */
#define SIDE_BY_SIDE_BELOW 1e10

/* ThreadSanitizer does not see the barriers of an OpenMP runtime that was built without it. Its
 * builds give each program one thread, and check what they can: two programs side by side. */
#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN true
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN true
#endif
#endif
#ifndef UNDER_TSAN
#define UNDER_TSAN false
#endif

static bool wants_images(const struct cpu_backend *cpu, enum cpu_layout layout,
                         const struct work *work)
{
    if (layout != CPU_LAYOUT_BEST)
        return layout == CPU_LAYOUT_BY_IMAGE;
    return !cpu->kernels->blocked || work->by_image * BY_IMAGE_COST < work->by_channel;
}

void cpu_choose(struct program *p, enum cpu_layout layout, int side_by_side)
{
    struct work work = work_of(p);
    int threads = p->cpu->threads;
    bool small = work.plain < ONE_THREAD_BELOW;
    bool pair = side_by_side > 1 && threads > 1;

    p->by_image = wants_images(p->cpu, layout, &work);
    p->beside = pair && (small || (work.plain < SIDE_BY_SIDE_BELOW && threads % 2 == 0));
    p->threads = small ? 1 : p->beside ? threads / 2 : threads;
    if (UNDER_TSAN)
        p->threads = 1;
}
