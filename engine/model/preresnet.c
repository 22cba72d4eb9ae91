/* ResNets with pre-activation (He et al., Identity Mappings in Deep Residual Networks, ECCV 2016)
 * for small images: a 3×3 stem, three stages of (depth − 2)/9 bottlenecks, batch norm and ReLU at
 * the end. The shortcut carries what was not activated. Names, order and start of the parameters
 * are those of PreResNet in the SWA code (Izmailov et al. 2018), which the authors' work uses. */
#include "model/layers.h"
#include "model/model.h"

#define STAGES    3
#define EXPANSION 4

static int64_t blocks_of(const struct job_model *model)
{
    return (model_depth(model) - 2) / 9;
}

/* conv(relu(bn x)), number `number` of the block. */
static int activated_conv(struct graph *graph, int x, int number, struct layer_conv conv,
                          const char *prefix)
{
    int y = graph_batch_norm(graph, x, layer_name("%s.bn%d", prefix, number).text);

    conv.start = START_FAN_OUT;
    return layer_conv(graph, graph_relu(graph, y), conv,
                      layer_name("%s.conv%d", prefix, number).text);
}

/* x [N,in,H,W] → [N,4·width,H/stride,W/stride] */
static int bottleneck(struct graph *graph, int x, int64_t width, int stride, const char *prefix)
{
    int64_t in = x < 0 ? 1 : graph->values[x].shape.dim[1], out = EXPANSION * width;
    int y = activated_conv(graph, x, 1, (struct layer_conv){width, 1, 1}, prefix);

    y = activated_conv(graph, y, 2, (struct layer_conv){width, 3, stride}, prefix);
    y = activated_conv(graph, y, 3, (struct layer_conv){out, 1, 1}, prefix);
    if (stride != 1 || in != out)
        x = layer_conv(graph, x, (struct layer_conv){out, 1, stride, START_FAN_OUT, .bias = false},
                       layer_name("%s.downsample.0", prefix).text);
    return graph_add(graph, y, x);
}

int preresnet_logits(struct graph *graph, const struct job_model *model, int images, int classes)
{
    struct layer_conv first = {model->width, 3, 1, START_FAN_OUT, .bias = false};
    int x = layer_conv(graph, images, first, "conv1");

    for (int stage = 0; stage < STAGES; stage++)
        for (int b = 0; b < blocks_of(model); b++)
            x = bottleneck(graph, x, model->width << stage, stage > 0 && b == 0 ? 2 : 1,
                           layer_name("layer%d.%d", stage + 1, b).text);
    x = graph_relu(graph, graph_batch_norm(graph, x, "bn"));
    return layer_linear(graph, graph_global_avg_pool(graph, x), classes, START_DEFAULT, "fc");
}

bool preresnet_fits(const struct job_model *model, const struct model_input *input,
                    struct model_problem *out)
{
    int64_t height = input->height, width = input->width, depth = model_depth(model);

    if (depth < 11 || (depth - 2) % 9 != 0)
        return model_problem(out, "/model/depth",
                             "must be 9·n + 2 with n blocks a stage: 11, 20, … 164, …");
    if (!model_halve(&height, &width, STAGES - 1))
        return model_problem(out, "/model/kind",
                             "halves images twice, which %lld×%lld are too small for",
                             (long long)input->height, (long long)input->width);
    return true;
}
