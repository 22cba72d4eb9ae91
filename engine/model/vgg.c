/* VGG-16 and VGG-19 with batch norm (Simonyan and Zisserman, ICLR 2015) for 32×32, as the authors'
 * code has them: convolutions with bias, five halvings by max-pooling, and a classifier of three
 * linear layers of 512 with dropout before the first two. Names and order of the parameters are
 * torchvision's `features` and the authors' `classifier`.
 *
 * That code flattens the 1×1 that is left of 32×32. Here it is averaged, which is the same for 32
 * to 63 pixels and makes larger images possible. */
#include "model/layers.h"
#include "model/model.h"

#define STAGES 5

static int convolutions(const struct job_model *model, int stage)
{
    return stage < 2 ? 2 : model->kind == MODEL_VGG19_BN ? 4 : 3;
}

/* The first four stages double the channels. */
static int64_t channels(const struct job_model *model, int stage)
{
    return model->width << (stage < 3 ? stage : 3);
}

/* Module `at` of `features`: convolution, batch norm, ReLU are three of them. */
static int conv_norm_relu(struct graph *graph, int x, int64_t out, int at)
{
    struct layer_conv conv = {out, 3, 1, START_FAN_OUT, .bias = true};
    int y = layer_conv(graph, x, conv, layer_name("features.%d", at).text);

    return graph_relu(graph, graph_batch_norm(graph, y, layer_name("features.%d", at + 1).text));
}

static int classifier(struct graph *graph, int x, const struct job_model *model, int classes)
{
    int64_t hidden = channels(model, STAGES - 1);

    x = layer_linear(graph, graph_dropout(graph, x, model->dropout), hidden, START_DEFAULT,
                     "classifier.1");
    x = graph_dropout(graph, graph_relu(graph, x), model->dropout);
    x = layer_linear(graph, x, hidden, START_DEFAULT, "classifier.4");
    return layer_linear(graph, graph_relu(graph, x), classes, START_DEFAULT, "classifier.6");
}

int vgg_logits(struct graph *graph, const struct job_model *model, int images, int classes)
{
    int x = images, at = 0;

    for (int stage = 0; stage < STAGES; stage++) {
        for (int i = 0; i < convolutions(model, stage); i++, at += 3)
            x = conv_norm_relu(graph, x, channels(model, stage), at);
        x = graph_max_pool(graph, x, 2, 2, 0);
        at++;
    }
    return classifier(graph, graph_global_avg_pool(graph, x), model, classes);
}

bool vgg_fits(const struct job_model *model, const struct model_input *input,
              struct model_problem *out)
{
    (void)model;
    if (input->height >> STAGES > 0 && input->width >> STAGES > 0)
        return true;
    return model_problem(out, "/model/kind",
                         "halves images five times, so they need 32×32; these have %lld×%lld",
                         (long long)input->height, (long long)input->width);
}
