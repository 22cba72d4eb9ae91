/* Slots and the conversions between forms. A value is converted at most once into each form. */
#include "backend/cpu/compile.h"
#include "base/array.h"

static const struct shape *shape_of_value(const struct compiler *c, int value)
{
    return &c->graph->values[value].shape;
}

struct activation compile_activation(const struct compiler *c, int value)
{
    const struct shape *s = shape_of_value(c, value);
    size_t lanes = c->program->cpu->kernels->lanes;
    size_t images = (size_t)s->dim[0], channels = (size_t)s->dim[1];
    size_t pixels = (size_t)(s->dim[2] * s->dim[3]);

    if (c->program->by_image)
        return (struct activation){.images = (images + lanes - 1) / lanes,
                                   .blocks = channels,
                                   .pixels = pixels,
                                   .tail = (images - 1) % lanes + 1,
                                   .by_image = true};
    return (struct activation){.images = images,
                               .blocks = (channels + lanes - 1) / lanes,
                               .pixels = pixels,
                               .tail = lanes};
}

static size_t form_bytes(const struct compiler *c, int value, enum form form)
{
    size_t lanes = c->program->cpu->kernels->lanes;
    struct activation a;

    if (form == FORM_DENSE)
        return (size_t)shape_elements(shape_of_value(c, value)) * sizeof(float);
    a = compile_activation(c, value);
    if (form == FORM_COEF)
        return a.blocks * COEFS * lanes * sizeof(float);
    return a.images * a.blocks * a.pixels * lanes * sizeof(float);
}

static int add_slot(struct compiler *c, const struct slot *slot)
{
    struct program *p = c->program;
    struct slot *added;

    if (c->code)
        return -1;
    added = array_grow(&p->slots, (size_t)p->n_slots, sizeof *added);
    if (!added) {
        c->code = err_no_memory(c->err);
        return -1;
    }
    *added = *slot;
    return p->n_slots++;
}

static int find(const struct compiler *c, int value, enum form form, const struct packing *packing)
{
    for (int i = 0; i < c->program->n_slots; i++) {
        const struct slot *s = &c->program->slots[i];
        if (s->value == value && s->form == form && (!packing || s->packing == packing))
            return i;
    }
    return -1;
}

int compile_find(const struct compiler *c, int value, enum form form)
{
    return find(c, value, form, NULL);
}

/* Where a value's row-major form lies: sources and parameter gradients outside of the arena. */
static struct slot dense_slot(const struct compiler *c, int value)
{
    const struct node *maker = compile_maker(c, value);
    struct slot slot = {
        .value = value, .form = FORM_DENSE, .bytes = form_bytes(c, value, FORM_DENSE)};

    slot.index = maker->attr.index;
    if (maker->op == OP_INPUT) {
        slot.place = PLACE_INPUT;
    } else if (maker->op == OP_PARAM) {
        slot.place = PLACE_WEIGHTS;
    } else if (maker->op == OP_STATE) {
        slot.place = PLACE_STATES;
    } else if (maker->op == OP_DIRECTION) {
        slot.place = PLACE_DIRECTION;
    } else if (c->gradient_of[value] >= 0) {
        slot.place = PLACE_GRADIENT;
        slot.index = c->gradient_of[value];
    } else if (c->product_of[value] >= 0) {
        slot.place = PLACE_PRODUCT;
        slot.index = c->product_of[value];
    }
    return slot;
}

int compile_write(struct compiler *c, int value, enum form form)
{
    struct slot slot = {.value = value, .form = form};

    if (form == FORM_DENSE)
        slot = dense_slot(c, value);
    else
        slot.bytes = form_bytes(c, value, form);
    return add_slot(c, &slot);
}

int compile_result(struct compiler *c, struct command *command, int value, enum form form)
{
    int add = c->onto[c->node], sum, other, slot;
    struct slot dense;

    if (add < 0)
        return command->out[command->n_out++] = compile_write(c, value, form);
    sum = c->graph->nodes[add].output[0];
    other = c->graph->nodes[add].input[c->graph->nodes[add].input[0] == value ? 1 : 0];
    slot = compile_read(c, other, form);
    if (c->code)
        return -1;
    dense = dense_slot(c, sum);
    c->program->slots[slot].value = sum;
    if (form == FORM_DENSE) {
        c->program->slots[slot].place = dense.place;
        c->program->slots[slot].index = dense.index;
    }
    command->onto = true;
    command->in[command->n_in++] = slot;
    return command->out[command->n_out++] = slot;
}

int compile_write_packed(struct compiler *c, int value, const struct packing *packing)
{
    struct slot slot = {.value = value, .form = FORM_PACKED};

    if (c->code)
        return -1;
    slot.packing = packing;
    slot.bytes = packing->bytes;
    return add_slot(c, &slot);
}

int compile_scratch(struct compiler *c, size_t bytes)
{
    return bytes ? add_slot(c, &(struct slot){.value = -1, .form = FORM_SCRATCH, .bytes = bytes})
                 : -1;
}

/* A row-major slot from whatever there is. */
static int make_dense(struct compiler *c, int value)
{
    const struct node *maker = compile_maker(c, value);
    int packed = compile_find(c, value, FORM_PACKED),
        blocked = compile_find(c, value, FORM_BLOCKED);
    int dense = compile_write(c, value, FORM_DENSE);

    if (c->code || maker->n_inputs == 0)
        return dense;
    if (packed >= 0)
        compile_emit(c, &(struct command){.run = cpu_run_unpack,
                                          .what = "unpack",
                                          .n_in = 1,
                                          .in = {packed},
                                          .n_out = 1,
                                          .out = {dense},
                                          .in_place = -1,
                                          .packing = c->program->slots[packed].packing});
    else if (blocked >= 0)
        compile_emit(c, &(struct command){.run = cpu_run_to_dense,
                                          .what = "to_dense",
                                          .n_in = 1,
                                          .in = {blocked},
                                          .n_out = 1,
                                          .out = {dense},
                                          .in_place = -1,
                                          .shape = compile_activation(c, value),
                                          .channels = (size_t)shape_of_value(c, value)->dim[1]});
    else
        c->code = err_set(c->err, ERR_INTERNAL, "value %d is read before it is made", value);
    return dense;
}

static int make_blocked(struct compiler *c, int value)
{
    int dense = compile_read(c, value, FORM_DENSE);
    int blocked = compile_write(c, value, FORM_BLOCKED);

    if (!c->code)
        compile_emit(c, &(struct command){.run = cpu_run_to_blocked,
                                          .what = "to_blocked",
                                          .n_in = 1,
                                          .in = {dense},
                                          .n_out = 1,
                                          .out = {blocked},
                                          .in_place = -1,
                                          .shape = compile_activation(c, value),
                                          .channels = (size_t)shape_of_value(c, value)->dim[1]});
    return blocked;
}

int compile_read(struct compiler *c, int value, enum form form)
{
    int slot = compile_find(c, value, form);

    if (slot >= 0 || c->code)
        return slot;
    return form == FORM_DENSE ? make_dense(c, value) : make_blocked(c, value);
}

int compile_read_packed(struct compiler *c, int value, const struct packing *packing)
{
    int slot = c->code ? -1 : find(c, value, FORM_PACKED, packing), dense;

    if (slot >= 0 || c->code)
        return slot;
    dense = compile_read(c, value, FORM_DENSE);
    slot = compile_write_packed(c, value, packing);
    compile_emit(c, &(struct command){.run = cpu_run_pack,
                                      .what = "pack",
                                      .n_in = 1,
                                      .in = {dense},
                                      .n_out = 1,
                                      .out = {slot},
                                      .in_place = -1,
                                      .packing = packing});
    return slot;
}

enum form compile_common_form(const struct compiler *c, const int *values, int n)
{
    for (int i = 0; i < n; i++)
        if (shape_of_value(c, values[i])->rank == 4 &&
            compile_find(c, values[i], FORM_BLOCKED) >= 0)
            return FORM_BLOCKED;
    return FORM_DENSE;
}

void compile_emit(struct compiler *c, const struct command *command)
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
    added->node = c->node;
    p->n_commands++;
}

static bool same_packing(const struct packing *p, const dnnl_memory_desc_t *md,
                         const struct shape *dense, bool turned)
{
    return p->turned == turned && p->k == (size_t)dense->dim[0] && p->c == (size_t)dense->dim[1] &&
           dnnl_memory_desc_equal(&p->md, md);
}

const struct packing *compile_packing(struct compiler *c, const dnnl_memory_desc_t *md,
                                      const struct shape *dense, bool turned)
{
    struct program *p = c->program;
    struct packing **added;

    if (c->code)
        return NULL;
    for (int i = 0; i < p->n_packings; i++)
        if (same_packing(p->packings[i], md, dense, turned))
            return p->packings[i];
    added = array_grow(&p->packings, (size_t)p->n_packings, sizeof(struct packing *));
    c->code = added ? cpu_packing_open(added, md, dense, turned, c->err) : err_no_memory(c->err);
    return c->code ? NULL : p->packings[p->n_packings++];
}
