/* What all models share: inputs, loss, counts. A family's own file builds the logits. */
#include "model/model.h"

#define TOP_K 5

int model_forward_graph(struct graph **out, const struct job_model *model,
                        const struct model_input *input, bool training, struct err *err)
{
    struct graph *graph = graph_new(training);
    int images, labels, logits, loss, rc;

    if (!graph)
        return err_no_memory(err);
    images = graph_input(
        graph, shape_of(4, input->batch, input->channels, input->height, input->width), VALUE_REAL);
    labels = graph_input(graph, shape_of(1, input->batch), VALUE_INDEX);
    logits = resnet_logits(graph, model, images, input->classes);
    loss = graph_smoothed_cross_entropy(graph, logits, labels, input->label_smoothing);
    graph_output(graph, loss);
    graph_output(graph, graph_correct(graph, logits, labels, 1));
    graph_output(graph, graph_correct(graph, logits, labels,
                                      input->classes < TOP_K ? input->classes : TOP_K));
    rc = graph_check(graph, err);
    if (rc) {
        graph_free(graph);
        return rc;
    }
    *out = graph;
    return 0;
}

int model_graph(struct graph **out, const struct job_model *model, const struct model_input *input,
                bool training, struct err *err)
{
    struct graph *graph;
    int rc = model_forward_graph(&graph, model, input, training, err);

    if (rc)
        return rc;
    if (training) {
        graph_gradient(graph, graph->outputs[MODEL_OUTPUT_LOSS]);
        rc = graph_check(graph, err);
    }
    if (rc) {
        graph_free(graph);
        return rc;
    }
    *out = graph;
    return 0;
}

int64_t model_parameters(const struct graph *graph)
{
    int64_t n = 0;

    for (int i = 0; i < graph->n_params; i++)
        n += shape_elements(&graph->params[i].shape);
    return n;
}

bool model_resolution(const struct job_model *model, int64_t *height, int64_t *width)
{
    /* Each stage but the first begins with a 3×3 convolution of stride 2 and padding 1. */
    for (int stage = 1; stage < model->blocks.n; stage++) {
        if (*height == 1 && *width == 1)
            return false;
        *height = (*height + 1) / 2;
        *width = (*width + 1) / 2;
    }
    return true;
}
