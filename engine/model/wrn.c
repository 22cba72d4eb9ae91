/* Wide ResNets (Zagoruyko and Komodakis, BMVC 2016) for small images: a 3×3 stem of 16 channels and
 * three groups of (depth − 4)/6 units with pre-activation, widen times 16, 32 and 64 channels wide.
 * The first unit of a group activates its input for the shortcut too. Names, order and start of the
 * parameters are those of the SAM code (Foret et al. 2021, in davda54's version), which the authors
 * took over; it counts one unit a group more, so that what is called 28-10 and 16-8 there are 34-10
 * and 22-8 as the field counts. The last layer starts at 0, weights and bias. */
#include "model/layers.h"
#include "model/model.h"

#define GROUPS 3
#define STEM   16

static int64_t widen_of(const struct job_model *model)
{
    switch (model->kind) {
    case MODEL_WRN16_8:
    case MODEL_WRN22_8:
        return 8;
    case MODEL_WRN28_10:
    case MODEL_WRN34_10:
        return 10;
    default:
        return model->widen;
    }
}

static int norm_relu(struct graph *graph, int x, const char *name)
{
    return graph_relu(graph, graph_batch_norm(graph, x, name));
}

static int conv(struct graph *graph, int x, int64_t out, int size, int stride, const char *name)
{
    return layer_conv(graph, x, (struct layer_conv){out, size, stride, START_FAN_IN, .bias = false},
                      name);
}

/* Changes channels or resolution: x [N,in,H,W] → [N,out,H/stride,W/stride]. */
static int first_unit(struct graph *graph, int x, int64_t out, int stride, double dropout,
                      const char *prefix)
{
    int y;

    x = norm_relu(graph, x, layer_name("%s.norm_act.0_normalization", prefix).text);
    y = conv(graph, x, out, 3, stride, layer_name("%s.block.0_convolution", prefix).text);
    y = norm_relu(graph, y, layer_name("%s.block.1_normalization", prefix).text);
    y = graph_dropout(graph, y, dropout);
    y = conv(graph, y, out, 3, 1, layer_name("%s.block.4_convolution", prefix).text);
    x = conv(graph, x, out, 1, stride, layer_name("%s.downsample", prefix).text);
    return graph_add(graph, y, x);
}

static int further_unit(struct graph *graph, int x, int64_t out, double dropout, const char *prefix)
{
    int y = norm_relu(graph, x, layer_name("%s.block.0_normalization", prefix).text);

    y = conv(graph, y, out, 3, 1, layer_name("%s.block.2_convolution", prefix).text);
    y = norm_relu(graph, y, layer_name("%s.block.3_normalization", prefix).text);
    y = graph_dropout(graph, y, dropout);
    y = conv(graph, y, out, 3, 1, layer_name("%s.block.6_convolution", prefix).text);
    return graph_add(graph, y, x);
}

int wrn_logits(struct graph *graph, const struct job_model *model, int images, int classes)
{
    int x = conv(graph, images, STEM, 3, 1, "f.0_convolution");

    for (int group = 0; group < GROUPS; group++) {
        int64_t out = (STEM * widen_of(model)) << group;

        for (int unit = 0; unit < (model_depth(model) - 4) / 6; unit++) {
            struct layer_name prefix = layer_name("f.%d_block.block.%d", group + 1, unit);

            x = unit == 0
                    ? first_unit(graph, x, out, group > 0 ? 2 : 1, model->dropout, prefix.text)
                    : further_unit(graph, x, out, model->dropout, prefix.text);
        }
    }
    x = norm_relu(graph, x, "f.4_normalization");
    return layer_linear(graph, graph_global_avg_pool(graph, x), classes, START_ZERO,
                        "f.8_classification");
}

bool wrn_fits(const struct job_model *model, const struct model_input *input,
              struct model_problem *out)
{
    int64_t height = input->height, width = input->width, depth = model_depth(model);

    if (depth < 10 || (depth - 4) % 6 != 0)
        return model_problem(out, "/model/depth",
                             "must be 6·n + 4 with n units a group: 10, 16, 22, 28, …");
    if (!model_halve(&height, &width, GROUPS - 1))
        return model_problem(out, "/model/kind",
                             "halves images twice, which %lld×%lld are too small for",
                             (long long)input->height, (long long)input->width);
    return true;
}
