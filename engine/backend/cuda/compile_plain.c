/* Elementwise operations, sums over rows, pooling. */
#include "backend/cuda/compile.h"

/* The form in which an elementwise operation is done: as images where one of its operands is one
 * already, as floats where all are, else as rows of the compute type. */
static void choose_form(const struct compiler *c, const struct node *node, enum order *order,
                        enum element *type)
{
    bool floats = true, filters = true;

    *order = ORDER_DENSE;
    *type = c->program->type;
    for (int i = 0; i < node->n_inputs; i++) {
        if (gpu_find(c, node->input[i], ORDER_IMAGE, *type) >= 0) {
            *order = ORDER_IMAGE;
            return;
        }
        floats = floats && gpu_find(c, node->input[i], ORDER_DENSE, ELEMENT_F32) >= 0;
        filters = filters && gpu_find(c, node->input[i], ORDER_FILTER, *type) >= 0;
    }
    if (filters) {
        *order = ORDER_FILTER;
        return;
    }
    if (floats)
        *type = ELEMENT_F32;
}

static int64_t elements(const struct compiler *c, int value, enum order order)
{
    const struct shape *s = &c->graph->values[value].shape;

    if (order == ORDER_DENSE)
        return shape_elements(s);
    if (order == ORDER_FILTER)
        return stored_channels(s->dim[0]) * s->dim[2] * s->dim[3] * gpu_channels(c, value);
    return gpu_pixels(c, value) * gpu_channels(c, value);
}

void gpu_elementwise(struct compiler *c, const struct node *node, command_run *run)
{
    struct command command = gpu_command(node, run);
    enum order order;
    enum element type;

    choose_form(c, node, &order, &type);
    for (int i = 0; i < node->n_inputs; i++)
        command.in[command.n_in++] = gpu_read(c, node->input[i], order, type);
    command.in_place = 0;
    command.in_place_of = command.n_in;
    command.u.elementwise =
        (struct elementwise){.type = type, .n = elements(c, node->output[0], order)};
    command.out[command.n_out++] = gpu_write(c, node->output[0], order, type);
    gpu_emit(c, &command);
}

void gpu_relu(struct compiler *c, const struct node *node)
{
    int x = node->input[0];
    const struct node *maker = gpu_maker(c, x);

    if (gpu_is_pending_norm(c, x)) {
        gpu_apply(c, node->output[0], x, -1, true);
    } else if (maker->op == OP_ADD && gpu_is_absorbed(c, x)) {
        int first = gpu_is_pending_norm(c, maker->input[0]) ? 0 : 1;

        gpu_apply(c, node->output[0], maker->input[first], maker->input[1 - first], true);
    } else {
        gpu_elementwise(c, node, cuda_run_relu);
    }
}

void gpu_add(struct compiler *c, const struct node *node)
{
    int a = node->input[0], b = node->input[1];

    if (gpu_is_pending_norm(c, a))
        gpu_apply(c, node->output[0], a, b, false);
    else if (gpu_is_pending_norm(c, b))
        gpu_apply(c, node->output[0], b, a, false);
    else
        gpu_elementwise(c, node, cuda_run_add);
}

void gpu_dropout(struct compiler *c, const struct node *node)
{
    struct command command = gpu_command(node, cuda_run_dropout);
    const struct shape *s = &c->graph->values[node->input[0]].shape;
    int64_t d = s->dim[s->rank - 1];
    enum order order;
    enum element type;

    choose_form(c, node, &order, &type);
    command.n_in = command.n_out = 1;
    command.in[0] = gpu_read(c, node->input[0], order, type);
    command.out[0] = gpu_write(c, node->output[0], order, type);
    command.in_place = 0;
    command.in_place_of = 1;
    command.u.dropout = (struct dropout){.type = type,
                                         .n = shape_elements(s) / d,
                                         .plane = 1,
                                         .c = d,
                                         .channels = d,
                                         .rate = node->attr.rate,
                                         .index = (uint32_t)node->attr.index};
    if (order == ORDER_IMAGE) {
        command.u.dropout.n = s->dim[0];
        command.u.dropout.plane = s->rank == 4 ? s->dim[2] * s->dim[3] : 1;
        command.u.dropout.c = gpu_channels(c, node->input[0]);
        command.u.dropout.channels = s->dim[1];
    }
    gpu_emit(c, &command);
}

/* Sums over rows: of images to channels, of rows to features, of samples to one. */
void gpu_sum(struct compiler *c, const struct node *node)
{
    struct command command = gpu_command(node, cuda_run_sum_rows);
    int dy = node->input[0];
    bool image = node->op == OP_SUM_CHANNELS;
    struct sum_rows *sum = &command.u.sum_rows;

    command.n_in = command.n_out = 1;
    command.in[0] = image ? gpu_image(c, dy) : gpu_any_rows(c, dy);
    command.out[0] = gpu_write(c, node->output[0], ORDER_DENSE, ELEMENT_F32);
    sum->type = gpu_type(c, command.in[0]);
    sum->c = image ? gpu_channels(c, dy) : shape_elements(&c->graph->values[node->output[0]].shape);
    sum->rows = image ? gpu_pixels(c, dy) : shape_elements(&c->graph->values[dy].shape) / sum->c;
    command.workspace_bytes = sum_rows_workspace(sum->rows, sum->c) * sizeof(float);
    gpu_emit(c, &command);
}

void gpu_bias(struct compiler *c, const struct node *node)
{
    struct command command = gpu_command(node, cuda_run_add_row);
    int x = node->input[0];

    command.n_in = 2;
    command.n_out = 1;
    command.in[0] = gpu_image(c, x);
    command.in[1] = gpu_floats(c, node->input[1]);
    command.out[0] = gpu_new_image(c, node->output[0]);
    command.in_place = 0;
    command.in_place_of = 1;
    command.u.add_row = (struct add_row){
        .type = c->program->type, .rows = gpu_pixels(c, x), .c = gpu_channels(c, x)};
    gpu_emit(c, &command);
}

void gpu_global_pool(struct compiler *c, const struct node *node)
{
    bool forward = node->op == OP_GLOBAL_AVG_POOL;
    int image = forward ? node->input[0] : node->output[0];
    int mean = forward ? node->output[0] : node->input[0];
    const struct shape *s = &c->graph->values[image].shape;
    enum order order = s->dim[1] % CHANNEL_BLOCK ? ORDER_IMAGE : ORDER_DENSE;
    struct command command =
        gpu_command(node, forward ? cuda_run_global_pool : cuda_run_global_pool_grad);

    command.n_in = command.n_out = 1;
    command.in[0] = forward ? gpu_image(c, image) : gpu_read(c, mean, order, c->program->type);
    command.out[0] =
        forward ? gpu_write(c, mean, order, c->program->type) : gpu_new_image(c, image);
    command.u.global_pool = (struct global_pool){.type = c->program->type,
                                                 .n = s->dim[0],
                                                 .plane = s->dim[2] * s->dim[3],
                                                 .c = gpu_channels(c, image)};
    gpu_emit(c, &command);
}

static struct max_pool pool_of(const struct compiler *c, const struct node *node, int x, int y)
{
    const struct shape *from = &c->graph->values[x].shape, *to = &c->graph->values[y].shape;

    return (struct max_pool){.type = c->program->type,
                             .n = from->dim[0],
                             .h = from->dim[2],
                             .w = from->dim[3],
                             .c = gpu_channels(c, x),
                             .p = to->dim[2],
                             .q = to->dim[3],
                             .size = node->attr.k,
                             .stride = node->attr.stride,
                             .pad = node->attr.pad};
}

/* The places of maxima that an earlier command has kept for this derivative, or -1. */
static int kept_places(const struct compiler *c, const struct max_pool *pool, int x)
{
    const struct program *p = c->program;

    for (int i = 0; i < p->n_commands; i++) {
        const struct command *at = &p->commands[i];

        if (at->run == cuda_run_max_pool && at->in[0] == x && at->u.max_pool.size == pool->size &&
            at->u.max_pool.stride == pool->stride && at->u.max_pool.pad == pool->pad)
            return at->out[1];
    }
    return -1;
}

/* With y = -1 the places alone. Returns the places' slot. */
static int emit_max_pool(struct compiler *c, const struct node *node, struct max_pool pool, int x,
                         int y)
{
    struct command command = gpu_command(node, cuda_run_max_pool);

    command.n_in = 1;
    command.n_out = 2;
    command.in[0] = x;
    command.out[0] = y;
    command.out[1] = gpu_bytes(c, (size_t)(pool.n * pool.p * pool.q * pool.c));
    command.u.max_pool = pool;
    gpu_emit(c, &command);
    return command.out[1];
}

void gpu_max_pool(struct compiler *c, const struct node *node)
{
    bool forward = node->op == OP_MAX_POOL, tangent = node->op == OP_MAX_POOL_TANGENT;
    int x = node->input[forward ? 0 : 1];
    int y = forward || tangent ? node->output[0] : node->input[0];
    struct max_pool pool = pool_of(c, node, x, y);
    struct command command = gpu_command(node, cuda_run_max_pool_grad);
    int image = gpu_image(c, x), places;

    if (pool.size > 15 && !c->code)
        c->code = err_set(c->err, ERR_UNSUPPORTED,
                          "the CUDA backend has no max_pool with windows of more than 15 pixels");
    if (forward) {
        emit_max_pool(c, node, pool, image, gpu_new_image(c, y));
        return;
    }
    places = kept_places(c, &pool, image);
    if (places < 0)
        places = emit_max_pool(c, node, pool, image, -1);
    command.n_in = 2;
    command.n_out = 1;
    if (tangent)
        command.run = cuda_run_max_pool_tangent;
    command.in[0] = gpu_image(c, node->input[0]);
    command.in[1] = places;
    command.out[0] = gpu_new_image(c, node->output[0]);
    command.u.max_pool = pool;
    gpu_emit(c, &command);
}
