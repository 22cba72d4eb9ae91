/* How parameters lie in what a pass computes with, and how their gradients come back: weights of
 * convolutions as cuDNN wants them, those of linear layers as rows of the compute type, all others
 * as floats. Decided before any node is compiled, from how each is used. */
#include <stdlib.h>

#include "backend/cuda/compile.h"

enum { PARAM_ALIGN = 256 };

static enum order order_of(const struct compiler *c, int value, enum element *type)
{
    *type = ELEMENT_F32;
    for (int i = 0; i < c->graph->n_nodes; i++) {
        const struct node *node = &c->graph->nodes[i];

        if (node->n_inputs < 2 || node->input[1] != value)
            continue;
        if (node->op == OP_CONV || node->op == OP_CONV_GRAD_X) {
            *type = c->program->type;
            return ORDER_FILTER;
        }
        if (node->op == OP_LINEAR || node->op == OP_LINEAR_GRAD_X)
            *type = c->program->type;
    }
    return ORDER_DENSE;
}

static enum order gradient_order(const struct compiler *c, int gradient, enum element *type)
{
    bool conv = gradient >= 0 && gpu_maker(c, gradient)->op == OP_CONV_GRAD_W;

    *type = conv ? c->program->type : ELEMENT_F32;
    return conv ? ORDER_FILTER : ORDER_DENSE;
}

static struct weight_form form_of(const struct layout_tensor *t, const struct shape *shape,
                                  enum order order, enum element type, size_t at)
{
    struct weight_form form = {.type = type, .taps = 1, .at = (int64_t)at};

    form.channels = form.pitch = (int32_t)t->filter_size;
    if (order == ORDER_FILTER) {
        form.taps = (int32_t)(shape->dim[2] * shape->dim[3]);
        form.channels = (int32_t)shape->dim[1];
        form.pitch = (int32_t)stored_channels(shape->dim[1]);
    }
    return form;
}

/* With the filters that a convolution has beside its own; vectors likewise. */
static size_t bytes_of(const struct weight_form *form, int64_t filters, bool vector)
{
    int64_t row = (int64_t)form->taps * form->pitch;
    size_t bytes = (size_t)(vector ? stored_channels(row) : stored_channels(filters) * row) *
                   element_bytes(form->type);

    return (bytes + PARAM_ALIGN - 1) / PARAM_ALIGN * PARAM_ALIGN;
}

/* A parameter and its part of a direction have the same form. */
static void place_param(struct compiler *c, int i, struct weight_tensor *tensor)
{
    struct program *p = c->program;
    const struct graph_tensor *param = &c->graph->params[i];
    const struct layout_tensor *t = &p->params->tensor[i];
    struct param_place *place = &p->param[i];
    struct slot slot = {.value = param->value, .place = PLACE_CAST, .index = i};
    enum element type;
    enum order order = order_of(c, param->value, &type);

    *tensor = cuda_weight_tensor(t, i);
    tensor->cast = form_of(t, &param->shape, order, type, p->casts_bytes);
    place->cast = p->casts_bytes;
    place->cast_bytes = bytes_of(&tensor->cast, tensor->filters, t->elementwise);
    p->casts_bytes += place->cast_bytes;
    slot.order = order;
    slot.type = type;
    slot.bytes = place->cast_bytes;
    gpu_slot(c, &slot);
    if (param->direction >= 0) {
        p->has_directions = true;
        slot.value = param->direction;
        slot.place = PLACE_DIRECTION;
        gpu_slot(c, &slot);
    }

    order = gradient_order(c, param->gradient, &type);
    tensor->gradient = form_of(t, &param->shape, order, type, p->gradients_bytes);
    place->gradient = p->gradients_bytes;
    place->gradient_bytes = bytes_of(&tensor->gradient, tensor->filters, t->elementwise);
    p->gradients_bytes += place->gradient_bytes;
}

/* Directions of a perturbation are vectors in the layout's order. */
static int open_forms(struct compiler *c, struct weight_tensor *tensors)
{
    struct program *p = c->program;
    int n = c->graph->n_params, rc = cuda_forms_open(&p->gradients, p->cuda, tensors, n, c->err);

    for (int i = 0; i < n; i++) {
        const struct layout_tensor *t = &p->params->tensor[i];

        tensors[i].gradient = form_of(t, NULL, ORDER_DENSE, ELEMENT_F32, t->offset * sizeof(float));
    }
    return rc ? rc : cuda_forms_open(&p->casts, p->cuda, tensors, n, c->err);
}

int gpu_params(struct compiler *c)
{
    struct program *p = c->program;
    size_t n = (size_t)c->graph->n_params + 1;
    struct weight_tensor *tensors = calloc(n, sizeof *tensors);
    int rc;

    p->param = calloc(n, sizeof *p->param);
    if (!tensors || !p->param) {
        free(tensors);
        return err_no_memory(c->err);
    }
    for (int i = 0; i < c->graph->n_params; i++)
        place_param(c, i, &tensors[i]);
    rc = c->code ? c->code : open_forms(c, tensors);
    free(tensors);
    return rc;
}
