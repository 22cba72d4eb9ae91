/* ResNets (He et al., Deep Residual Learning for Image Recognition, CVPR 2016) of basic blocks or
 * of bottlenecks, whose middle convolution has the stride. Each stage doubles the channels, and
 * from the second on halves the resolution; global average pool, linear. Names and order of the
 * parameters are torchvision's.
 *
 * Two forms, by the stem: for small images, as the CIFAR literature has it, a 3×3 convolution and
 * PyTorch's default start; for large ones torchvision's, a 7×7 convolution of stride 2, a 3×3
 * max-pool of stride 2 and Kaiming's start by fan-out.
 *
 * A mistake on the way is the graph's (`graph_check`), so nothing here looks for one. */
#include "model/layers.h"
#include "model/model.h"

#define EXPANSION    4  /* channels of a bottleneck's result, over those in its middle */
#define LARGE_PIXELS 64 /* images from here on get the large stem */

static bool has_large_stem(const struct job_model *model, int64_t height, int64_t width)
{
    if (model->stem == STEM_AUTO)
        return height >= LARGE_PIXELS && width >= LARGE_PIXELS;
    return model->stem == STEM_IMAGENET;
}

static bool has_bottlenecks(const struct job_model *model)
{
    return model->kind == MODEL_RESNET50 || model->kind == MODEL_RESNET101;
}

/* One after the other on its way through the net. */
struct resnet {
    struct graph *graph;
    enum layer_start start;
    const char *prefix; /* of the block */
};

/* convolution `number` of the block and its batch norm */
static int conv_norm(const struct resnet *r, int x, int number, int64_t out, int size, int stride)
{
    int y = layer_conv(r->graph, x, (struct layer_conv){out, size, stride, r->start, .bias = false},
                       layer_name("%s.conv%d", r->prefix, number).text);

    return graph_batch_norm(r->graph, y, layer_name("%s.bn%d", r->prefix, number).text);
}

/* bn2(conv2(relu(bn1(conv1 x)))); x [N,in,H,W] → [N,width,H/stride,W/stride]. */
static int basic_branch(const struct resnet *r, int x, int64_t width, int stride)
{
    int y = graph_relu(r->graph, conv_norm(r, x, 1, width, 3, stride));

    return conv_norm(r, y, 2, width, 3, 1);
}

/* x [N,in,H,W] → [N,4·width,H/stride,W/stride] */
static int bottleneck_branch(const struct resnet *r, int x, int64_t width, int stride)
{
    int y = graph_relu(r->graph, conv_norm(r, x, 1, width, 1, 1));

    y = graph_relu(r->graph, conv_norm(r, y, 2, width, 3, stride));
    return conv_norm(r, y, 3, EXPANSION * width, 1, 1);
}

/* relu(branch x + shortcut x) */
static int block(const struct resnet *r, int x, bool bottleneck, int64_t width, int stride)
{
    int64_t in = x < 0 ? 1 : r->graph->values[x].shape.dim[1];
    int64_t out = bottleneck ? EXPANSION * width : width;
    int y = bottleneck ? bottleneck_branch(r, x, width, stride) : basic_branch(r, x, width, stride);

    if (stride != 1 || in != out) {
        x = layer_conv(r->graph, x, (struct layer_conv){out, 1, stride, r->start, .bias = false},
                       layer_name("%s.downsample.0", r->prefix).text);
        x = graph_batch_norm(r->graph, x, layer_name("%s.downsample.1", r->prefix).text);
    }
    return graph_relu(r->graph, graph_add(r->graph, y, x));
}

static int stem(struct graph *graph, int images, int64_t width, bool large, enum layer_start start)
{
    struct layer_conv conv = {width, large ? 7 : 3, large ? 2 : 1, start, .bias = false};
    int x = graph_batch_norm(graph, layer_conv(graph, images, conv, "conv1"), "bn1");

    x = graph_relu(graph, x);
    return large ? graph_max_pool(graph, x, 3, 2, 1) : x;
}

int resnet_logits(struct graph *graph, const struct job_model *model, int images, int classes)
{
    const struct shape *shape = images < 0 ? NULL : &graph->values[images].shape;
    bool large = shape && has_large_stem(model, shape->dim[2], shape->dim[3]);
    struct resnet r = {.graph = graph, .start = large ? START_FAN_OUT : START_DEFAULT};
    int x = stem(graph, images, model->width, large, r.start);

    for (int stage = 0; stage < model->blocks.n; stage++)
        for (int b = 0; b < model->blocks.item[stage]; b++) {
            struct layer_name prefix = layer_name("layer%d.%d", stage + 1, b);

            r.prefix = prefix.text;
            x = block(&r, x, has_bottlenecks(model), model->width << stage,
                      stage > 0 && b == 0 ? 2 : 1);
        }
    return layer_linear(graph, graph_global_avg_pool(graph, x), classes, START_DEFAULT, "fc");
}

bool resnet_fits(const struct job_model *model, const struct model_input *input,
                 struct model_problem *out)
{
    int64_t height = input->height, width = input->width;
    bool large = has_large_stem(model, height, width);

    if (model->blocks.n < 1)
        return model_problem(out, "/model/blocks", "at least one stage is needed");
    if (large && !model_halve(&height, &width, 2))
        return model_problem(out, "/model/stem",
                             "the stem for large images halves them twice; these have %lld×%lld",
                             (long long)input->height, (long long)input->width);
    if (!model_halve(&height, &width, model->blocks.n - 1))
        return model_problem(
            out, "/model/blocks",
            "%d stages are too many for images of %lld×%lld: a stage would halve 1×1",
            model->blocks.n, (long long)input->height, (long long)input->width);
    return true;
}
