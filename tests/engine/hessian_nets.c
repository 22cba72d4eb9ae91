/* The tiny nets of tests/torch/curvature.py, with the names, order and shapes of the parameters
 * there. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "golden_hessian.h"

#define SHAPE(...)                                                                                 \
    shape_of((int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),                            \
             SHAPE_ARGS_(__VA_ARGS__, 0, 0, 0))
#define SHAPE_ARGS_(a, b, c, d, ...) (int64_t)(a), (int64_t)(b), (int64_t)(c), (int64_t)(d)

static int param(struct graph *g, struct shape shape, const char *name)
{
    return graph_param(g, shape, (struct init){.kind = INIT_ZERO}, "%s", name);
}

static int conv(struct graph *g, int x, struct shape w, int stride, const char *name)
{
    return graph_conv(g, x, param(g, w, name), stride, (int)(w.dim[2] / 2));
}

/* Parameters NAME.weight [out,in] and NAME.bias. */
static int linear(struct graph *g, int x, int out, int in, const char *name)
{
    char text[32];
    int w, b;

    snprintf(text, sizeof text, "%s.weight", name);
    w = param(g, SHAPE(out, in), text);
    snprintf(text, sizeof text, "%s.bias", name);
    b = param(g, SHAPE(out), text);
    return graph_linear(g, x, w, b);
}

static int linear_net(struct graph *g, int x)
{
    return linear(g, graph_relu(g, linear(g, x, 5, 4, "a")), 3, 5, "b");
}

static int convolution_net(struct graph *g, int x)
{
    x = graph_relu(g, conv(g, x, SHAPE(2, 1, 3, 3), 1, "a.weight"));
    x = graph_relu(g, conv(g, x, SHAPE(3, 2, 3, 3), 2, "b.weight"));
    return graph_global_avg_pool(g, conv(g, x, SHAPE(3, 3, 1, 1), 1, "c.weight"));
}

static int pool_net(struct graph *g, int x)
{
    x = conv(g, x, SHAPE(2, 1, 3, 3), 1, "a.weight");
    x = graph_bias(g, x, param(g, SHAPE(2), "a.bias"));
    x = graph_relu(g, graph_max_pool(g, x, 3, 2, 1));
    x = conv(g, x, SHAPE(2, 2, 3, 3), 1, "b.weight");
    x = graph_bias(g, x, param(g, SHAPE(2), "b.bias"));
    x = graph_relu(g, graph_max_pool(g, x, 2, 2, 0));
    return linear(g, graph_global_avg_pool(g, x), 3, 2, "fc");
}

static int residual_net(struct graph *g, int x)
{
    int y;

    x = graph_relu(g, graph_batch_norm(g, conv(g, x, SHAPE(2, 1, 3, 3), 1, "a.weight"), "bn1"));
    y = graph_batch_norm(g, conv(g, x, SHAPE(2, 2, 3, 3), 1, "b.weight"), "bn2");
    x = graph_relu(g, graph_add(g, y, x));
    return linear(g, graph_global_avg_pool(g, x), 3, 2, "fc");
}

static int token_net(struct graph *g, int x)
{
    int token;

    x = linear(g, graph_patches(g, x, 2, true), 3, 8, "embed");
    token = param(g, SHAPE(1, 1, 3), "token");
    x = graph_add_each(g, graph_prepend(g, x, token), param(g, SHAPE(1, 5, 3), "positions"));
    x = graph_linear(g, graph_gelu(g, x), param(g, SHAPE(4, 3), "b.weight"), -1);
    return linear(g, graph_token(g, graph_gelu(g, x), 0), 3, 4, "fc");
}

static int layer_norm_net(struct graph *g, int x)
{
    x = graph_gelu(g, graph_layer_norm(g, linear(g, x, 4, 4, "a"), 1e-5, "ln1"));
    x = graph_linear(g, x, param(g, SHAPE(4, 4), "b.weight"), -1);
    x = graph_layer_norm(g, x, 1e-6, "ln2");
    return linear(g, graph_token(g, x, 1), 3, 4, "fc");
}

static int attention_net(struct graph *g, int x)
{
    int q, y;

    x = linear(g, x, 4, 4, "a");
    q = graph_split_heads(g, graph_linear(g, x, param(g, SHAPE(12, 4), "qkv.weight"), -1), 3, 2);
    y = graph_matmul(g, q, q + 1, (struct matmul){.transpose_b = true, .scale = M_SQRT1_2});
    y = graph_matmul(g, graph_softmax(g, y), q + 2, (struct matmul){.scale = 1});
    x = graph_add(g, x, graph_merge_heads(g, y));
    return linear(g, graph_token(g, x, 0), 3, 4, "fc");
}

static const struct {
    const char *name;
    int (*logits)(struct graph *g, int x);
    struct shape images;
    double smoothing;
    bool batch_statistics;
} nets[] = {
    {"linear", linear_net, {2, {6, 4}}, 0.1, false},
    {"convolution", convolution_net, {4, {4, 1, 6, 5}}, 0, false},
    {"max-pool", pool_net, {4, {4, 1, 8, 7}}, 0, false},
    {"batch-norm", residual_net, {4, {5, 1, 5, 4}}, 0, false},
    {"batch-norm-of-batch", residual_net, {4, {5, 1, 5, 4}}, 0, true},
    {"tokens", token_net, {4, {3, 2, 4, 4}}, 0, false},
    {"layer-norm", layer_norm_net, {3, {4, 3, 4}}, 0.2, false},
    {"attention", attention_net, {3, {3, 4, 4}}, 0, false},
};

struct graph *hessian_net(const char *name)
{
    for (size_t i = 0; i < ARRAY_LENGTH(nets); i++) {
        struct graph *g;
        int x, labels, loss;
        if (strcmp(nets[i].name, name) != 0)
            continue;
        g = graph_new(nets[i].batch_statistics);
        x = graph_input(g, nets[i].images, VALUE_REAL);
        labels = graph_input(g, shape_of(1, nets[i].images.dim[0]), VALUE_INDEX);
        loss = graph_smoothed_cross_entropy(g, nets[i].logits(g, x), labels, nets[i].smoothing);
        graph_output(g, loss);
        assert_ok((graph_gradient(g, loss), graph_tangent(g), graph_check(g, err)));
        return g;
    }
    fail_msg("no net is named %s", name);
    return NULL;
}
