#include "model/layers.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

struct layer_name layer_name(const char *format, ...)
{
    struct layer_name name;
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(name.text, sizeof name.text, format, arguments);
    va_end(arguments);
    return name;
}

static struct init weight_start(enum layer_start start, int64_t fan_in, int64_t fan_out)
{
    switch (start) {
    case START_DEFAULT:
        /* kaiming_uniform with a = √5 */
        return (struct init){.kind = INIT_UNIFORM, .bound = 1 / sqrt((double)fan_in)};
    case START_FAN_OUT:
        return (struct init){.kind = INIT_NORMAL, .deviation = sqrt(2 / (double)fan_out)};
    case START_FAN_IN:
        return (struct init){.kind = INIT_NORMAL, .deviation = sqrt(2 / (double)fan_in)};
    case START_NARROW:
        return (struct init){.kind = INIT_NORMAL, .deviation = 0.02};
    default:
        return (struct init){.kind = INIT_ZERO};
    }
}

static struct init bias_start(enum layer_start start, int64_t fan_in)
{
    return weight_start(start == START_DEFAULT ? START_DEFAULT : START_ZERO, fan_in, 1);
}

/* Of a value that may be none after a mistake. */
static int64_t channels_of(const struct graph *graph, int x)
{
    return x < 0 ? 1 : graph->values[x].shape.dim[1];
}

int layer_conv(struct graph *graph, int x, struct layer_conv conv, const char *name)
{
    int64_t in = channels_of(graph, x), size = conv.size, taps = size * size;
    int w = graph_param(graph, shape_of(4, conv.out, in, size, size),
                        weight_start(conv.start, in * taps, conv.out * taps), "%s.weight", name);
    int y = graph_conv(graph, x, w, conv.stride, conv.size / 2);

    if (!conv.bias)
        return y;
    return graph_bias(graph, y,
                      graph_param(graph, shape_of(1, conv.out), bias_start(conv.start, in * taps),
                                  "%s.bias", name));
}

int layer_linear(struct graph *graph, int x, int64_t out, enum layer_start start, const char *name)
{
    return layer_features(graph, x, (struct layer_linear){out, start, .bias = true}, name);
}

/* Of a value that may be none after a mistake. */
static int64_t features_of(const struct graph *graph, int x)
{
    return x < 0 ? 1 : graph->values[x].shape.dim[graph->values[x].shape.rank - 1];
}

int layer_features(struct graph *graph, int x, struct layer_linear linear, const char *name)
{
    int64_t in = features_of(graph, x);
    int w = graph_param(graph, shape_of(2, linear.out, in),
                        weight_start(linear.start, in, linear.out), "%s.weight", name);
    int b = linear.bias ? graph_param(graph, shape_of(1, linear.out), bias_start(linear.start, in),
                                      "%s.bias", name)
                        : -1;

    return graph_linear(graph, x, w, b);
}

int layer_patches(struct graph *graph, int patches, int images, int64_t size, int64_t out,
                  const char *name)
{
    int64_t in = channels_of(graph, images), numbers = in * size * size;
    int w = graph_param(graph, shape_of(4, out, in, size, size),
                        weight_start(START_DEFAULT, numbers, out), "%s.weight", name);
    int b =
        graph_param(graph, shape_of(1, out), bias_start(START_DEFAULT, numbers), "%s.bias", name);

    return graph_linear(graph, patches, w, b);
}
