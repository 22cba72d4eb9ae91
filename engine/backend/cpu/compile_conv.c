/* Convolutions: which layout each operand has, and the commands around them. */
#include "backend/cpu/compile.h"
#include "base/array.h"

static bool keep(struct compiler *c, struct convolution *convolution)
{
    struct program *p = c->program;
    struct convolution **added =
        array_grow(&p->convolutions, (size_t)p->n_convolutions, sizeof(struct convolution *));

    if (!added) {
        cpu_convolution_close(convolution);
        c->code = err_no_memory(c->err);
        return false;
    }
    *added = convolution;
    p->n_convolutions++;
    return true;
}

static struct convolution *open_one(struct compiler *c, enum direction direction,
                                    const struct convolution_shape *shape)
{
    struct convolution *convolution = NULL;

    if (!c->code)
        c->code = cpu_convolution_open(&convolution, c->program, direction, shape, c->err);
    return c->code ? NULL : convolution;
}

/* Images with few channels are read as they come, where oneDNN has a kernel for it: padded to a
 * whole block they would be mostly zeros. */
static struct convolution *open_convolution(struct compiler *c, enum direction direction,
                                            struct convolution_shape *shape, int x)
{
    struct convolution *v = NULL;

    if (x >= 0 && compile_maker(c, x)->op == OP_INPUT && compile_find(c, x, FORM_BLOCKED) < 0 &&
        shape->c < (int64_t)c->program->cpu->kernels->lanes) {
        shape->dense_source = true;
        v = open_one(c, direction, shape);
        if (v && cpu_convolution_is_slow(v)) {
            cpu_convolution_close(v);
            v = NULL;
        }
    }
    if (!v && !c->code) {
        shape->dense_source = false;
        v = open_one(c, direction, shape);
    }
    if (v && cpu_convolution_is_slow(v))
        c->program->slow = true;
    return v && keep(c, v) ? v : NULL;
}

static void compile_forward(struct compiler *c, const struct node *node)
{
    int x = node->input[0], w = node->input[1], y = node->output[0];
    const struct value *values = c->graph->values;
    struct convolution_shape shape = cpu_conv_shape(c->graph, node, x, w, y);
    struct command command = {.run = cpu_run_conv, .what = "conv", .in_place = -1};
    const struct packing *packing;
    struct convolution *v;

    if (c->onto[c->node] < 0 && compile_winograd(c, node, FORWARD, &shape))
        return;
    shape.onto = c->onto[c->node] >= 0;
    v = open_convolution(c, FORWARD, &shape, x);
    if (!v)
        return;
    packing = compile_packing(c, cpu_convolution_weights(v), &values[w].shape, false);
    command.convolution = v;
    command.in[command.n_in++] = compile_read(c, x, shape.dense_source ? FORM_DENSE : FORM_BLOCKED);
    command.in[command.n_in++] = compile_read_packed(c, w, packing);
    compile_result(c, &command, y, FORM_BLOCKED);
    command.out[command.n_out++] = compile_scratch(c, cpu_convolution_scratch_bytes(v));
    compile_emit(c, &command);
}

/* With stride 1 the derivative by x is a convolution itself, of dy with the weights turned by half
 * a turn; and oneDNN's convolutions can add to their result, where its derivatives cannot. */
bool compile_turns(const struct compiler *c, const struct node *node)
{
    const struct shape *w = &c->graph->values[node->input[1]].shape;

    return node->attr.stride == 1 && w->dim[2] == w->dim[3] && node->attr.pad < w->dim[2];
}

static struct convolution_shape turned(const struct convolution_shape *s)
{
    return (struct convolution_shape){.n = s->n,
                                      .c = s->k,
                                      .h = s->p,
                                      .w = s->q,
                                      .k = s->c,
                                      .r = s->r,
                                      .s = s->s,
                                      .p = s->h,
                                      .q = s->w,
                                      .stride = 1,
                                      .pad = (int)s->r - 1 - s->pad,
                                      .onto = true};
}

static void compile_turned(struct compiler *c, const struct node *node,
                           const struct convolution_shape *grad_x)
{
    int dy = node->input[0], w = node->input[1], dx = node->output[0];
    struct convolution_shape shape = turned(grad_x);
    struct convolution *v = open_convolution(c, FORWARD, &shape, -1);
    struct command command = {.run = cpu_run_conv, .what = "conv_grad_x, turned", .in_place = -1};
    const struct packing *packing;

    if (!v)
        return;
    packing = compile_packing(c, cpu_convolution_weights(v), &c->graph->values[w].shape, true);
    command.convolution = v;
    command.in[command.n_in++] = compile_read(c, dy, FORM_BLOCKED);
    command.in[command.n_in++] = compile_read_packed(c, w, packing);
    compile_result(c, &command, dx, FORM_BLOCKED);
    command.out[command.n_out++] = compile_scratch(c, cpu_convolution_scratch_bytes(v));
    compile_emit(c, &command);
}

static void compile_grad_x(struct compiler *c, const struct node *node)
{
    int dy = node->input[0], w = node->input[1], dx = node->output[0];
    const struct value *values = c->graph->values;
    struct convolution_shape shape = cpu_conv_shape(c->graph, node, dx, w, dy);
    struct command command = {.run = cpu_run_conv_grad_x, .what = "conv_grad_x", .in_place = -1};
    const struct packing *packing;
    struct convolution *v;

    if (c->onto[c->node] >= 0) {
        compile_turned(c, node, &shape);
        return;
    }
    if (compile_winograd(c, node, GRAD_X, &shape))
        return;
    v = open_convolution(c, GRAD_X, &shape, -1);
    if (!v)
        return;
    packing = compile_packing(c, cpu_convolution_weights(v), &values[w].shape, false);
    command.convolution = v;
    command.in[command.n_in++] = compile_read(c, dy, FORM_BLOCKED);
    command.in[command.n_in++] = compile_read_packed(c, w, packing);
    command.out[command.n_out++] = compile_write(c, dx, FORM_BLOCKED);
    command.out[command.n_out++] = compile_scratch(c, cpu_convolution_scratch_bytes(v));
    compile_emit(c, &command);
}

/* Where products of rows beat oneDNN's own derivative by the weights. Measured (AVX-512, one
 * thread, 512 channels): 2×2 pixels, batch 128: 9.5 against 63 ms; 3×3, batch 64: 13 against 30. */
#define FEW_PIXELS   9
#define ROW_CHANNELS 64

static bool is_by_rows(const struct convolution_shape *s)
{
    return s->p * s->q <= FEW_PIXELS && s->r * s->s > 1 && s->c >= ROW_CHANNELS &&
           s->k >= ROW_CHANNELS;
}

static void compile_rows_grad_w(struct compiler *c, const struct node *node,
                                const struct convolution_shape *s)
{
    struct command command = {
        .run = cpu_run_rows_grad_w, .what = "conv_grad_w by rows", .in_place = -1, .conv = *s};
    size_t n = (size_t)s->n * sizeof(float);

    command.in[command.n_in++] = compile_read(c, node->input[0], FORM_BLOCKED);
    command.in[command.n_in++] = compile_read(c, node->input[1], FORM_BLOCKED);
    compile_result(c, &command, node->output[0], FORM_DENSE);
    command.out[command.n_out++] = compile_scratch(c, (size_t)(s->c * s->h * s->w) * n);
    command.out[command.n_out++] = compile_scratch(c, (size_t)(s->k * s->p * s->q) * n);
    command.out[command.n_out++] =
        compile_scratch(c, (size_t)(s->k * s->c * s->r * s->s) * sizeof(float));
    compile_emit(c, &command);
}

/* At once, while it is in the cache. */
static void unpack(struct compiler *c, int dw, int packed, const struct packing *packing)
{
    struct command command = {.run = cpu_run_unpack,
                              .what = "unpack",
                              .n_in = 1,
                              .in = {packed},
                              .in_place = -1,
                              .packing = packing};

    compile_result(c, &command, dw, FORM_DENSE);
    compile_emit(c, &command);
}

static void compile_grad_w(struct compiler *c, const struct node *node)
{
    int x = node->input[0], dy = node->input[1], dw = node->output[0];
    const struct value *values = c->graph->values;
    struct convolution_shape shape = cpu_conv_shape(c->graph, node, x, dw, dy);
    struct command command = {.run = cpu_run_conv_grad_w, .what = "conv_grad_w", .in_place = -1};
    const struct packing *packing;
    struct convolution *v;

    if (is_by_rows(&shape)) {
        compile_rows_grad_w(c, node, &shape);
        return;
    }
    if (c->onto[c->node] < 0 && compile_winograd(c, node, GRAD_W, &shape))
        return;
    v = open_convolution(c, GRAD_W, &shape, x);
    if (!v)
        return;
    packing = compile_packing(c, cpu_convolution_weights(v), &values[dw].shape, false);
    command.convolution = v;
    command.in[command.n_in++] = compile_read(c, x, shape.dense_source ? FORM_DENSE : FORM_BLOCKED);
    command.in[command.n_in++] = compile_read(c, dy, FORM_BLOCKED);
    command.out[command.n_out++] = compile_write_packed(c, dw, packing);
    command.out[command.n_out++] = compile_scratch(c, cpu_convolution_scratch_bytes(v));
    compile_emit(c, &command);
    unpack(c, dw, command.out[0], packing);
}

void compile_conv(struct compiler *c, const struct node *node)
{
    if (c->program->by_image)
        compile_direct(c, node);
    else if (node->op == OP_CONV)
        compile_forward(c, node);
    else if (node->op == OP_CONV_GRAD_X)
        compile_grad_x(c, node);
    else
        compile_grad_w(c, node);
}
