/* The ResNet for small images (He et al., Deep Residual Learning for Image Recognition, CVPR 2016,
 * in the form that the CIFAR literature uses): a 3×3 stem without pooling, stages of basic blocks,
 * global average pool, linear. Each stage doubles the channels, and from the second on halves the
 * resolution. Names and order of the parameters are torchvision's.
 *
 * A mistake on the way is the graph's (`graph_check`), so nothing here looks for one. */
#include <math.h>
#include <stdio.h>

#include "model/model.h"

/* PyTorch's default: kaiming_uniform with a = √5 is U(±1/√fan_in). */
static struct init uniform_by_fan_in(int64_t fan_in)
{
    return (struct init){INIT_UNIFORM, 1.0 / sqrt((double)fan_in)};
}

/* x [N,in,H,W] → [N,out,⌈H/stride⌉,⌈W/stride⌉] for sizes 1 and 3; parameter `name`.weight. */
static int conv(struct graph *graph, int x, int64_t in, int64_t out, int64_t size, int stride,
                const char *name)
{
    int w = graph_param(graph, shape_of(4, out, in, size, size),
                        uniform_by_fan_in(in * size * size), "%s.weight", name);

    return graph_conv(graph, x, w, stride, (int)(size / 2));
}

static int conv_batch_norm(struct graph *graph, int x, int64_t in, int64_t out, int64_t size,
                           int stride, const char *conv_name, const char *batch_norm_name)
{
    int y = conv(graph, x, in, out, size, stride, conv_name);

    return graph_batch_norm(graph, y, batch_norm_name);
}

/* relu(bn2(conv2(relu(bn1(conv1 x)))) + shortcut x); x [N,in,H,W] → [N,out,H/stride,W/stride]. */
static int basic_block(struct graph *graph, int x, int64_t in, int64_t out, int stride,
                       const char *prefix)
{
    char conv_name[TENSOR_NAME_MAX], norm_name[TENSOR_NAME_MAX];
    int y, shortcut = x;

    snprintf(conv_name, sizeof conv_name, "%s.conv1", prefix);
    snprintf(norm_name, sizeof norm_name, "%s.bn1", prefix);
    y = conv_batch_norm(graph, x, in, out, 3, stride, conv_name, norm_name);
    y = graph_relu(graph, y);
    snprintf(conv_name, sizeof conv_name, "%s.conv2", prefix);
    snprintf(norm_name, sizeof norm_name, "%s.bn2", prefix);
    y = conv_batch_norm(graph, y, out, out, 3, 1, conv_name, norm_name);
    if (stride != 1 || in != out) {
        snprintf(conv_name, sizeof conv_name, "%s.downsample.0", prefix);
        snprintf(norm_name, sizeof norm_name, "%s.downsample.1", prefix);
        shortcut = conv_batch_norm(graph, x, in, out, 1, stride, conv_name, norm_name);
    }
    return graph_relu(graph, graph_add(graph, y, shortcut));
}

static int classifier(struct graph *graph, int x, int64_t channels, int classes)
{
    struct init init = uniform_by_fan_in(channels);
    int pooled = graph_global_avg_pool(graph, x);
    int w = graph_param(graph, shape_of(2, (int64_t)classes, channels), init, "fc.weight");
    int b = graph_param(graph, shape_of(1, (int64_t)classes), init, "fc.bias");

    return graph_linear(graph, pooled, w, b);
}

int resnet_logits(struct graph *graph, const struct job_model *model, int images, int classes)
{
    int64_t in = images < 0 ? 1 : graph->values[images].shape.dim[1];
    int x = conv_batch_norm(graph, images, in, model->width, 3, 1, "conv1", "bn1");

    x = graph_relu(graph, x);
    in = model->width;
    for (int stage = 0; stage < model->blocks.n; stage++) {
        int64_t out = model->width << stage;

        for (int block = 0; block < model->blocks.item[stage]; block++) {
            char prefix[32];

            snprintf(prefix, sizeof prefix, "layer%d.%d", stage + 1, block);
            x = basic_block(graph, x, in, out, stage > 0 && block == 0 ? 2 : 1, prefix);
            in = out;
        }
    }
    return classifier(graph, x, in, classes);
}
