/* What all models share: inputs, loss, counts. A family's own file builds the logits. */
#include "model/model.h"

#include <stdarg.h>
#include <stdio.h>

#define TOP_K 5

static const struct {
    model_logits *logits;
    model_fit *fits;
} families[MODEL_KINDS] = {
    [MODEL_RESNET] = {resnet_logits, resnet_fits},
    [MODEL_RESNET18] = {resnet_logits, resnet_fits},
    [MODEL_RESNET34] = {resnet_logits, resnet_fits},
    [MODEL_RESNET50] = {resnet_logits, resnet_fits},
    [MODEL_RESNET101] = {resnet_logits, resnet_fits},
    [MODEL_PRERESNET] = {preresnet_logits, preresnet_fits},
    [MODEL_PRERESNET164] = {preresnet_logits, preresnet_fits},
    [MODEL_VGG16_BN] = {vgg_logits, vgg_fits},
    [MODEL_VGG19_BN] = {vgg_logits, vgg_fits},
    [MODEL_WRN] = {wrn_logits, wrn_fits},
    [MODEL_WRN16_8] = {wrn_logits, wrn_fits},
    [MODEL_WRN28_10] = {wrn_logits, wrn_fits},
    [MODEL_WRN22_8] = {wrn_logits, wrn_fits},
    [MODEL_WRN34_10] = {wrn_logits, wrn_fits},
    [MODEL_VIT] = {vit_logits, vit_fits},
    [MODEL_VIT_S32] = {vit_logits, vit_fits},
    [MODEL_VIT_S16] = {vit_logits, vit_fits},
    [MODEL_VIT_B16] = {vit_logits, vit_fits},
};

/* Hands a graph over, or frees it and says its mistake. */
static int finish(struct graph **out, struct graph *graph, struct err *err)
{
    int rc = graph_check(graph, err);

    if (rc)
        graph_free(graph);
    else
        *out = graph;
    return rc;
}

int model_forward_graph(struct graph **out, const struct job_model *model,
                        const struct model_input *input, bool training, struct err *err)
{
    struct graph *graph = graph_new(training);
    int images, labels, logits, loss;

    if (!graph)
        return err_no_memory(err);
    images = graph_input(
        graph, shape_of(4, input->batch, input->channels, input->height, input->width), VALUE_REAL);
    labels = graph_input(graph, shape_of(1, input->batch), VALUE_INDEX);
    logits = families[model->kind].logits(graph, model, images, input->classes);
    loss = graph_smoothed_cross_entropy(graph, logits, labels, input->label_smoothing);
    graph_output(graph, loss);
    graph_output(graph, graph_correct(graph, logits, labels, 1));
    graph_output(graph, graph_correct(graph, logits, labels,
                                      input->classes < TOP_K ? input->classes : TOP_K));
    return finish(out, graph, err);
}

int model_graph(struct graph **out, const struct job_model *model, const struct model_input *input,
                bool training, struct err *err)
{
    struct graph *graph;
    int rc = model_forward_graph(&graph, model, input, training, err);

    if (rc)
        return rc;
    if (training)
        graph_gradient(graph, graph->outputs[MODEL_OUTPUT_LOSS]);
    return finish(out, graph, err);
}

int model_slope_graph(struct graph **out, const struct job_model *model,
                      const struct model_input *input, bool batch_statistics, struct err *err)
{
    struct job_model plain = *model;
    struct graph *graph;
    int rc;

    plain.dropout = plain.embedding_dropout = 0;
    rc = model_forward_graph(&graph, &plain, input, batch_statistics, err);
    if (rc)
        return rc;
    graph_gradient(graph, graph->outputs[MODEL_OUTPUT_LOSS]);
    return finish(out, graph, err);
}

int model_curvature_graph(struct graph **out, const struct job_model *model,
                          const struct model_input *input, bool batch_statistics, struct err *err)
{
    struct graph *graph;
    int rc = model_slope_graph(&graph, model, input, batch_statistics, err);

    if (rc)
        return rc;
    graph_tangent(graph);
    return finish(out, graph, err);
}

int64_t model_parameters(const struct graph *graph)
{
    int64_t n = 0;

    for (int i = 0; i < graph->n_params; i++)
        n += shape_elements(&graph->params[i].shape);
    return n;
}

double model_product_elements(const struct graph *graph)
{
    double n = 0;

    for (int i = 0; i < graph->n_nodes; i++) {
        enum op op = graph->nodes[i].op;

        if (op == OP_CONV || op == OP_LINEAR || op == OP_MATMUL)
            n += (double)shape_elements(&graph->values[graph->nodes[i].output[0]].shape);
    }
    return n;
}

bool model_fits(const struct job_model *model, const struct model_input *input,
                struct model_problem *out)
{
    return families[model->kind].fits(model, input, out);
}

int64_t model_depth(const struct job_model *model)
{
    switch (model->kind) {
    case MODEL_PRERESNET164:
        return 164;
    case MODEL_WRN16_8:
        return 16;
    case MODEL_WRN22_8:
        return 22;
    case MODEL_WRN28_10:
        return 28;
    case MODEL_WRN34_10:
        return 34;
    default:
        return model->depth;
    }
}

bool model_problem(struct model_problem *out, const char *pointer, const char *format, ...)
{
    va_list arguments;

    out->pointer = pointer;
    va_start(arguments, format);
    vsnprintf(out->message, sizeof out->message, format, arguments);
    va_end(arguments);
    return false;
}

bool model_halve(int64_t *height, int64_t *width, int times)
{
    for (; times > 0; times--) {
        if (*height == 1 && *width == 1)
            return false;
        *height = (*height + 1) / 2;
        *width = (*width + 1) / 2;
    }
    return true;
}
