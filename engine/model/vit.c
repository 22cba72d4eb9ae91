/* Vision transformers (Dosovitskiy et al., An Image Is Worth 16x16 Words, ICLR 2021): patches of an
 * image become tokens, a class token comes before them, positions are learned; blocks of attention
 * and of two linear layers with GELU, each after a layer norm; the class token's features decide.
 *
 * `vit`, for CIFAR, is vit-pytorch's as the authors' work has it (its names, order and start of the
 * parameters; no bias for queries, keys and values; positions and class token N(0, 1)). vit_s32,
 * vit_s16 and vit_b16 are timm's vit_small_patch32_224, vit_small_patch16_224 and
 * vit_base_patch16_224, with timm's names, order and start.
 *
 * A head is width/heads wide. A mistake on the way is the graph's (`graph_check`). */
#include <math.h>

#include "model/layers.h"
#include "model/model.h"

/* What the two families call their layers, and in what else they differ. */
struct vit_names {
    bool timm;
    double eps;
    enum layer_start start;
    const char *norm1, *qkv, *out, *norm2, *first, *second; /* of block %d */
    const char *norm, *head;
};

static const struct vit_names cifar_names = {.eps = 1e-5,
                                             .start = START_DEFAULT,
                                             .norm1 = "transformer.layers.%d.0.norm",
                                             .qkv = "transformer.layers.%d.0.fn.to_qkv",
                                             .out = "transformer.layers.%d.0.fn.to_out.0",
                                             .norm2 = "transformer.layers.%d.1.norm",
                                             .first = "transformer.layers.%d.1.fn.net.0",
                                             .second = "transformer.layers.%d.1.fn.net.3",
                                             .norm = "mlp_head.0",
                                             .head = "mlp_head.1"};
static const struct vit_names timm_names = {.timm = true,
                                            .eps = 1e-6,
                                            .start = START_NARROW,
                                            .norm1 = "blocks.%d.norm1",
                                            .qkv = "blocks.%d.attn.qkv",
                                            .out = "blocks.%d.attn.proj",
                                            .norm2 = "blocks.%d.norm2",
                                            .first = "blocks.%d.mlp.fc1",
                                            .second = "blocks.%d.mlp.fc2",
                                            .norm = "norm",
                                            .head = "head"};

/* On its way through the net. */
struct vit {
    struct graph *graph;
    const struct job_model *model;
    const struct vit_names *names;
};

static const struct vit_names *names_of(const struct job_model *model)
{
    return model->kind == MODEL_VIT ? &cifar_names : &timm_names;
}

static int linear(const struct vit *v, int x, int64_t out, bool bias, const char *name)
{
    return layer_features(v->graph, x, (struct layer_linear){out, v->names->start, bias}, name);
}

/* y = softmax(q·kᵀ/√d)·v, head by head; x [N,T,D] → [N,T,D] */
static int attention(const struct vit *v, int x, int block)
{
    const struct job_model *model = v->model;
    struct graph *g = v->graph;
    double scale = 1 / sqrt((double)model->width / (double)model->heads);
    int q = linear(v, x, 3 * model->width, v->names->timm, layer_name(v->names->qkv, block).text);
    int scores, y;

    q = graph_split_heads(g, q, 3, (int)model->heads);
    scores = graph_matmul(g, q, q + 1, (struct matmul){.transpose_b = true, .scale = scale});
    y = graph_matmul(g, graph_softmax(g, scores), q + 2, (struct matmul){.scale = 1});
    y = graph_merge_heads(g, y);
    if (!v->names->timm && model->heads == 1) /* the original has no such layer then */
        return y;
    y = linear(v, y, model->width, true, layer_name(v->names->out, block).text);
    return graph_dropout(g, y, model->dropout);
}

static int mlp(const struct vit *v, int x, int block)
{
    double rate = v->model->dropout;

    x = linear(v, x, v->model->mlp, true, layer_name(v->names->first, block).text);
    x = graph_dropout(v->graph, graph_gelu(v->graph, x), rate);
    x = linear(v, x, v->model->width, true, layer_name(v->names->second, block).text);
    return graph_dropout(v->graph, x, rate);
}

static int transformer(const struct vit *v, int x)
{
    for (int block = 0; block < v->model->depth; block++) {
        int y =
            graph_layer_norm(v->graph, x, v->names->eps, layer_name(v->names->norm1, block).text);

        x = graph_add(v->graph, attention(v, y, block), x);
        y = graph_layer_norm(v->graph, x, v->names->eps, layer_name(v->names->norm2, block).text);
        x = graph_add(v->graph, mlp(v, y, block), x);
    }
    return x;
}

static struct init normal(double deviation)
{
    return (struct init){.kind = INIT_NORMAL, .deviation = deviation};
}

/* Images → [N,T+1,D]: the parameters in the order in which each original has them. */
static int embed(const struct vit *v, int images)
{
    const struct job_model *model = v->model;
    struct graph *g = v->graph;
    int64_t one = 1, width = model->width;
    int x = graph_patches(g, images, (int)model->patch, !v->names->timm), token, positions;
    int64_t tokens = x < 0 ? 1 : g->values[x].shape.dim[1];

    if (v->names->timm) {
        token = graph_param(g, shape_of(3, one, one, width), normal(1e-6), "cls_token");
        positions = graph_param(g, shape_of(3, one, tokens + 1, width), normal(0.02), "pos_embed");
        x = layer_patches(g, x, images, model->patch, width, "patch_embed.proj");
    } else {
        positions = graph_param(g, shape_of(3, one, tokens + 1, width), normal(1), "pos_embedding");
        token = graph_param(g, shape_of(3, one, one, width), normal(1), "cls_token");
        x = linear(v, x, width, true, "to_patch_embedding.1");
    }
    x = graph_add_each(g, graph_prepend(g, x, token), positions);
    return graph_dropout(g, x, v->names->timm ? model->dropout : model->embedding_dropout);
}

int vit_logits(struct graph *graph, const struct job_model *model, int images, int classes)
{
    struct vit v = {graph, model, names_of(model)};
    int x = graph_token(graph, transformer(&v, embed(&v, images)), 0);

    x = graph_layer_norm(graph, x, v.names->eps, v.names->norm);
    return linear(&v, x, classes, true, v.names->head);
}

bool vit_fits(const struct job_model *model, const struct model_input *input,
              struct model_problem *out)
{
    if (input->height % model->patch || input->width % model->patch)
        return model_problem(out, "/model/patch",
                             "must divide the images' sides; these have %lld×%lld",
                             (long long)input->height, (long long)input->width);
    if (model->width % model->heads)
        return model_problem(out, "/model/heads", "must divide the width, %lld",
                             (long long)model->width);
    return true;
}
