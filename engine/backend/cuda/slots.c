/* Values in their forms, and conversions between forms. All go by way of dense floats. */
#include "backend/cuda/compile.h"
#include "base/array.h"

int gpu_slot(struct compiler *c, const struct slot *slot)
{
    struct program *p = c->program;
    size_t elements = slot->bytes / element_bytes(slot->type);
    struct slot *added;

    if (elements > UINT32_MAX) { /* kernels count in 32 bits (kernels/kernels.h) */
        if (!c->code)
            c->code = err_set(c->err, ERR_UNSUPPORTED,
                              "the CUDA backend has no arrays of %zu elements: the batch is too "
                              "large for this model",
                              elements);
        return -1;
    }
    added = array_grow(&p->slots, (size_t)p->n_slots, sizeof *added);
    if (!added) {
        c->code = err_no_memory(c->err);
        return -1;
    }
    *added = *slot;
    return p->n_slots++;
}

void gpu_emit(struct compiler *c, const struct command *command)
{
    struct program *p = c->program;
    struct command *added;

    if (c->code)
        return;
    added = array_grow(&p->commands, (size_t)p->n_commands, sizeof *added);
    if (!added) {
        c->code = err_no_memory(c->err);
        return;
    }
    *added = *command;
    p->n_commands++;
}

enum element gpu_type(const struct compiler *c, int slot)
{
    return slot < 0 ? ELEMENT_F32 : c->program->slots[slot].type;
}

static const struct shape *shape_of_value(const struct compiler *c, int value)
{
    return &c->graph->values[value].shape;
}

int64_t gpu_channels(const struct compiler *c, int value)
{
    return stored_channels(shape_of_value(c, value)->dim[1]);
}

int64_t gpu_pixels(const struct compiler *c, int value)
{
    const struct shape *s = shape_of_value(c, value);

    return s->rank == 4 ? s->dim[0] * s->dim[2] * s->dim[3] : s->dim[0];
}

/* Vectors have room for the channels that images have beside their own. */
static size_t bytes_of(const struct compiler *c, int value, enum order order, enum element type)
{
    const struct shape *s = shape_of_value(c, value);
    int64_t n = shape_elements(s);

    if (order == ORDER_DENSE)
        n = s->rank == 1 ? stored_channels(n) : n;
    else if (order == ORDER_IMAGE)
        n = gpu_pixels(c, value) * gpu_channels(c, value);
    else
        n = stored_channels(s->dim[0]) * s->dim[2] * s->dim[3] * gpu_channels(c, value);
    return (size_t)n * element_bytes(type);
}

static int source(struct compiler *c, int value)
{
    const struct node *node = gpu_maker(c, value);
    struct slot slot = {.value = value, .type = ELEMENT_F32, .index = node->attr.index};

    if (node->op == OP_PARAM || node->op == OP_DIRECTION)
        return -1; /* made by gpu_params */
    slot.place = node->op == OP_INPUT ? PLACE_INPUT : PLACE_STATE;
    slot.bytes = bytes_of(c, value, ORDER_DENSE, ELEMENT_F32);
    return gpu_slot(c, &slot);
}

int gpu_find(const struct compiler *c, int value, enum order order, enum element type)
{
    const struct program *p = c->program;

    for (int i = 0; i < p->n_slots; i++)
        if (p->slots[i].value == value && p->slots[i].order == order && p->slots[i].type == type)
            return i;
    return -1;
}

int gpu_write(struct compiler *c, int value, enum order order, enum element type)
{
    struct slot slot = {.value = value, .order = order, .type = type};
    int param = c->gradient_of[value], output = c->output_of[value];

    slot.bytes = bytes_of(c, value, order, type);
    if (param >= 0 && order != ORDER_IMAGE) {
        bool filter = gpu_maker(c, value)->op == OP_CONV_GRAD_W;

        if (filter ? order == ORDER_FILTER : order == ORDER_DENSE && type == ELEMENT_F32) {
            slot.place = PLACE_GRADIENT;
            slot.index = param;
        }
    } else if (output >= 0 && order == ORDER_DENSE && type == ELEMENT_F32) {
        slot.place = PLACE_OUTPUT;
        slot.index = output;
    }
    return gpu_slot(c, &slot);
}

int gpu_bytes(struct compiler *c, size_t bytes)
{
    return gpu_slot(
        c, &(struct slot){.value = -1, .order = ORDER_BYTES, .type = ELEMENT_F32, .bytes = bytes});
}

/* Rank-2 values are images of one pixel. */
static struct reorder reordering(const struct compiler *c, int value, enum element type)
{
    const struct shape *s = shape_of_value(c, value);

    return (struct reorder){.type = type,
                            .n = s->dim[0],
                            .channels = s->dim[1],
                            .plane = s->rank == 4 ? s->dim[2] * s->dim[3] : 1,
                            .c = gpu_channels(c, value)};
}

static int convert(struct compiler *c, int from, int to, command_run *run, struct command command)
{
    command.run = run;
    command.what = run == cuda_run_cast ? "cast" : "reorder";
    command.n_in = command.n_out = 1;
    command.in[0] = from;
    command.out[0] = to;
    command.in_place = -1;
    command.moments = -1;
    gpu_emit(c, &command);
    return to;
}

static int cast(struct compiler *c, int value, int from, enum element type)
{
    struct command command = {.u.cast = {.from = gpu_type(c, from),
                                         .to = type,
                                         .n = shape_elements(shape_of_value(c, value))}};

    return convert(c, from, gpu_write(c, value, ORDER_DENSE, type), cuda_run_cast, command);
}

static int to_floats(struct compiler *c, int value)
{
    enum element type = c->program->type;
    int from = gpu_find(c, value, ORDER_IMAGE, type);
    struct command command = {0};

    if (from < 0)
        from = gpu_find(c, value, ORDER_FILTER, type);
    if (from >= 0) {
        command.u.reorder = reordering(c, value, type);
        return convert(c, from, gpu_write(c, value, ORDER_DENSE, ELEMENT_F32), cuda_run_to_nchw,
                       command);
    }
    from = gpu_find(c, value, ORDER_DENSE, ELEMENT_BF16);
    if (from >= 0)
        return cast(c, value, from, ELEMENT_F32);
    if (!c->code)
        c->code = err_set(c->err, ERR_INTERNAL,
                          "the CUDA backend reads a value of %s before it "
                          "was computed",
                          op_name(gpu_maker(c, value)->op));
    return -1;
}

int gpu_read(struct compiler *c, int value, enum order order, enum element type)
{
    int slot = gpu_find(c, value, order, type);
    struct command command = {0};

    if (slot >= 0 || c->code)
        return slot;
    if (gpu_maker(c, value)->n_inputs == 0 && gpu_find(c, value, ORDER_DENSE, ELEMENT_F32) < 0 &&
        source(c, value) >= 0)
        return gpu_read(c, value, order, type);
    if (order == ORDER_DENSE && type == ELEMENT_F32)
        return to_floats(c, value);
    slot = gpu_read(c, value, ORDER_DENSE, ELEMENT_F32);
    if (c->code)
        return -1;
    if (order == ORDER_DENSE)
        return cast(c, value, slot, type);
    command.u.reorder = reordering(c, value, type);
    return convert(c, slot, gpu_write(c, value, order, type), cuda_run_from_nchw, command);
}

int gpu_image(struct compiler *c, int value)
{
    return gpu_read(c, value, ORDER_IMAGE, c->program->type);
}

int gpu_new_image(struct compiler *c, int value)
{
    return gpu_write(c, value, ORDER_IMAGE, c->program->type);
}

int gpu_rows(struct compiler *c, int value)
{
    return gpu_read(c, value, ORDER_DENSE, c->program->type);
}

int gpu_floats(struct compiler *c, int value)
{
    return gpu_read(c, value, ORDER_DENSE, ELEMENT_F32);
}

int gpu_any_rows(struct compiler *c, int value)
{
    int slot = gpu_find(c, value, ORDER_DENSE, ELEMENT_F32);

    if (slot < 0)
        slot = gpu_find(c, value, ORDER_DENSE, c->program->type);
    return slot < 0 ? gpu_rows(c, value) : slot;
}

int gpu_labels(struct compiler *c, int value)
{
    return gpu_floats(c, value); /* as wide, and never converted */
}
